//! Window functions: further columns for each row of a partition.
//!
//! Partitions that changed are evaluated as they were before the step and as they are after it, and
//! the difference goes out. Nothing is kept: the arrangement holds all that is needed.

pub(super) mod partitions;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::SchemaRef;
use highwater_zset::{Delta, Keys, ReadLimit, Snapshot};

use super::{BuildContext, Flow, Operator, OperatorError, StepContext, format_row, record_batch};
use crate::expression::PartitionFunction;
use partitions::{Partitions, difference, partition};

pub(super) struct Window {
    function: Arc<dyn PartitionFunction>,
    schema: SchemaRef,
}

impl Window {
    pub(super) fn new(function: Arc<dyn PartitionFunction>, context: &BuildContext<'_>) -> Self {
        Self {
            function,
            schema: context.node.schema.clone(),
        }
    }

    /// All rows of these partitions with their further columns, each with weight 1.
    fn evaluate(&self, snapshot: &Snapshot, keys: &Keys) -> Result<Partitions, OperatorError> {
        let groups = snapshot.read_groups(keys, ReadLimit::All)?;
        let mut pieces: Vec<RecordBatch> = Vec::with_capacity(keys.len());
        let mut added: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.function.data_types().len()];
        let mut offsets = vec![0_u32];
        let mut end = 0;
        for key in 0..keys.len() {
            if groups.range(key).is_empty() {
                offsets.push(end);
                continue;
            }
            let rows = partition(&groups, key, keys, "window")?;
            let columns = self
                .function
                .evaluate(&rows)
                .map_err(|error| OperatorError {
                    expression: self.function.fingerprint().to_owned(),
                    row: format_row(keys.columns(), key),
                    message: error.message,
                })?;
            added
                .iter_mut()
                .zip(columns)
                .for_each(|(all, column)| all.push(column));
            end += rows.num_rows() as u32;
            offsets.push(end);
            pieces.push(rows);
        }
        if pieces.is_empty() {
            let rows = Delta::empty(self.schema.clone());
            return Ok(Partitions { rows, offsets });
        }
        let rows = concat_batches(&groups.rows.schema(), &pieces)?;
        let mut columns = rows.columns().to_vec();
        for pieces in &added {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            columns.push(concat(&pieces)?);
        }
        let rows = record_batch(&self.schema, columns, rows.num_rows())?;
        Ok(Partitions {
            rows: Delta::insertions(rows),
            offsets,
        })
    }
}

impl Operator for Window {
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        let arranged = inputs[0].arranged();
        if arranged.delta.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        let keys = arranged.delta.keys()?;
        let before = self.evaluate(&arranged.before, &keys)?;
        let after = self.evaluate(&arranged.after, &keys)?;
        Ok(Flow::of(
            difference(&before, &after)?.consolidated(context.hasher)?,
        ))
    }
}

#[cfg(test)]
mod tests;
