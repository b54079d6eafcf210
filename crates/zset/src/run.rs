//! A run: sorted rows in memory, as one batch, or as several that follow each other.
//!
//! One batch is the rule. But Arrow's 32-bit offsets end at 2 GiB of strings in a column, so a merge cuts
//! a result that would be longer, and the spine counts the pieces as one.
//!
//! Invariants
//! - I1: the rows of a piece have lower ranks than those of the next one. So a merge may take piece after
//!   piece for a window, and a lookup finds a rank in one piece only.
//! - I2: no piece of several is empty.

use std::sync::Arc;

use crate::any_batch::AnyBatch;
use crate::batch::Batch;
use crate::file::FileBatch;
use crate::layout::Layout;
use crate::parts::{Part, Parts};

/// Sorted, consolidated rows in memory; cheap to clone.
#[derive(Clone, Debug)]
pub struct Run {
    first: Arc<Batch>,
    /// The pieces behind the first one; most runs have none.
    others: Option<Arc<[Arc<Batch>]>>,
}

impl From<Arc<Batch>> for Run {
    fn from(only: Arc<Batch>) -> Self {
        Self {
            first: only,
            others: None,
        }
    }
}

impl Run {
    /// The pieces are as I1 and I2 say.
    pub(crate) fn new(layout: &Arc<Layout>, pieces: Vec<Batch>) -> Self {
        let mut pieces = pieces.into_iter().map(Arc::new);
        let first = pieces.next();
        let first = first.unwrap_or_else(|| Arc::new(Batch::empty(Arc::clone(layout))));
        let others: Vec<Arc<Batch>> = pieces.collect();
        Self {
            first,
            others: (!others.is_empty()).then(|| others.into()),
        }
    }

    /// At least one, in order.
    pub fn pieces(&self) -> impl ExactSizeIterator<Item = &Arc<Batch>> {
        (0..self.piece_count()).map(|piece| self.piece(piece))
    }

    pub(crate) fn piece_count(&self) -> usize {
        1 + self.others.as_ref().map_or(0, |others| others.len())
    }

    pub(crate) fn piece(&self, piece: usize) -> &Arc<Batch> {
        match (piece, &self.others) {
            (1.., Some(others)) => &others[piece - 1],
            _ => &self.first,
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        self.first.layout()
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        self.pieces().map(|piece| piece.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.pieces().map(|piece| piece.bytes()).sum()
    }

    /// Somebody else uses it too.
    pub(crate) fn is_shared(&self) -> bool {
        self.pieces().any(|piece| Arc::strong_count(piece) > 1)
    }

    pub(crate) fn parts(&self) -> &Parts {
        self.first.parts()
    }

    /// The batches that a checkpoint keeps in the place of this run, those in memory to be written: its
    /// file if it was written, the parts of its inputs if it is a merge that stands for them, else itself.
    pub fn kept_as(&self) -> Vec<AnyBatch> {
        let kept = self.parts().settled();
        match kept.is_empty() {
            true => vec![AnyBatch::Memory(self.clone())],
            false => kept,
        }
    }

    /// What a merge that this run goes into may stand for.
    pub(crate) fn parts_of_merge(&self) -> Vec<Part> {
        let parts = self.parts().resolved();
        match parts.is_empty() {
            true if self.parts().is_promised() => vec![Part::Promised {
                parts: self.parts().clone(),
                rows: self.len(),
            }],
            true => vec![Part::Batch(AnyBatch::Memory(self.clone()))],
            false => parts,
        }
    }

    /// The file that has all rows of this run, if it was written as a whole and can be relied on.
    pub(crate) fn only_file(&self) -> Option<Arc<FileBatch>> {
        match self.parts().resolved().as_slice() {
            [Part::Batch(AnyBatch::File(file))] if !file.file().is_poisoned() => {
                Some(Arc::clone(file))
            }
            _ => None,
        }
    }

    /// A checkpoint begins to write this run.
    pub fn promise_file(&self) {
        self.parts().promise();
    }

    /// Notes the file that has all rows of this run.
    pub fn set_file(&self, file: Arc<FileBatch>) {
        self.parts().set(vec![Part::Batch(AnyBatch::File(file))]);
    }
}
