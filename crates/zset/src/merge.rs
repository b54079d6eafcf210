//! Merging batches into one.
//!
//! Rows are named in order by comparing integers, some thousands at a time; then each column is copied
//! by one typed loop. Rows of different batches with equal integers are taken for equal, and checked
//! column by column when the chunk is done: if one check fails (a collision), the chunk is done again
//! by comparing values. Ordered layouts compare values at once, because ties are common there.
//!
//! The output depends on the inputs only, not on the fuel given: fuel ends a chunk early, and a chunk's
//! end falls between rows that differ. It shares no memory with the inputs.

mod builder;
mod select;
pub(crate) mod service;

use std::sync::Arc;

use crate::batch::Batch;
use crate::delta::{Delta, record_batch};
use crate::error::Result;
use crate::layout::Layout;
use crate::merge::builder::BatchBuilder;
use crate::merge::select::Selection;

pub use service::MergeService;

/// Rows named before their columns are copied: names and hashes of a chunk stay in the first caches.
const CHUNK_ROWS: usize = 4096;

/// A merge of several batches, resumable by fuel.
pub struct Merger {
    layout: Arc<Layout>,
    inputs: Vec<Arc<Batch>>,
    selection: Selection,
    builder: BatchBuilder,
    rows_left: usize,
    piece_rows: usize,
}

impl Merger {
    /// `inputs` have this layout.
    pub fn new(layout: Arc<Layout>, inputs: Vec<Arc<Batch>>) -> Self {
        Self::in_pieces(layout, inputs, usize::MAX)
    }

    /// For [`Self::next_piece`].
    pub(crate) fn in_pieces(
        layout: Arc<Layout>,
        inputs: Vec<Arc<Batch>>,
        piece_rows: usize,
    ) -> Self {
        let rows_left: usize = inputs.iter().map(|batch| batch.len()).sum();
        let builder = BatchBuilder::new(&layout, &inputs, rows_left.min(piece_rows));
        let selection = Selection::new(&layout, &inputs);
        Self {
            layout,
            inputs,
            selection,
            builder,
            rows_left,
            piece_rows,
        }
    }

    /// Input rows that are still to be merged.
    pub fn rows_left(&self) -> usize {
        self.rows_left
    }

    /// Merges about `fuel` input rows and takes what it used from it. `Some` when the merge is done;
    /// it must not be called again then.
    ///
    /// # Errors
    /// If a sum of weights overflows, or Arrow refuses, e.g. more than 2 GiB of strings in a column.
    pub fn work(&mut self, fuel: &mut usize) -> Result<Option<Batch>> {
        while self.rows_left > 0 {
            if *fuel == 0 {
                return Ok(None);
            }
            let used = self.chunk(CHUNK_ROWS.min(*fuel))?;
            *fuel = fuel.saturating_sub(used);
        }
        let builder = std::mem::take(&mut self.builder);
        Ok(Some(Batch::from_parts(&self.layout, builder.finish()?)?))
    }

    /// The next rows of the result, `None` at its end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Delta>> {
        while self.rows_left > 0 && self.builder.rows() < self.piece_rows {
            self.chunk(CHUNK_ROWS)?;
        }
        let rows = self.builder.rows();
        if rows == 0 {
            return Ok(None);
        }
        let next = BatchBuilder::new(
            &self.layout,
            &self.inputs,
            self.rows_left.min(self.piece_rows),
        );
        let (columns, weights) = std::mem::replace(&mut self.builder, next).finish_rows()?;
        Ok(Some(Delta::new(
            record_batch(&self.layout.schema, columns, rows)?,
            weights.into(),
        )))
    }

    /// Merges up to `rows` output rows; returns how many input rows they took.
    fn chunk(&mut self, rows: usize) -> Result<usize> {
        let used = self.selection.next(&self.inputs, rows)?;
        self.builder.append(&self.inputs, &self.selection)?;
        self.rows_left -= used;
        Ok(used)
    }
}

#[cfg(test)]
mod tests;
