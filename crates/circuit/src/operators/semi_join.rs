//! Left rows whose key is (or is not) on the right: `EXISTS`, `IN`, and their negations.
//!
//! With `p` the presence of a key on the right, the output is `A · p`. Its change is
//! `ΔA · p_after + A_before · (p_after - p_before)`: new left rows are filtered by what the right
//! holds now, and stored left rows come or go when a key's presence changes.

use arrow::array::{BooleanArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use highwater_zset::{Delta, Snapshot};

use super::join::key_columns;
use super::{Arranged, Flow, Operator, OperatorError, StepContext, record_batch};

/// Keeps the left rows whose key is present on the right; `anti` keeps the others.
pub(crate) struct SemiJoin {
    anti: bool,
    schema: SchemaRef,
}

impl SemiJoin {
    pub(crate) fn new(anti: bool, schema: SchemaRef) -> Self {
        Self { anti, schema }
    }

    /// New left rows, by the right's contents after the step.
    fn filter_left(&self, left: &Arranged, right: &Snapshot) -> Result<Delta, OperatorError> {
        let changes = &left.delta;
        let weights =
            right.key_weights_up_to(changes.key_hashes(), &key_columns(changes), |_| 1)?;
        let keep = weights
            .iter()
            .map(|&weight| (weight > 0) != self.anti)
            .collect::<Vec<_>>();
        let delta = changes.to_delta();
        let kept = keep.iter().filter(|&&kept| kept).count();
        Ok(match kept {
            0 => Delta::empty(self.schema.clone()),
            all if all == keep.len() => delta,
            _ => delta.filter(&BooleanArray::from(keep))?,
        })
    }

    /// Stored left rows of the keys that came or went on the right.
    fn switched(&self, left: &Snapshot, right: &Arranged) -> Result<Delta, OperatorError> {
        let keys = right.delta.keys()?;
        let weights = |of: &Snapshot| of.key_weights_up_to(keys.hashes(), keys.columns(), |_| 1);
        let (before, after) = (weights(&right.before)?, weights(&right.after)?);
        let mut changed = Vec::new();
        let mut signs = Vec::new();
        for (index, (before, after)) in (0u32..).zip(before.into_iter().zip(after)) {
            let (before, after) = ((before > 0) != self.anti, (after > 0) != self.anti);
            if before != after {
                changed.push(index);
                signs.push(if after { 1 } else { -1 });
            }
        }
        if changed.is_empty() {
            return Ok(Delta::empty(self.schema.clone()));
        }
        let hashes: Vec<u64> = changed
            .iter()
            .map(|&key| keys.hashes()[key as usize])
            .collect();
        let indices = UInt32Array::from(changed);
        let columns = keys
            .columns()
            .iter()
            .map(|column| take(column, &indices, None));
        let matches = left.probe(&hashes, &columns.collect::<Result<Vec<_>, _>>()?)?;
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let rows = left.gather(&matches, &all)?;
        let rows = record_batch(&self.schema, rows, matches.probes.len())?;
        let pairs = matches.weights.iter().zip(&matches.probes);
        let weights = pairs.map(|(weight, &probe)| weight * signs[probe as usize]);
        Ok(Delta::new(rows, weights.collect()))
    }
}

impl Operator for SemiJoin {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let (left, right) = (inputs[0].arranged(), inputs[1].arranged());
        let mut output = Vec::new();
        if !left.delta.is_empty() {
            output.push(self.filter_left(left, &right.after)?);
        }
        if !right.delta.is_empty() {
            output.push(self.switched(&left.before, right)?);
        }
        output.retain(|delta| !delta.is_empty());
        Ok(Flow::Delta(output))
    }
}
