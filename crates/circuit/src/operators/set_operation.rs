//! `DISTINCT`, `EXCEPT [ALL]` and `INTERSECT [ALL]`, from the weights of whole rows.
//!
//! The inputs are arranged by all columns, so a key is a row and its weight says how often it is
//! there. For every row that changed on any side, the output changes by
//! `f(a_after, b_after) - f(a_before, b_before)`, where `f` is the operation on two weights.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use highwater_zset::{Delta, Keys};

use super::join::key_columns;
use super::{Arranged, Flow, Operator, OperatorError, StepContext, record_batch};
use crate::plan::SetOperation;

/// A bag or set operation over one or two inputs.
pub(crate) struct SetOperator {
    kind: SetOperation,
    schema: SchemaRef,
}

impl SetOperator {
    pub(crate) fn new(kind: SetOperation, schema: SchemaRef) -> Self {
        Self { kind, schema }
    }

    /// How often a row is in the result, by how often it is on the left and on the right.
    fn weight(&self, left: i64, right: i64) -> i64 {
        match self.kind {
            SetOperation::Distinct => i64::from(left > 0),
            SetOperation::Except => i64::from(left > 0 && right <= 0),
            SetOperation::ExceptAll => left.max(0).saturating_sub(right.max(0)).max(0),
            SetOperation::Intersect => i64::from(left > 0 && right > 0),
            SetOperation::IntersectAll => left.min(right).max(0),
        }
    }

    /// A batch by all columns has each row once, so its rows are the touched keys as they are.
    fn distinct(&self, input: &Arranged) -> Result<Delta, OperatorError> {
        let batch = &input.delta;
        let columns = key_columns(batch);
        let weights = batch.weights();
        // A row that is there before and after the step does not change.
        let stays = |row: usize| 1_i64.saturating_sub(weights[row].min(0));
        let before = input
            .before
            .key_weights_up_to(batch.key_hashes(), &columns, stays)?;
        let changes = before
            .iter()
            .zip(weights)
            .map(|(&before, &change)| self.weight(before + change, 0) - self.weight(before, 0));
        self.output(&batch.layout().key, &columns, changes)
    }

    fn binary(&self, left: &Arranged, right: &Arranged) -> Result<Delta, OperatorError> {
        let keys = Keys::union(&[left.delta.keys()?, right.delta.keys()?])?;
        let weights = |of: &highwater_zset::Snapshot| of.key_weights(keys.hashes(), keys.columns());
        let (left_before, left_after) = (weights(&left.before)?, weights(&left.after)?);
        let (right_before, right_after) = (weights(&right.before)?, weights(&right.after)?);
        let changes = (0..keys.len()).map(|key| {
            self.weight(left_after[key], right_after[key])
                - self.weight(left_before[key], right_before[key])
        });
        self.output(&left.delta.layout().key, keys.columns(), changes)
    }

    /// The rows that change. Key columns are in the layout's order, the output in the schema's.
    fn output(
        &self,
        key: &[usize],
        columns: &[ArrayRef],
        changes: impl Iterator<Item = i64>,
    ) -> Result<Delta, OperatorError> {
        let (indices, weights): (Vec<u32>, Vec<i64>) = (0u32..)
            .zip(changes)
            .filter(|&(_, change)| change != 0)
            .unzip();
        let count = indices.len();
        let indices = UInt32Array::from(indices);
        let mut output = vec![None; columns.len()];
        for (&position, column) in key.iter().zip(columns) {
            output[position] = Some(if count == column.len() {
                column.clone()
            } else {
                take(column, &indices, None)?
            });
        }
        let output = output
            .into_iter()
            .map(|column| column.expect("keyed by all columns"));
        let rows = record_batch(&self.schema, output.collect(), count)?;
        Ok(Delta::new(rows, weights.into()))
    }
}

impl Operator for SetOperator {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let left = inputs[0].arranged();
        Ok(Flow::of(match inputs.get(1) {
            None => self.distinct(left)?,
            Some(right) => self.binary(left, right.arranged())?,
        }))
    }
}
