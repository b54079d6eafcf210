//! What stands for a run in a checkpoint: the file it was written to, or the files of the runs that were
//! merged into it.
//!
//! A merge that stands for its inputs' files need not be written only because rows were merged. Those
//! files may still be on their way: a checkpoint takes seconds to write what it found, and meanwhile
//! merges replace just that. So an input that is *promised* a file passes the place where the file will
//! be noted on to the merge; its rows need not stay in memory for that. If nothing is noted there in the
//! end (the checkpoint failed), the merge is written itself.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::any_batch::AnyBatch;

/// Where the parts of a run are noted; shared with the merges that it went into. A mutex, because the
/// thread of a checkpoint notes files while a worker may merge the run; held only for a short list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    /// Their sum is the run; empty if only the run itself has its rows.
    parts: Vec<Part>,
    is_promised: bool,
}

/// A summand of a run.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Batch(AnyBatch),
    /// What will be noted of a run of so many rows that may be gone.
    Promised {
        parts: Parts,
        rows: usize,
    },
}

impl Part {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.len(),
            Self::Promised { rows, .. } => *rows,
        }
    }

    /// The rows stay in memory for this.
    pub(crate) fn is_in_memory(&self) -> bool {
        matches!(self, Self::Batch(AnyBatch::Memory(_)))
    }

    /// What is known by now.
    fn resolved(&self) -> Vec<Self> {
        let known = match self {
            Self::Batch(AnyBatch::File(_)) => Vec::new(),
            Self::Batch(AnyBatch::Memory(run)) => run.parts().resolved(),
            Self::Promised { parts, .. } => parts.resolved(),
        };
        match known.is_empty() {
            true => vec![self.clone()],
            false => known,
        }
    }

    /// The batch that it is. `None` if it is not known, or in a file whose sync has failed.
    fn batch(&self) -> Option<AnyBatch> {
        match self {
            Self::Batch(AnyBatch::File(file)) if file.file().is_poisoned() => None,
            Self::Batch(batch) => Some(batch.clone()),
            Self::Promised { .. } => None,
        }
    }
}

impl Parts {
    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what the run is the sum of.
    pub(crate) fn set(&self, parts: Vec<Part>) {
        self.lock().parts = parts;
    }

    /// A checkpoint that has begun will note a file.
    pub(crate) fn promise(&self) {
        self.lock().is_promised = true;
    }

    pub(crate) fn is_promised(&self) -> bool {
        self.lock().is_promised
    }

    /// The parts, those that were written since by their files; none if none were noted.
    pub(crate) fn resolved(&self) -> Vec<Part> {
        let mut noted = self.lock();
        noted.parts = noted.parts.iter().flat_map(Part::resolved).collect();
        noted.parts.clone()
    }

    /// The batches that stand for the run; none if it has to be written itself.
    pub(crate) fn settled(&self) -> Vec<AnyBatch> {
        let batches: Option<Vec<_>> = self.resolved().iter().map(Part::batch).collect();
        batches.unwrap_or_else(|| {
            self.set(Vec::new());
            Vec::new()
        })
    }
}
