//! A batch on disk: its rows are read block by block when they are asked for.
//!
//! Opening one reads nothing. The first lookup reads the block index from the end of the file; a
//! lookup then reads the blocks that may hold its hashes, through a cache of bounded size. Whatever
//! is read is verified first: the index against a checksum that the batch's parent keeps
//! ([`BatchLocation`]), a block against one in the index, and the rows of a block must hash to where
//! the index says that they are.
//!
//! All algorithms work on batches in memory. So a lookup does not hand out blocks: it copies what the
//! asked hashes have in the file into one small batch, an *excerpt*, that stands for the file in this
//! lookup. A merge reads block after block, past the cache.
//!
//! The format is documented in `docs/internals/batch-file-format.md`.

mod cache;
mod excerpt;
mod filter;
pub(crate) mod format;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use highwater_storage::{Error as StorageError, StoredFile};

use crate::batch::Batch;
use crate::error::Result;
use crate::hash::RowHasher;
use crate::layout::Layout;

pub use cache::BlockCache;
use cache::BlockKey;
use filter::BlockFilter;
pub use format::BatchLocation;
pub(crate) use writer::SpillWriter;
pub use writer::{PACKED_BYTES_MAX, PackWriter, write_run};

use format::BlockIndex;

/// A file is wanted in memory when lookups have read one in so many of its blocks. They read and decode
/// them one by one, to copy some rows of each; a merge reads them in order, beside the steps.
const WANTED_SHARE: usize = 8;

/// A batch whose rows are in a file.
#[derive(Debug)]
pub struct FileBatch {
    /// Names its blocks in the cache.
    id: u64,
    layout: Arc<Layout>,
    /// Another one later if its sync fails; a mutex, held to copy the handle.
    file: Mutex<Arc<StoredFile>>,
    /// With the name of the first file.
    location: BatchLocation,
    /// Read when it is first needed.
    index: OnceLock<BlockIndex>,
    /// Filters that were put into the cache without an index.
    filters: usize,
    cache: Arc<BlockCache>,
    /// Blocks that lookups have read from the disk.
    blocks_read: AtomicUsize,
}

