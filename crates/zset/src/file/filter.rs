//! Whether a block has a hash, without reading the block.
//!
//! Most lookups find nothing: a new key is in none of a spine's batches. Without filters a step that
//! inserts a thousand rows reads a thousand blocks of every file.
//!
//! A blocked Bloom filter (Putze, Sanders, Singler: "Cache-, Hash- and Space-Efficient Bloom Filters",
//! 2007): three bits of one word of 64, at 12 bits per row. It lets about 3 % of what is not there pass.
//! Filters are not stored: they are made when a block is written or read, and kept in the cache of
//! blocks, of which they take 1.5 bytes per row.

/// Bits per row.
const ROW_BITS: usize = 12;
/// Bits of a hash that choose the word: those below the ones that all hashes of a block of a large batch
/// have in common, above the three times six that choose the bits.
const WORD_BITS: u32 = 28;
const WORD_SHIFT: u32 = 18;

/// Which hashes a block may have.
#[derive(Debug)]
pub(super) struct BlockFilter {
    words: Box<[u64]>,
}

impl BlockFilter {
    pub(super) fn new(hashes: &[u64]) -> Self {
        let count = (hashes.len() * ROW_BITS).div_ceil(u64::BITS as usize);
        let mut words = vec![0; count.max(1)].into_boxed_slice();
        for hash in hashes {
            words[word(*hash, count)] |= bits(*hash);
        }
        Self { words }
    }

    /// False if no row has this hash; mostly so, if none has.
    pub(super) fn may_contain(&self, hash: u64) -> bool {
        let bits = bits(hash);
        self.words[word(hash, self.words.len())] & bits == bits
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

fn word(hash: u64, words: usize) -> usize {
    let choice = (hash >> WORD_SHIFT) & ((1 << WORD_BITS) - 1);
    ((choice * words as u64) >> WORD_BITS) as usize
}

fn bits(hash: u64) -> u64 {
    let bit = |shift: u32| 1 << ((hash >> shift) & 63);
    bit(0) | bit(6) | bit(12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::RowHasher;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn hashes(values: std::ops::Range<i64>) -> Vec<u64> {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
        let rows = column.len();
        RowHasher::new(7).hash(&[column], rows)
    }

    #[test]
    fn what_is_there_passes_and_little_else() {
        let mut stored = hashes(0..1_000_000);
        stored.sort_unstable();
        // As the blocks of a large batch: their hashes have the first bits in common.
        for block in stored.chunks(2_000).take(5) {
            let filter = BlockFilter::new(block);
            assert!(block.iter().all(|hash| filter.may_contain(*hash)));
            let others = &stored[500_000..600_000];
            let passed = others.iter().filter(|hash| filter.may_contain(**hash));
            let passed = passed.count();
            assert!(passed < 5_000, "{passed} of 100,000 passed");
            assert!(filter.bytes() <= 3_008);
        }
        assert!(!BlockFilter::new(&[]).may_contain(stored[0]));
    }
}
