//! The output of a merge under construction.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use crate::any_batch::AnyBatch;
use crate::batch::{Batch, BatchParts, Weights};
use crate::error::Result;
use crate::kernels::column::bytes_in_use;
use crate::kernels::gather::{ColumnBuilder, RowNames, trimmed};
use crate::layout::Layout;

/// Rows of several batches, in order.
pub(super) struct Selected<'a> {
    pub(super) names: RowNames<'a>,
    pub(super) hashes: &'a [u64],
    /// As many as there are rows, also if the layout has none.
    pub(super) seconds: &'a [u64],
    /// Empty if all are 1; else it may end early, and the rest is 1.
    pub(super) weights: &'a [i64],
}

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
    /// With room for this many rows of the inputs (of those in memory: what others take is not known),
    /// but for at most `bytes_max` of variable width in a column.
    pub(super) fn new(
        layout: &Layout,
        inputs: &[&AnyBatch],
        rows: usize,
        bytes_max: usize,
    ) -> Self {
        let total: usize = inputs.iter().map(|batch| batch.len()).sum();
        let bytes_of = |column: usize| -> usize {
            let in_memory = inputs.iter().filter_map(|batch| match batch {
                AnyBatch::Memory(run) => Some(run.pieces()),
                AnyBatch::File(_) => None,
            });
            let columns = in_memory.flatten().map(|piece| piece.rows().column(column));
            columns.map(|column| bytes_in_use(column.as_ref())).sum()
        };
        let fields = layout.schema.fields().iter().enumerate();
        let bytes: Vec<usize> = fields.map(|(column, _)| bytes_of(column)).collect();
        // A piece of the whole gets about its share.
        let widest = bytes.iter().max().copied().unwrap_or_default();
        let rows_max = match widest {
            0 => rows,
            _ => (total as f64 * (bytes_max as f64 / widest as f64)) as usize,
        };
        let rows = rows.min(rows_max);
        let share = rows as f64 / total.max(1) as f64;
        let fields = layout.schema.fields().iter().zip(bytes);
        let columns = fields.map(|(field, bytes)| {
            let bytes = if rows < total {
                (bytes as f64 * share) as usize
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

    /// Bytes of the columns so far.
    pub(super) fn bytes(&self) -> usize {
        self.columns.iter().map(ColumnBuilder::bytes).sum()
    }

    /// Bytes of the widest column so far.
    pub(super) fn widest_column_bytes(&self) -> usize {
        let bytes = self.columns.iter().map(ColumnBuilder::bytes);
        bytes.max().unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The rank of the last row is lower than those of the selected rows, of which there are some.
    pub(super) fn ends_before(&self, selected: &Selected<'_>) -> bool {
        let next = selected.hashes.first().zip(selected.seconds.first());
        let second = match self.has_seconds {
            true => self.seconds.last(),
            false => Some(&0),
        };
        let last = self.hashes.last().zip(second);
        last.zip(next).is_some_and(|(last, next)| last < next)
    }

    pub(super) fn append(&mut self, inputs: &[Arc<Batch>], selected: &Selected<'_>) -> Result<()> {
        let names = selected.names;
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
        if !self.weights.is_empty() || !selected.weights.is_empty() {
            self.weights.resize(self.hashes.len(), 1);
            self.weights.extend_from_slice(selected.weights);
        }
        self.hashes.extend_from_slice(selected.hashes);
        if self.has_seconds {
            self.seconds.extend_from_slice(selected.seconds);
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

/// A batch of rows that are picked from other batches, in order.
pub(crate) struct ExcerptBuilder(BatchBuilder);

impl ExcerptBuilder {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self(BatchBuilder::new(layout, &[], 0, 0))
    }

    /// Appends rows of each of these batches, which are behind all rows before in the layout's order.
    pub(crate) fn append(&mut self, picked: &[(Arc<Batch>, Vec<u32>)]) -> Result<()> {
        let rows = || {
            let numbered = (0_u32..).zip(picked);
            numbered.flat_map(|(source, (batch, rows))| {
                rows.iter().map(move |row| (source, batch, *row as usize))
            })
        };
        let sources: Vec<u32> = rows().map(|(source, ..)| source).collect();
        let names: Vec<u32> = rows().map(|(.., row)| row as u32).collect();
        let hashes: Vec<u64> = rows()
            .map(|(_, batch, row)| batch.key_hashes()[row])
            .collect();
        let seconds: Vec<u64> = rows()
            .map(|(_, batch, row)| batch.rank(row) as u64)
            .collect();
        let weights: Vec<i64> = rows().map(|(_, batch, row)| batch.weight(row)).collect();
        let batches: Vec<Arc<Batch>> = picked.iter().map(|(batch, _)| Arc::clone(batch)).collect();
        let selected = Selected {
            names: RowNames {
                sources: &sources,
                rows: &names,
            },
            hashes: &hashes,
            seconds: &seconds,
            weights: &weights,
        };
        self.0.append(&batches, &selected)
    }

    pub(crate) fn finish(self, layout: &Arc<Layout>) -> Result<Batch> {
        Batch::from_parts(layout, self.0.finish()?)
    }
}

fn finish_columns(columns: Vec<ColumnBuilder>) -> Result<Vec<ArrayRef>> {
    columns.into_iter().map(ColumnBuilder::finish).collect()
}