impl FileBatch {
    /// `file` is the one that the location names. Reads nothing.
    pub fn new(
        layout: Arc<Layout>,
        file: Arc<StoredFile>,
        location: BatchLocation,
        cache: Arc<BlockCache>,
    ) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            layout,
            file: Mutex::new(file),
            location,
            index: OnceLock::new(),
            filters: 0,
            cache,
            blocks_read: AtomicUsize::new(0),
        }
    }

    /// The layout that the batch at this location was written with, for who has no plan to take it
    /// from. Column names are labels; those that repeat have their position behind them.
    ///
    /// # Errors
    /// If the end of the file cannot be read, or is not what the location says.
    pub fn stored_layout(
        file: &StoredFile,
        location: &BatchLocation,
        hasher: RowHasher,
    ) -> Result<Layout> {
        format::read_layout(file, location, hasher)
    }

    /// The rows of this batch whose key hashes are in a range: what one of several workers owns.
    /// `None` if there are none.
    ///
    /// # Errors
    /// If the index or a block at the end of the range cannot be read.
    pub fn restricted(&self, hashes: &RangeInclusive<u64>) -> Result<Option<Self>> {
        let (first, last) = self.location.hashes.unwrap_or((0, u64::MAX));
        let (first, last) = (first.max(*hashes.start()), last.min(*hashes.end()));
        if first > last {
            return Ok(None);
        }
        let location = BatchLocation {
            hashes: Some((first, last)),
            ..self.location.clone()
        };
        let mut restricted = Self::new(
            Arc::clone(&self.layout),
            self.file(),
            location,
            Arc::clone(&self.cache),
        );
        let index = format::read_index(&self.file(), &restricted.location, &self.layout)?;
        let index = restricted.index.get_or_init(|| index);
        // Blocks inside the range count as a whole; those at its ends are read and cut.
        let mut rows = 0;
        for block in 0..index.blocks() {
            rows += if restricted.is_cut(index, block) {
                restricted.block(block)?.len()
            } else {
                index.rows(block)
            };
        }
        restricted.location.rows = rows as u64;
        Ok((rows > 0).then_some(restricted))
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    pub fn file(&self) -> Arc<StoredFile> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // The bytes are the same at the same places; the poisoned file goes with its last holder.
        while let Some(rewritten) = file.rewritten().cloned() {
            *file = rewritten;
        }
        Arc::clone(&file)
    }

    /// What the parent of the batch keeps, to open it again.
    pub fn location(&self) -> BatchLocation {
        BatchLocation {
            file: self.file().name().to_owned(),
            ..self.location.clone()
        }
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        usize::try_from(self.location.rows).unwrap_or(usize::MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> usize {
        usize::try_from(self.location.length).unwrap_or(usize::MAX)
    }

    /// Number of blocks.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub(crate) fn blocks(&self) -> Result<usize> {
        Ok(self.index()?.blocks())
    }

    /// Rows of one rank begin in this block and go on in the next one.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub(crate) fn is_tied_to_next(&self, block: usize) -> Result<bool> {
        Ok(self.index()?.is_tied_to_next(block))
    }

    fn index(&self) -> Result<&BlockIndex> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = format::read_index(&self.file(), &self.location, &self.layout)?;
        // Whoever walks through the blocks relies on there being as many rows as the location says.
        let blocks = 0..index.blocks();
        let rows_max: usize = blocks.clone().map(|block| index.rows(block)).sum();
        let is_cut = |block: &usize| self.is_cut(&index, *block);
        let cut_rows: usize = blocks.filter(is_cut).map(|block| index.rows(block)).sum();
        if !(rows_max - cut_rows..=rows_max).contains(&self.len()) {
            let message = format!("has up to {rows_max} rows, not {}", self.len());
            return Err(StorageError::corrupt(self.file().path(), message).into());
        }
        Ok(self.index.get_or_init(|| index))
    }

    fn block_key(&self, block: usize) -> BlockKey {
        (self.id, block as u32)
    }

    /// A block, from the cache if it is there.
    fn block(&self, block: usize) -> Result<Arc<Batch>> {
        let key = self.block_key(block);
        if let Some(batch) = self.cache.block(key) {
            return Ok(batch);
        }
        let batch = Arc::new(self.read_block(block)?);
        let blocks_read = self.blocks_read.fetch_add(1, Ordering::Relaxed);
        if !self.is_read_much(blocks_read) && self.is_read_much(blocks_read + 1) {
            self.cache.add_wanted();
        }
        // It stays longer than the block: what is small and often asked for.
        if self.cache.filter(key).is_none() {
            let filter = BlockFilter::new(batch.key_hashes());
            self.cache.insert_filter(key, filter);
        }
        self.cache.insert_block(key, Arc::clone(&batch));
        Ok(batch)
    }

    /// A block that will not be asked for again soon: it does not push others out of the cache.
    pub(crate) fn block_once(&self, block: usize) -> Result<Arc<Batch>> {
        match self.cache.block(self.block_key(block)) {
            Some(batch) => Ok(batch),
            None => Ok(Arc::new(self.read_block(block)?)),
        }
    }

    /// Lookups have read so much of it that reading it as a whole costs about as much again.
    pub(crate) fn is_wanted(&self) -> bool {
        self.is_read_much(self.blocks_read.load(Ordering::Relaxed))
    }

    fn is_read_much(&self, blocks_read: usize) -> bool {
        let blocks = self.index.get().map_or(0, BlockIndex::blocks);
        blocks > 0 && blocks_read >= blocks.div_ceil(WANTED_SHARE)
    }

    /// Its rows are elsewhere too: if lookups come back to the file they count from the beginning.
    pub(crate) fn set_unwanted(&self) {
        let blocks_read = self.blocks_read.swap(0, Ordering::Relaxed);
        if self.is_read_much(blocks_read) {
            self.cache.subtract_wanted();
        }
    }

    /// The filter of a block, if it is known.
    fn filter(&self, block: usize) -> Option<Arc<BlockFilter>> {
        self.cache.filter(self.block_key(block))
    }

    /// Notes filters that were made while the blocks were written.
    fn set_filters(&mut self, filters: Vec<BlockFilter>) {
        self.filters = filters.len();
        for (block, filter) in filters.into_iter().enumerate() {
            self.cache.insert_filter(self.block_key(block), filter);
        }
    }

    fn read_block(&self, block: usize) -> Result<Batch> {
        let index = self.index()?;
        let batch = format::read_block(&self.file(), &self.location, &self.layout, index, block)?;
        if !self.is_cut(index, block) {
            return Ok(batch);
        }
        let (first, last) = self.location.hashes.unwrap_or((0, u64::MAX));
        let hashes = batch.key_hashes();
        let start = hashes.partition_point(|hash| *hash < first);
        let end = hashes.partition_point(|hash| *hash <= last);
        batch.slice(start, end - start)
    }

    /// The range of hashes begins or ends inside the block, or before or behind it.
    fn is_cut(&self, index: &BlockIndex, block: usize) -> bool {
        self.location.hashes.is_some_and(|(first, last)| {
            index.first_hash(block) < first || index.last_hash(block) > last
        })
    }
}

impl Drop for FileBatch {
    fn drop(&mut self) {
        self.set_unwanted();
        let blocks = self.index.get().map_or(self.filters, BlockIndex::blocks);
        (0..blocks).for_each(|block| self.cache.remove(self.block_key(block)));
    }
}
