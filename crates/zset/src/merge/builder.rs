//! The output of a merge under construction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use crate::batch::{Batch, BatchParts, Weights};
use crate::error::Result;
use crate::kernels::column::bytes_in_use;
use crate::kernels::gather::{ColumnBuilder, RowNames, trimmed};
use crate::layout::Layout;
use crate::merge::select::Selection;

/// Columns, hashes and weights that grow by one selection at a time.
#[derive(Default)]
pub(super) struct BatchBuilder {
    columns: Vec<ColumnBuilder>,
    hashes: Vec<u64>,
    seconds: Vec<u64>,
    has_seconds: bool,
    /// Empty as long as all weights are 1.
    weights: Vec<i64>,
}

impl BatchBuilder {
    pub(super) fn new(layout: &Layout, inputs: &[Arc<Batch>], rows: usize) -> Self {
        let total: usize = inputs.iter().map(|batch| batch.len()).sum();
        let fields = layout.schema.fields().iter().enumerate();
        let columns = fields.map(|(column, field)| {
            let bytes: usize = inputs
                .iter()
                .map(|batch| bytes_in_use(batch.rows().column(column).as_ref()))
                .sum();
            // A piece of the whole gets about its share.
            let bytes = if rows < total {
                (bytes as f64 * rows as f64 / total as f64) as usize
            } else {
                bytes
            };
            ColumnBuilder::new(field.data_type(), rows, bytes)
        });
        let has_seconds = layout.has_seconds();
        Self {
            columns: columns.collect(),
            hashes: Vec::with_capacity(rows),
            seconds: Vec::with_capacity(if has_seconds { rows } else { 0 }),
            has_seconds,
            weights: Vec::new(),
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn append(&mut self, inputs: &[Arc<Batch>], selection: &Selection) -> Result<()> {
        let names = RowNames {
            sources: selection.sources(),
            rows: selection.rows(),
        };
        let mut arrays: Vec<&dyn Array> = Vec::with_capacity(inputs.len());
        for (position, column) in self.columns.iter_mut().enumerate() {
            arrays.clear();
            arrays.extend(
                inputs
                    .iter()
                    .map(|batch| batch.rows().column(position).as_ref()),
            );
            column.append(&arrays, names)?;
        }
        if !self.weights.is_empty() || !selection.weights().is_empty() {
            self.weights.resize(self.hashes.len(), 1);
            self.weights.extend_from_slice(selection.weights());
        }
        self.hashes.extend_from_slice(selection.hashes());
        if self.has_seconds {
            self.seconds.extend_from_slice(selection.seconds());
        }
        if !self.weights.is_empty() {
            self.weights.resize(self.hashes.len(), 1);
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<BatchParts> {
        Ok(BatchParts {
            columns: finish_columns(self.columns)?,
            hashes: trimmed(self.hashes),
            seconds: trimmed(self.seconds),
            weights: Weights::new(self.weights),
        })
    }

    pub(super) fn finish_rows(self) -> Result<(Vec<ArrayRef>, Vec<i64>)> {
        let mut weights = self.weights;
        weights.resize(self.hashes.len(), 1);
        Ok((finish_columns(self.columns)?, weights))
    }
}

fn finish_columns(columns: Vec<ColumnBuilder>) -> Result<Vec<ArrayRef>> {
    columns.into_iter().map(ColumnBuilder::finish).collect()
}
