//! Sorting by hash.
//!
//! Hashes are uniform, so one pass that deals rows into about as many buckets as there are rows, by
//! the top bits, leaves almost nothing to sort. Where they are not (few keys), buckets are sorted by
//! comparison.

use crate::index::Buckets;

/// A row to sort: its hash and its position.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) hash: u64,
    pub(crate) row: u32,
}

/// Rows sorted by `(hash, second, row)`. `seconds` may be empty: all equal.
pub(crate) fn sorted_entries(hashes: &[u64], seconds: &[u64]) -> Vec<Entry> {
    let entry = |(row, hash): (usize, &u64)| Entry {
        hash: *hash,
        row: row as u32,
    };
    let second = |entry: &Entry| seconds.get(entry.row as usize);
    let compare = |a: &Entry, b: &Entry| {
        a.hash
            .cmp(&b.hash)
            .then_with(|| second(a).cmp(&second(b)))
            .then_with(|| a.row.cmp(&b.row))
    };
    if hashes.len() < 64 {
        let mut entries: Vec<Entry> = hashes.iter().enumerate().map(entry).collect();
        entries.sort_unstable_by(compare);
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
    for (row, hash) in hashes.iter().enumerate() {
        let next = &mut ends[buckets.of(*hash)];
        entries[*next as usize] = entry((row, hash));
        *next += 1;
    }
    let mut start = 0;
    for end in &ends[..buckets.count] {
        let bucket = &mut entries[start..*end as usize];
        match bucket {
            [] | [_] => {}
            [first, second] if compare(second, first).is_lt() => std::mem::swap(first, second),
            [_, _] => {}
            _ => bucket.sort_unstable_by(compare),
        }
        start = *end as usize;
    }
    entries
}
