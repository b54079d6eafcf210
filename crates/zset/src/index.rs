//! Finding a hash in a sorted batch: an index over the top bits.
//!
//! Hashes of a batch are uniform between its first and last one (a worker owns a contiguous range),
//! so the bits below the range's width say where a hash stands: bucket `(hash - first) >> shift`. One
//! lookup of the bucket's start, then a scan of the 2 to 4 rows in it, whatever the batch's size.
//!
//! Most lookups find nothing: a key is in one of a spine's batches, a new one in none. So there is a
//! filter before the index: one word per bucket, a bit of which says that a row's hash continues with
//! these five bits. It has 8 to 16 bits per row, so it lets 6 to 12 percent of what is not there pass,
//! and a lookup that finds nothing touches one array, of a fifth of the hashes' size, in order. The word
//! lies beside the bucket's start: what passes the filter reads the index from the same cache line.

use std::ops::Range;

/// Batches of up to this many rows are searched without an index.
const SEARCH_ROWS_MAX: usize = 64;
/// Longer buckets (many rows of one hash) are searched by bisection.
const SCAN_ROWS_MAX: usize = 16;
/// Buckets of up to this many rows are compared at once: 2 to 4 are usual.
const WINDOW_ROWS: usize = 8;
/// Bits of a hash, after those that say the bucket, that choose the bit of a filter's word.
const FILTER_BITS: u32 = u32::BITS.ilog2();

/// Equal parts of a range of hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    base: u64,
    shift: u32,
    pub(crate) count: usize,
}

impl Buckets {
    /// At most one bucket per `rows_per_bucket` hashes, and more than half as many.
    pub(crate) fn for_hashes(hashes: &[u64], rows_per_bucket: usize) -> Self {
        let (first, last) = hashes.iter().fold((u64::MAX, 0), |(low, high), hash| {
            (low.min(*hash), high.max(*hash))
        });
        Self::new(first.min(last), last, hashes.len() / rows_per_bucket)
    }

    fn new(first: u64, last: u64, buckets_max: usize) -> Self {
        let span = last - first;
        let mut shift = 0;
        while shift < 63 && span >> shift >= buckets_max.max(1) as u64 {
            shift += 1;
        }
        // A span of all 64 bits and one bucket would need a shift of 64.
        let count = (span >> shift) as usize + 1;
        Self {
            base: first,
            shift,
            count,
        }
    }

    #[inline(always)]
    pub(crate) fn of(&self, hash: u64) -> usize {
        ((hash - self.base) >> self.shift) as usize
    }

    /// The bit of its bucket's filter word.
    #[inline(always)]
    fn filter_bit(&self, hash: u64) -> u32 {
        // Narrow buckets use fewer bits.
        let bits = (hash - self.base) >> self.shift.saturating_sub(FILTER_BITS);
        1 << (bits % u64::from(u32::BITS))
    }
}

/// Index of a batch's sorted hashes.
#[derive(Debug)]
pub(crate) struct HashIndex {
    /// The first hash and the last one; of an empty batch, such that no hash is between.
    first: u64,
    last: u64,
    buckets: Buckets,
    /// One per bucket, and one for the end; empty for small batches.
    slots: Vec<Slot>,
}

/// A bucket's first row and its filter word.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    start: u32,
    filter: u32,
}

impl HashIndex {
    /// `hashes` are ascending.
    pub(crate) fn new(hashes: &[u64]) -> Self {
        let (first, last) = match hashes {
            [] => (u64::MAX, 0),
            [first, .., last] => (*first, *last),
            [only] => (*only, *only),
        };
        if hashes.len() <= SEARCH_ROWS_MAX {
            let buckets = Buckets {
                base: first,
                shift: 0,
                count: 0,
            };
            return Self {
                first,
                last,
                buckets,
                slots: Vec::new(),
            };
        }
        let buckets = Buckets::new(first, last, hashes.len() / 2);
        // Where each bucket ends, by its last row; then empty buckets end where the one before does.
        // Two passes, but without a branch for each row.
        let mut slots = vec![Slot::default(); buckets.count + 1];
        for (row, hash) in hashes.iter().enumerate() {
            let bucket = buckets.of(*hash);
            slots[bucket + 1].start = row as u32 + 1;
            slots[bucket].filter |= buckets.filter_bit(*hash);
        }
        let mut end = 0;
        for slot in &mut slots {
            end = end.max(slot.start);
            slot.start = end;
        }
        Self {
            first,
            last,
            buckets,
            slots,
        }
    }

    /// False if no row has this hash; usually so, if none has.
    #[inline(always)]
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        if hash < self.first || hash > self.last {
            return false;
        }
        let slot = self.slots.get(self.buckets.of(hash));
        slot.is_none_or(|slot| slot.filter & self.buckets.filter_bit(hash) != 0)
    }

    /// The bucket of rows that contains all rows of this hash, of a batch of `rows` rows; empty if the
    /// hash is out of range.
    #[inline(always)]
    pub(crate) fn bucket(&self, rows: usize, hash: u64) -> Range<u32> {
        if hash < self.first || hash > self.last {
            return 0..0;
        }
        if self.slots.is_empty() {
            return 0..rows as u32;
        }
        let bucket = self.buckets.of(hash);
        self.slots[bucket].start..self.slots[bucket + 1].start
    }

    /// The rows of `bucket` with this hash.
    #[inline(always)]
    pub(crate) fn rows_in(hashes: &[u64], bucket: Range<u32>, hash: u64) -> Range<u32> {
        let rows = &hashes[bucket.start as usize..bucket.end as usize];
        let (start, end) = if rows.len() <= SCAN_ROWS_MAX {
            let start = rows
                .iter()
                .position(|other| *other >= hash)
                .unwrap_or(rows.len());
            let length = rows[start..]
                .iter()
                .position(|other| *other != hash)
                .unwrap_or(rows.len() - start);
            (start, start + length)
        } else {
            let start = rows.partition_point(|other| *other < hash);
            (
                start,
                start + rows[start..].partition_point(|other| *other == hash),
            )
        };
        bucket.start + start as u32..bucket.start + end as u32
    }

    /// As [`Self::rows_in`] for short buckets, without a branch on what is found: how long a scan
    /// goes cannot be guessed, and every wrong guess costs as much as the whole scan. `None` if
    /// the bucket is longer than a window, several rows have the hash, or the hashes end here.
    #[inline(always)]
    pub(crate) fn rows_in_window(
        hashes: &[u64],
        bucket: &Range<u32>,
        hash: u64,
    ) -> Option<Range<u32>> {
        let start = bucket.start as usize;
        let window: &[u64; WINDOW_ROWS] = hashes
            .get(start..start + WINDOW_ROWS)?
            .try_into()
            .expect("a slice of the window's length");
        if bucket.end - bucket.start > WINDOW_ROWS as u32 {
            return None;
        }
        // Bisection in three steps; rows behind the bucket have greater hashes.
        let mut row = 4 * usize::from(window[3] < hash);
        row += 2 * usize::from(window[row + 1] < hash);
        row += usize::from(window[row] < hash);
        let is_found = window[row] == hash;
        if is_found && (row + 1 == WINDOW_ROWS || window[row + 1] == hash) {
            return None;
        }
        let row = bucket.start + row as u32;
        Some(row..row + u32::from(is_found))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }
}
