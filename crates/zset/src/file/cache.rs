//! Decoded blocks of batch files and their filters, as many as fit a bound.
//!
//! Apart from each other: where state is much larger than the cache, every lookup would push out some
//! filters for a block that is not asked for again. With both in one cache four of five filters were
//! gone when they were needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::filter::BlockFilter;
use crate::batch::Batch;

/// A block: of which batch, its number.
pub(super) type BlockKey = (u64, u32);

/// What an entry costs beside its contents.
const ENTRY_BYTES: u64 = 128;
/// For the first sizing of the caches' tables.
const BLOCK_BYTES_USUAL: u64 = 64 << 10;
const FILTER_BYTES_USUAL: u64 = 2 << 10;

/// Blocks and filters in memory, shared by all batches of a pipeline.
pub struct BlockCache {
    blocks: Cache<BlockKey, Arc<Batch>, ByBytes>,
    filters: Cache<BlockKey, Arc<BlockFilter>, ByBytes>,
    /// Files that lookups read much of, so that whoever steps need not look for them if there are none.
    wanted: AtomicUsize,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<BlockKey, Arc<Batch>> for ByBytes {
    fn weight(&self, _: &BlockKey, block: &Arc<Batch>) -> u64 {
        block.bytes() as u64 + ENTRY_BYTES
    }
}

impl Weighter<BlockKey, Arc<BlockFilter>> for ByBytes {
    fn weight(&self, _: &BlockKey, filter: &Arc<BlockFilter>) -> u64 {
        filter.bytes() as u64 + ENTRY_BYTES
    }
}

/// Entries of this size that fit.
fn items(bytes_max: u64, item_bytes: u64) -> usize {
    usize::try_from(bytes_max / item_bytes).map_or(usize::MAX, |items| items.max(16))
}

impl BlockCache {
    /// Keeps up to about this many bytes, half of them of filters.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let half = bytes_max as u64 / 2;
        Arc::new(Self {
            blocks: Cache::with_weighter(items(half, BLOCK_BYTES_USUAL), half, ByBytes),
            filters: Cache::with_weighter(items(half, FILTER_BYTES_USUAL), half, ByBytes),
            wanted: AtomicUsize::new(0),
        })
    }

    /// Some file should come into memory.
    pub(crate) fn is_any_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    pub(super) fn add_wanted(&self) {
        self.wanted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn subtract_wanted(&self) {
        self.wanted.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn block(&self, key: BlockKey) -> Option<Arc<Batch>> {
        self.blocks.get(&key)
    }

    pub(super) fn insert_block(&self, key: BlockKey, block: Arc<Batch>) {
        self.blocks.insert(key, block);
    }

    pub(super) fn filter(&self, key: BlockKey) -> Option<Arc<BlockFilter>> {
        self.filters.get(&key)
    }

    pub(super) fn insert_filter(&self, key: BlockKey, filter: BlockFilter) {
        self.filters.insert(key, Arc::new(filter));
    }

    pub(super) fn remove(&self, key: BlockKey) {
        self.blocks.remove(&key);
        self.filters.remove(&key);
    }

    /// Bytes of what is kept.
    pub fn bytes(&self) -> usize {
        let bytes = self.blocks.weight() + self.filters.weight();
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BlockCache({} bytes)", self.bytes())
    }
}
