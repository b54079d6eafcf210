//! Where state goes that does not fit into memory.
//!
//! All spines of a pipeline share one budget for the batches that they keep in memory. While it is
//! kept, state is in memory and files are written by checkpoints only. Beyond it, the results of merges
//! go to files, and spines write what they have ([`balance_memory`](crate::balance_memory)).
//!
//! The budget counts batches of spines, the inputs of merges until the result is there, and the
//! results in memory of merges that run. Besides there are the block cache, with a bound of its own,
//! and what is on its way: queues, deltas of a step, batches that only a snapshot still holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use highwater_storage::Files;

use crate::file::BlockCache;

/// Files, cache and budget of one worker's spines; cheap to clone.
#[derive(Clone, Debug)]
pub struct StateFiles {
    pub files: Arc<Files>,
    /// Goes into the files' names.
    pub worker: usize,
    pub cache: Arc<BlockCache>,
    pub budget: Arc<MemoryBudget>,
}

/// Bytes of batches in memory, over all workers.
#[derive(Debug)]
pub struct MemoryBudget {
    bytes_max: usize,
    bytes: AtomicUsize,
}

impl MemoryBudget {
    pub fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
        })
    }

    /// Bytes of batches that spines hold.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Beyond 7/8 spines should write.
    fn scarce_bytes(&self) -> usize {
        self.bytes_max - self.bytes_max / 8
    }

    /// True if with this many more bytes spines should write.
    pub(crate) fn is_short_by(&self, more: usize) -> bool {
        self.bytes().saturating_add(more) > self.scarce_bytes()
    }

    /// As [`Self::is_short_by`], when this many bytes are given back soon.
    pub(crate) fn is_short_despite(&self, freed: usize) -> bool {
        self.bytes().saturating_sub(freed) > self.scarce_bytes()
    }

    /// True if with this many more bytes less than half would be left.
    pub(crate) fn is_half_used_by(&self, more: usize) -> bool {
        self.bytes().saturating_add(more) > self.bytes_max / 2
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
