//! Copies what some hashes have in a file into one batch in memory.

use std::sync::Arc;

use super::filter::BlockFilter;
use super::{BlockIndex, FileBatch};
use crate::batch::Batch;
use crate::error::Result;
use crate::index::HashIndex;
use crate::merge::ExcerptBuilder;

/// Blocks that are held at once while they are copied from.
const BLOCKS_HELD_MAX: usize = if cfg!(test) { 2 } else { 32 };

impl FileBatch {
    /// The rows with these key hashes, ascending and distinct, but at most `rows_max` of each hash, the
    /// first ones.
    ///
    /// # Errors
    /// If a block cannot be read or is corrupt.
    pub(crate) fn excerpt(&self, hashes: &[u64], rows_max: usize) -> Result<Batch> {
        let index = self.index()?;
        let mut builder = ExcerptBuilder::new(&self.layout);
        let mut held: Vec<(Arc<Batch>, Vec<u32>)> = Vec::new();
        let mut walk = Walk::new(index, hashes, rows_max);
        while let Some(block) = walk.next_block() {
            let filter = self.filter(block);
            if filter.is_some_and(|filter| walk.passes_over(block, &filter)) {
                continue;
            }
            let batch = self.block(block)?;
            let rows = walk.pick(block, &batch);
            if !rows.is_empty() {
                held.push((batch, rows));
            }
            if held.len() == BLOCKS_HELD_MAX {
                builder.append(&held)?;
                held.clear();
            }
        }
        builder.append(&held)?;
        builder.finish(&self.layout)
    }
}

/// Goes through hashes and blocks together, both ascending.
struct Walk<'a> {
    index: &'a BlockIndex,
    hashes: &'a [u64],
    rows_max: usize,
    /// The hash that is looked for, by position.
    hash: usize,
    /// Rows of it that were found in earlier blocks.
    found: usize,
    /// The next block that may be read.
    block: usize,
}

impl<'a> Walk<'a> {
    fn new(index: &'a BlockIndex, hashes: &'a [u64], rows_max: usize) -> Self {
        Self {
            index,
            hashes,
            rows_max,
            hash: 0,
            found: 0,
            block: 0,
        }
    }

    /// The next block that may hold rows of the hash that is looked for, or of one behind it.
    fn next_block(&mut self) -> Option<usize> {
        while let Some(hash) = self.hashes.get(self.hash) {
            let block = self.index.first_block_with(*hash, self.block);
            if block < self.index.blocks() && self.index.first_hash(block) <= *hash {
                self.block = block + 1;
                return Some(block);
            }
            // No block can hold it (any more).
            self.advance();
        }
        None
    }

    fn advance(&mut self) {
        self.hash += 1;
        self.found = 0;
    }

    /// True if the block has none of the hashes that are looked for: goes on behind it.
    fn passes_over(&mut self, block: usize, filter: &BlockFilter) -> bool {
        let last = self.index.last_hash(block);
        let wanted = self.hashes[self.hash..].iter();
        let mut wanted = wanted.take_while(|hash| **hash <= last);
        if wanted.any(|hash| filter.may_contain(*hash)) {
            return false;
        }
        while self.hashes.get(self.hash).is_some_and(|hash| *hash <= last) {
            self.advance();
        }
        true
    }

    /// The rows of this block that are looked for; goes on to the hash that the next block may hold.
    fn pick(&mut self, block: usize, batch: &Batch) -> Vec<u32> {
        let mut rows = Vec::new();
        let stored = batch.key_hashes();
        let last = self.index.last_hash(block);
        while let Some(hash) = self.hashes.get(self.hash) {
            if *hash > last {
                break;
            }
            let bucket = batch.index().bucket(stored.len(), *hash);
            let range = HashIndex::rows_in(stored, bucket, *hash);
            let wanted = self.rows_max - self.found;
            let count = range.len().min(wanted);
            rows.extend(range.start..range.start + count as u32);
            self.found += count;
            let may_go_on = *hash == last && self.found < self.rows_max;
            if may_go_on {
                break;
            }
            self.advance();
        }
        rows
    }
}
