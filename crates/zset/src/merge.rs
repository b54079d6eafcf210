//! Merging batches into one.
//!
//! Rows are named in order by comparing integers, some thousands at a time; then each column is copied
//! by one typed loop. Rows of different batches with equal integers are taken for equal, and checked
//! column by column when the chunk is done: if one check fails (a collision), the chunk is done again
//! by comparing values. Ordered layouts compare values at once, because ties are common there.
//!
//! A batch in memory is seen as a whole, one in a file through a *window* of a block (more if the rows
//! of one rank go on in the next block). A chunk ends where a window does.
//!
//! The output depends on the inputs only, not on the fuel given: fuel ends a chunk early, and a chunk's
//! end falls between rows that differ. It shares no memory with the inputs.

mod builder;
mod select;
pub(crate) mod service;

use std::sync::Arc;

use crate::any_batch::AnyBatch;
use crate::batch::Batch;
use crate::delta::{Delta, record_batch};
use crate::error::{Error, Result};
use crate::file::SpillWriter;
use crate::layout::Layout;
use crate::merge::builder::BatchBuilder;
use crate::merge::select::Selection;
use crate::state_files::StateFiles;

pub(crate) use builder::ExcerptBuilder;
pub use service::{MergeService, yield_to_steps};

/// Rows named before their columns are copied: names and hashes of a chunk stay in the first caches.
const CHUNK_ROWS: usize = 4096;

/// A piece of a result ends at this many bytes, if it has not so many rows yet: whatever is merged in
/// pieces should take little memory, and rows may be wide.
const PIECE_BYTES: usize = 2 << 20;

/// Rows that a merge into a file gathers before it writes them: some blocks.
const SPILL_ROWS: usize = if cfg!(test) { 9 } else { 16_384 };

/// A merge of several batches, resumable by fuel.
pub struct Merger {
    layout: Arc<Layout>,
    inputs: Vec<Input>,
    /// The part of each input that is being merged; empty before the first chunk.
    windows: Vec<Arc<Batch>>,
    selection: Selection,
    /// Without room before the first chunk: to reserve megabytes is for the thread that merges. A step
    /// that did it waited up to 30 ms for the system to clear huge pages.
    builder: BatchBuilder,
    rows_left: usize,
    piece_rows: usize,
    output: Output,
}

/// Where the result goes.
enum Output {
    Memory,
    /// A file that is made when there is something to write.
    File {
        target: StateFiles,
        writer: Option<Box<SpillWriter>>,
    },
}

/// A batch that is merged, and how far its windows are.
struct Input {
    batch: AnyBatch,
    windows_begun: usize,
}

impl Input {
    fn has_more(&self) -> Result<bool> {
        Ok(match &self.batch {
            AnyBatch::Memory(_) => self.windows_begun == 0,
            AnyBatch::File(batch) => self.windows_begun < batch.blocks()?,
        })
    }

    /// The next rows; there must be some.
    fn next_window(&mut self) -> Result<Arc<Batch>> {
        let batch = match &self.batch {
            AnyBatch::Memory(batch) => {
                self.windows_begun = 1;
                return Ok(Arc::clone(batch));
            }
            AnyBatch::File(batch) => batch,
        };
        let mut window = batch.block_once(self.windows_begun)?;
        while batch.is_tied_to_next(self.windows_begun)? {
            self.windows_begun += 1;
            let next = batch.block_once(self.windows_begun)?;
            window = Arc::new(window.joined(&next)?);
        }
        self.windows_begun += 1;
        Ok(window)
    }
}

impl Merger {
    /// `inputs` have this layout.
    pub fn new(layout: Arc<Layout>, inputs: Vec<AnyBatch>) -> Self {
        Self::in_pieces(layout, inputs, usize::MAX)
    }

    /// As [`Self::new`], but the result is written to a file.
    pub(crate) fn into_file(
        layout: Arc<Layout>,
        inputs: Vec<AnyBatch>,
        target: StateFiles,
    ) -> Self {
        let mut merger = Self::in_pieces(layout, inputs, SPILL_ROWS);
        merger.output = Output::File {
            target,
            writer: None,
        };
        merger
    }

    /// For [`Self::next_piece`].
    pub(crate) fn in_pieces(layout: Arc<Layout>, inputs: Vec<AnyBatch>, piece_rows: usize) -> Self {
        let rows_left: usize = inputs.iter().map(AnyBatch::len).sum();
        let begun = |batch| Input {
            batch,
            windows_begun: 0,
        };
        Self {
            selection: Selection::new(&layout, &inputs),
            layout,
            inputs: inputs.into_iter().map(begun).collect(),
            windows: Vec::new(),
            builder: BatchBuilder::default(),
            rows_left,
            piece_rows,
            output: Output::Memory,
        }
    }

