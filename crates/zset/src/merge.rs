//! Merging batches into one.
//!
//! Rows are named in order by comparing integers, some thousands at a time; then each column is copied
//! by one typed loop. Rows of different batches with equal integers are taken for equal, and checked
//! column by column when the chunk is done: if one check fails (a collision), the chunk is done again
//! by comparing values. Ordered layouts compare values at once, because ties are common there.
//!
//! An input is seen through *windows*: the pieces of a run in memory, the blocks of a file (several at
//! once if the rows of one rank go on in the next block). A chunk ends where a window does.
//!
//! A result in memory is cut where a column becomes long ([`COLUMN_BYTES_MAX`]), between two ranks.
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
use crate::run::Run;
use crate::state_files::StateFiles;

pub(crate) use builder::ExcerptBuilder;
pub use service::{MergeService, yield_to_steps};

/// Rows named before their columns are copied: names and hashes of a chunk stay in the first caches.
const CHUNK_ROWS: usize = 4096;

/// A run is cut when a column of it has this many bytes: half of what Arrow's offsets hold, so that there
/// is room for the chunk that comes next and for rows of one rank, which are not cut apart.
const COLUMN_BYTES_MAX: usize = if cfg!(test) { 64 } else { 1 << 30 };

/// Also at this many rows, so that the rows of a few batches can be counted by 32 bits.
const RUN_PIECE_ROWS_MAX: usize = 1 << 26;

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
    /// Rows of a chunk, by the widest rows in the windows.
    chunk_rows: usize,
    rows_left: usize,
    piece_rows: usize,
    output: Output,
}

/// Where the result goes.
enum Output {
    /// It stays in the builder.
    Builder,
    /// The pieces so far.
    Run(Vec<Batch>),
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
            AnyBatch::Memory(run) => self.windows_begun < run.piece_count(),
            AnyBatch::File(batch) => self.windows_begun < batch.blocks()?,
        })
    }

    /// The next rows; there must be some.
    fn next_window(&mut self) -> Result<Arc<Batch>> {
        let batch = match &self.batch {
            AnyBatch::Memory(run) => {
                self.windows_begun += 1;
                return Ok(Arc::clone(run.piece(self.windows_begun - 1)));
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
        let mut merger = Self::in_pieces(layout, inputs, RUN_PIECE_ROWS_MAX);
        merger.output = Output::Run(Vec::new());
        merger
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
            chunk_rows: CHUNK_ROWS,
            rows_left,
            piece_rows,
            output: Output::Builder,
        }
    }

    /// All of it at once, as one batch in memory.
    ///
    /// # Errors
    /// As [`Self::work`], or if there are more than 2 GiB of strings in a column.
    pub fn run(mut self) -> Result<Batch> {
        self.output = Output::Builder;
        while self.rows_left > 0 {
            self.chunk(usize::MAX)?;
        }
        if self.windows.is_empty() {
            return Ok(Batch::empty(Arc::clone(&self.layout)));
        }
        Batch::from_parts(&self.layout, self.builder.finish()?)
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
    /// than 2 GiB of strings in a column of rows of one rank.
    pub fn work(&mut self, fuel: &mut usize) -> Result<Option<AnyBatch>> {
        while self.rows_left > 0 {
            if *fuel == 0 {
                return Ok(None);
            }
            let used = self.chunk(*fuel)?;
            *fuel = fuel.saturating_sub(used);
        }
        self.finish().map(Some)
    }

    fn is_piece_full(&self) -> bool {
        let bytes = match self.output {
            Output::Run(_) => self.builder.widest_column_bytes(),
            Output::Builder | Output::File { .. } => self.builder.bytes(),
        };
        bytes >= self.piece_bytes() || self.builder.rows() >= self.piece_rows
    }

    /// Bytes of a full piece: of the widest column of a run's, of all columns of others.
    fn piece_bytes(&self) -> usize {
        match self.output {
            Output::Run(_) => COLUMN_BYTES_MAX,
            Output::Builder | Output::File { .. } => PIECE_BYTES,
        }
    }

    /// The rows that were selected belong into another piece than those before.
    fn begins_piece(&self) -> bool {
        let may_begin = match self.output {
            Output::Builder => false,
            Output::Run(_) => self.builder.ends_before(&self.selection.selected()),
            Output::File { .. } => true,
        };
        may_begin && self.is_piece_full()
    }

    /// Puts the rows in the builder where the result goes.
    fn end_piece(&mut self) -> Result<()> {
        let next = self.next_builder();
        let parts = std::mem::replace(&mut self.builder, next).finish()?;
        let piece = Batch::from_parts(&self.layout, parts)?;
        let (target, writer) = match &mut self.output {
            Output::File { target, writer } => (target, writer),
            Output::Run(pieces) => {
                pieces.push(piece);
                return Ok(());
            }
            Output::Builder => return Ok(()),
        };
        let writer = match writer {
            Some(writer) => writer,
            None => writer.insert(Box::new(SpillWriter::new(
                &target.files,
                target.worker,
                Arc::clone(&self.layout),
            )?)),
        };
        writer.write(&piece)
    }

    fn finish(&mut self) -> Result<AnyBatch> {
        if !self.builder.is_empty() {
            self.end_piece()?;
        }
        match std::mem::replace(&mut self.output, Output::Builder) {
            Output::File {
                target,
                writer: Some(writer),
            } => Ok(AnyBatch::File(Arc::new(writer.finish(&target.cache)?))),
            Output::Run(pieces) => Ok(AnyBatch::Memory(Run::new(&self.layout, pieces))),
            _ => Ok(Batch::empty(Arc::clone(&self.layout)).into()),
        }
    }

    /// A builder with room for the next piece.
    fn next_builder(&self) -> BatchBuilder {
        let inputs = self.inputs.iter().map(|input| &input.batch);
        let inputs: Vec<&AnyBatch> = inputs.collect();
        let rows = self.rows_left.min(self.piece_rows);
        BatchBuilder::new(&self.layout, &inputs, rows, self.piece_bytes())
    }

    /// The next rows of the result, `None` at its end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Delta>> {
        while self.rows_left > 0 && !self.is_piece_full() {
            self.chunk(usize::MAX)?;
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

    /// Merges the next rows, up to `fuel` of the inputs; returns how many of them were used.
    fn chunk(&mut self, fuel: usize) -> Result<usize> {
        self.open_windows()?;
        let rows = self.chunk_rows.min(fuel);
        let used = self.selection.next(&self.windows, rows)?;
        if used == 0 {
            let message = "a batch has fewer rows than it should";
            return Err(Error::Invalid(message.to_owned()));
        }
        if self.begins_piece() {
            self.end_piece()?;
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
        let mut is_any_opened = false;
        for (source, input) in self.inputs.iter_mut().enumerate() {
            while self.selection.is_starved(source) {
                self.windows[source] = input.next_window()?;
                let has_more = input.has_more()?;
                self.selection.open(source, &self.windows[source], has_more);
                is_any_opened = true;
            }
        }
        if is_any_opened {
            // A chunk of wide rows must not be much more than a piece.
            let widest = self.windows.iter().map(|window| window.row_bytes()).max();
            let fitting = self.piece_bytes() / 4 / widest.unwrap_or_default().max(1);
            self.chunk_rows = fitting.clamp(1, CHUNK_ROWS);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
