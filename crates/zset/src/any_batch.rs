//! A batch, wherever its rows are.

use std::sync::Arc;

use crate::batch::Batch;
use crate::file::FileBatch;
use crate::layout::Layout;
use crate::run::Run;

/// A batch in memory or in a file; cheap to clone.
#[derive(Clone, Debug)]
pub enum AnyBatch {
    Memory(Run),
    File(Arc<FileBatch>),
}

impl AnyBatch {
    pub fn layout(&self) -> &Arc<Layout> {
        match self {
            Self::Memory(run) => run.layout(),
            Self::File(batch) => batch.layout(),
        }
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(run) => run.len(),
            Self::File(batch) => batch.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it keeps in memory; what a cache holds of it is the cache's.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Self::Memory(run) => run.bytes(),
            Self::File(_) => 0,
        }
    }

    /// The batches that a checkpoint keeps in its place, those in memory to be written.
    pub fn kept_as(&self) -> Vec<AnyBatch> {
        match self {
            Self::Memory(run) => run.kept_as(),
            Self::File(_) => vec![self.clone()],
        }
    }
}

impl From<Batch> for AnyBatch {
    fn from(batch: Batch) -> Self {
        Self::from(Arc::new(batch))
    }
}

impl From<Arc<Batch>> for AnyBatch {
    fn from(batch: Arc<Batch>) -> Self {
        Self::Memory(batch.into())
    }
}