    /// All of it at once, into memory.
    ///
    /// # Errors
    /// As [`Self::work`].
    pub fn run(mut self) -> Result<Batch> {
        while self.rows_left > 0 {
            self.chunk(CHUNK_ROWS)?;
        }
        self.finish_in_memory()
    }

    /// Input rows that are still to be merged.
    pub fn rows_left(&self) -> usize {
        self.rows_left
    }

    /// Merges about `fuel` input rows and takes what it used from it. `Some` when the merge is done;
    /// it must not be called again then.
    ///
    /// # Errors
    /// If a sum of weights overflows, a file cannot be read or written, or Arrow refuses, e.g. more
    /// than 2 GiB of strings in a column.
    pub fn work(&mut self, fuel: &mut usize) -> Result<Option<AnyBatch>> {
        while self.rows_left > 0 {
            if *fuel == 0 {
                return Ok(None);
            }
            let used = self.chunk(CHUNK_ROWS.min(*fuel))?;
            *fuel = fuel.saturating_sub(used);
            if self.is_piece_full() {
                self.spill()?;
            }
        }
        if !self.builder.is_empty() {
            self.spill()?;
        }
        self.finish().map(Some)
    }

    fn is_piece_full(&self) -> bool {
        let is_in_pieces = self.piece_rows < usize::MAX;
        is_in_pieces
            && (self.builder.rows() >= self.piece_rows || self.builder.bytes() >= PIECE_BYTES)
    }

    /// Writes what was merged so far, if the result goes to a file.
    fn spill(&mut self) -> Result<()> {
        let Output::File { target, writer } = &mut self.output else {
            return Ok(());
        };
        let next = BatchBuilder::new(&self.layout, &[], self.rows_left.min(SPILL_ROWS));
        let parts = std::mem::replace(&mut self.builder, next).finish()?;
        let rows = Batch::from_parts(&self.layout, parts)?;
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(Box::new(SpillWriter::new(
                &target.files,
                target.worker,
                Arc::clone(&self.layout),
            )?)),
        };
        writer.write(&rows)
    }

    fn finish(&mut self) -> Result<AnyBatch> {
        match std::mem::replace(&mut self.output, Output::Memory) {
            Output::File {
                target,
                writer: Some(writer),
            } => Ok(AnyBatch::File(Arc::new(writer.finish(&target.cache)?))),
            _ => Ok(self.finish_in_memory()?.into()),
        }
    }

    fn finish_in_memory(&mut self) -> Result<Batch> {
        if self.windows.is_empty() {
            return Ok(Batch::empty(Arc::clone(&self.layout)));
        }
        let builder = std::mem::take(&mut self.builder);
        Batch::from_parts(&self.layout, builder.finish()?)
    }

    /// A builder with room for the next piece.
    fn next_builder(&self) -> BatchBuilder {
        let inputs = self.inputs.iter().map(|input| input.batch.clone());
        let inputs: Vec<AnyBatch> = inputs.collect();
        BatchBuilder::new(&self.layout, &inputs, self.rows_left.min(self.piece_rows))
    }

    /// The next rows of the result, `None` at its end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Delta>> {
        while self.rows_left > 0 && !self.is_piece_full() {
            self.chunk(CHUNK_ROWS)?;
        }
        let rows = self.builder.rows();
        if rows == 0 {
            return Ok(None);
        }
        let next = self.next_builder();
        let (columns, weights) = std::mem::replace(&mut self.builder, next).finish_rows()?;
        Ok(Some(Delta::new(
            record_batch(&self.layout.schema, columns, rows)?,
            weights.into(),
        )))
    }

    /// Merges up to `rows` output rows; returns how many input rows they took.
    fn chunk(&mut self, rows: usize) -> Result<usize> {
        self.open_windows()?;
        let used = self.selection.next(&self.windows, rows)?;
        if used == 0 {
            let message = "a batch has fewer rows than it should";
            return Err(Error::Invalid(message.to_owned()));
        }
        self.builder
            .append(&self.windows, &self.selection.selected())?;
        self.rows_left = self.rows_left.saturating_sub(used);
        Ok(used)
    }

    /// Gives the next window to every input that is at the end of one.
    fn open_windows(&mut self) -> Result<()> {
        if self.windows.is_empty() {
            let empty = Arc::new(Batch::empty(Arc::clone(&self.layout)));
            self.windows = vec![empty; self.inputs.len()];
            self.builder = self.next_builder();
        }
        for (source, input) in self.inputs.iter_mut().enumerate() {
            while self.selection.is_starved(source) {
                self.windows[source] = input.next_window()?;
                let has_more = input.has_more()?;
                self.selection.open(source, &self.windows[source], has_more);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
