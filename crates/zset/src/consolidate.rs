//! Summing the weights of equal rows among sorted ones.
//!
//! Rows with equal integers are almost always equal rows. So neighbours are compared in one typed
//! loop per column first; only where that fails (a collision) or says little (ordered layouts, whose
//! integers are a prefix) rows are sorted by value.

use std::ops::Range;

use arrow::array::ArrayRef;

use crate::error::{Error, Result};
use crate::kernels::compare::RowComparator;
use crate::kernels::equal::{Pairs, equal_pairs};
use crate::layout::Layout;
use crate::sort::Entry;

/// Distinct rows in order with the sums of their weights, none of them zero.
pub(crate) struct Consolidated {
    pub(crate) entries: Vec<Entry>,
    /// Empty if all are 1.
    pub(crate) weights: Vec<i64>,
}

/// `entries` are the rows of `columns`, sorted by hash and second; sorts ties by value and sums equal
/// rows. `seconds` is by row, and may be empty.
pub(crate) fn consolidate(
    layout: &Layout,
    columns: &[ArrayRef],
    mut entries: Vec<Entry>,
    seconds: &[u64],
    weights: &[i64],
) -> Result<Consolidated> {
    let second = |entry: &Entry| seconds.get(entry.row as usize);
    let ties = tied_runs(&entries, |a, b| a.hash == b.hash && second(a) == second(b));
    if ties.is_empty() && weights.iter().all(|weight| *weight == 1) {
        return Ok(Consolidated {
            entries,
            weights: Vec::new(),
        });
    }
    let equal_to_previous = mark_equal(&mut entries, &ties, columns, layout.is_ordered(), || {
        RowComparator::new(layout, columns, columns)
    })?;
    let mut sums: Vec<i64> = Vec::with_capacity(entries.len());
    let mut kept = 0;
    for position in 0..entries.len() {
        let weight = weights[entries[position].row as usize];
        if equal_to_previous.get(position) == Some(&true) {
            let sum = &mut sums[kept - 1];
            *sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
            continue;
        }
        if sums.last() == Some(&0) {
            sums.pop();
            kept -= 1;
        }
        sums.push(weight);
        entries[kept] = entries[position];
        kept += 1;
    }
    if sums.last() == Some(&0) {
        sums.pop();
        kept -= 1;
    }
    entries.truncate(kept);
    Ok(Consolidated {
        entries,
        weights: sums,
    })
}

/// The first of each run of equal keys among entries sorted by hash, in a fixed order.
pub(crate) fn distinct_keys(columns: &[ArrayRef], mut entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let ties = tied_runs(&entries, |a, b| a.hash == b.hash);
    let equal_to_previous = mark_equal(&mut entries, &ties, columns, false, || {
        RowComparator::of_columns(columns, columns)
    })?;
    if !equal_to_previous.is_empty() {
        let mut position = 0;
        entries.retain(|_| {
            position += 1;
            !equal_to_previous[position - 1]
        });
    }
    Ok(entries)
}

/// Runs of two or more neighbours that tie.
fn tied_runs(entries: &[Entry], ties: impl Fn(&Entry, &Entry) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for position in 1..=entries.len() {
        if position == entries.len() || !ties(&entries[position - 1], &entries[position]) {
            if position - start > 1 {
                runs.push(start..position);
            }
            start = position;
        }
    }
    runs
}

/// Says for each entry whether its row equals the one before (empty: none does). Runs that hold
/// different rows are sorted by value.
fn mark_equal(
    entries: &mut [Entry],
    ties: &[Range<usize>],
    columns: &[ArrayRef],
    always_sort: bool,
    comparator: impl FnOnce() -> Result<RowComparator>,
) -> Result<Vec<bool>> {
    if ties.is_empty() {
        return Ok(Vec::new());
    }
    let mut equal_to_previous = vec![false; entries.len()];
    let mut unequal: Vec<&Range<usize>> = Vec::new();
    if always_sort {
        unequal.extend(ties);
    } else {
        let positions = || ties.iter().flat_map(|run| run.start + 1..run.end);
        let left: Vec<u32> = positions()
            .map(|position| entries[position - 1].row)
            .collect();
        let right: Vec<u32> = positions().map(|position| entries[position].row).collect();
        let equal = equal_pairs(
            columns.iter(),
            columns.iter(),
            Pairs {
                left: &left,
                right: &right,
            },
        )?;
        for (position, equal) in positions().zip(equal) {
            equal_to_previous[position] = equal;
        }
        unequal.extend(ties.iter().filter(|run| {
            !equal_to_previous[run.start + 1..run.end]
                .iter()
                .all(|equal| *equal)
        }));
    }
    if unequal.is_empty() {
        return Ok(equal_to_previous);
    }
    let comparator = comparator()?;
    for run in unequal {
        entries[run.clone()]
            .sort_by(|a, b| comparator.compare(a.row, b.row).then(a.row.cmp(&b.row)));
        for position in run.start + 1..run.end {
            equal_to_previous[position] = comparator
                .compare(entries[position - 1].row, entries[position].row)
                .is_eq();
        }
    }
    Ok(equal_to_previous)
}
