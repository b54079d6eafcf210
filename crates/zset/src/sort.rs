//! Sorting by hash.
//!
//! Hashes are uniform, so one pass that deals rows into about as many buckets as there are rows, by
//! the top bits, leaves almost nothing to sort. Where they are not (few keys), buckets are sorted by
//! comparison.

use crate::index::Buckets;

/// A row to sort: its two hashes and its position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) hash: u64,
    pub(crate) second: u64,
    pub(crate) row: u32,
}

impl Entry {
    /// Same place in the order, as far as integers say.
    #[inline(always)]
    pub(crate) fn ties_with(&self, other: &Self) -> bool {
        self.hash == other.hash && self.second == other.second
    }
}

/// Rows sorted by `(hash, second, row)`. `second` may be empty: all equal.
pub(crate) fn sorted_entries(hashes: &[u64], seconds: &[u64]) -> Vec<Entry> {
    let entry = |row: usize| Entry {
        hash: hashes[row],
        second: seconds.get(row).copied().unwrap_or_default(),
        row: row as u32,
    };
    if hashes.len() < 64 {
        let mut entries: Vec<Entry> = (0..hashes.len()).map(entry).collect();
        entries.sort_unstable();
        return entries;
    }
    let buckets = Buckets::for_hashes(hashes, 1);
    let mut ends = vec![0_u32; buckets.count + 1];
    for hash in hashes {
        ends[buckets.of(*hash) + 1] += 1;
    }
    let mut total = 0;
    for end in &mut ends {
        total += *end;
        *end = total;
    }
    // `ends[b]` is where bucket b starts now; dealing moves it to where it ends.
    let mut entries = vec![Entry::default(); hashes.len()];
    for row in 0..hashes.len() {
        let next = &mut ends[buckets.of(hashes[row])];
        entries[*next as usize] = entry(row);
        *next += 1;
    }
    let mut start = 0;
    for end in &ends[..buckets.count] {
        let bucket = &mut entries[start..*end as usize];
        match bucket {
            [] | [_] => {}
            [first, second] if *second < *first => std::mem::swap(first, second),
            [_, _] => {}
            _ => bucket.sort_unstable(),
        }
        start = *end as usize;
    }
    entries
}
