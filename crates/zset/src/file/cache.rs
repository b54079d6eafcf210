//! Decoded blocks of batch files, as many as fit a bound.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::batch::Batch;

/// A batch and the number of a block in it.
type Key = (u64, u32);

/// What an entry costs beside its block.
const ENTRY_BYTES: u64 = 128;
/// For the first sizing of the cache's table.
const BLOCK_BYTES_USUAL: u64 = 64 << 10;

/// Blocks in memory, shared by all batches of a pipeline.
pub struct BlockCache {
    blocks: Cache<Key, Arc<Batch>, ByBytes>,
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Arc<Batch>> for ByBytes {
    fn weight(&self, _: &Key, block: &Arc<Batch>) -> u64 {
        block.bytes() as u64 + ENTRY_BYTES
    }
}

impl BlockCache {
    /// Keeps up to about this many bytes.
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let bytes_max = bytes_max as u64;
        let items = usize::try_from(bytes_max / BLOCK_BYTES_USUAL).unwrap_or(usize::MAX);
        Arc::new(Self {
            blocks: Cache::with_weighter(items.max(16), bytes_max, ByBytes),
        })
    }

    pub(super) fn get(&self, key: Key) -> Option<Arc<Batch>> {
        self.blocks.get(&key)
    }

    pub(super) fn insert(&self, key: Key, block: Arc<Batch>) {
        self.blocks.insert(key, block);
    }

    pub(super) fn remove(&self, key: Key) {
        self.blocks.remove(&key);
    }

    /// Bytes of the blocks that are kept.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.blocks.weight()).unwrap_or(usize::MAX)
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "BlockCache({} bytes)", self.bytes())
    }
}
