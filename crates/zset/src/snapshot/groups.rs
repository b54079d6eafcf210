//! Reading the rows of keys, consolidated and in order.
//!
//! Each batch holds a key's rows in order, so a key is a merge of a few short lists. Rows are fetched
//! for all keys at a time. With a limit, only the first rows of each list are fetched; keys for which
//! that was not enough (rows cancelled) are read again with more, so that the work stays
//! proportional to what is read and not to the size of the groups.

use std::ops::Range;
use std::sync::Arc;

use super::{Candidates, Snapshot};
use crate::batch::Batch;
use crate::delta::record_batch;
use crate::error::{Error, Result};
use crate::kernels::compare::TieBreaks;
use crate::kernels::gather::RowNames;
use crate::probe::{Groups, Keys, ReadLimit};

/// Rows fetched beyond the limit at first: room for a few retracted ones.
const EXTRA_ROWS: usize = 4;
/// How much more is fetched for keys that need it.
const GROWTH: usize = 8;

pub(super) fn read_groups(snapshot: &Snapshot, keys: &Keys, limit: ReadLimit) -> Result<Groups> {
    let (weight_max, mut rows_max) = match limit {
        ReadLimit::All => (u64::MAX, usize::MAX),
        ReadLimit::Weight(weight) => (
            weight,
            usize::try_from(weight)
                .unwrap_or(usize::MAX)
                .saturating_add(EXTRA_ROWS),
        ),
    };
    let mut found = Found::default();
    let mut ranges = vec![0..0_u32; keys.len()];
    let mut pending: Vec<u32> = if weight_max == 0 {
        Vec::new()
    } else {
        (0..keys.len() as u32).collect()
    };
    // What is searched, named by its position: the batches in memory, then the excerpts of each round.
    let in_memory = snapshot.batches.len();
    let mut sources = snapshot.batches.to_vec();
    while !pending.is_empty() {
        let picked;
        let round_keys = if pending.len() == keys.len() {
            keys
        } else {
            picked = keys.pick(&pending)?;
            &picked
        };
        // One row more than is wanted shows that there are more.
        let excerpts = snapshot.excerpts(round_keys.hashes(), rows_max.saturating_add(1))?;
        let first_excerpt = sources.len();
        sources.extend(excerpts);
        let searched = (0..in_memory).chain(first_excerpt..sources.len());
        let lists = fetch(&sources, searched, round_keys, rows_max)?;
        let mut ties = TieBreaks::new(sources.len());
        let mut unfinished = Vec::new();
        let mut cursors = Vec::new();
        for (position, key) in pending.iter().enumerate() {
            let start = found.rows.len();
            cursors.clear();
            let is_complete = open_cursors(&sources, &lists, position, &mut cursors)
                && merge_cursors(&sources, &mut cursors, weight_max, &mut ties, &mut found)?;
            if is_complete {
                ranges[*key as usize] = start as u32..found.rows.len() as u32;
            } else {
                found.truncate(start);
                unfinished.push(*key);
            }
        }
        pending = unfinished;
        rows_max = rows_max.saturating_mul(GROWTH);
    }
    assemble(snapshot, &sources, found, &ranges)
}

/// Names and weights of the rows that were read.
#[derive(Default)]
struct Found {
    batches: Vec<u32>,
    rows: Vec<u32>,
    weights: Vec<i64>,
}

impl Found {
    fn push(&mut self, batch: u32, row: u32, weight: i64) {
        self.batches.push(batch);
        self.rows.push(row);
        self.weights.push(weight);
    }

    fn truncate(&mut self, rows: usize) {
        self.batches.truncate(rows);
        self.rows.truncate(rows);
        self.weights.truncate(rows);
    }

    fn in_order(self, ranges: &[Range<u32>]) -> Self {
        let mut ordered = Self::default();
        for range in ranges {
            let range = range.start as usize..range.end as usize;
            ordered
                .batches
                .extend_from_slice(&self.batches[range.clone()]);
            ordered.rows.extend_from_slice(&self.rows[range.clone()]);
            ordered.weights.extend_from_slice(&self.weights[range]);
        }
        ordered
    }
}

/// What one batch holds of the keys: `rows[offsets[k]..offsets[k + 1]]` for key `k`.
struct KeyLists {
    batch: u32,
    rows: Vec<u32>,
    offsets: Vec<u32>,
    /// Keys of which this batch has more rows than were fetched; empty if there is none.
    is_truncated: Vec<bool>,
}

impl KeyLists {
    fn of(&self, key: usize) -> &[u32] {
        &self.rows[self.offsets[key] as usize..self.offsets[key + 1] as usize]
    }

    fn is_truncated(&self, key: usize) -> bool {
        self.is_truncated.get(key).copied().unwrap_or_default()
    }
}

fn fetch(
    sources: &[Arc<Batch>],
    searched: impl Iterator<Item = usize>,
    keys: &Keys,
    rows_max: usize,
) -> Result<Vec<KeyLists>> {
    let mut lists = Vec::new();
    let mut candidates = Candidates::default();
    for position in searched {
        let batch = &sources[position];
        candidates.find(batch, keys.hashes(), rows_max);
        candidates.verify(batch, keys.columns())?;
        if candidates.rows.is_empty() && candidates.is_truncated.is_empty() {
            continue;
        }
        let mut offsets = vec![0_u32; keys.len() + 1];
        for probe in &candidates.probes {
            offsets[*probe as usize + 1] += 1;
        }
        let mut total = 0;
        for offset in &mut offsets {
            total += *offset;
            *offset = total;
        }
        let rows = std::mem::take(&mut candidates.rows);
        let is_truncated = std::mem::take(&mut candidates.is_truncated);
        lists.push(KeyLists {
            batch: position as u32,
            rows,
            offsets,
            is_truncated,
        });
    }
    Ok(lists)
}

/// A batch's list of one key, partly read.
struct Cursor<'a> {
    batch: u32,
    rows: &'a [u32],
    /// Second hash or order prefix of the first row.
    rank: u128,
    is_truncated: bool,
}

/// A cursor at each batch's rows of this key. False if a batch's rows that were fetched all belong to
/// colliding keys, so that its first row is not known.
fn open_cursors<'a>(
    batches: &[Arc<Batch>],
    lists: &'a [KeyLists],
    key: usize,
    cursors: &mut Vec<Cursor<'a>>,
) -> bool {
    for list in lists {
        let (rows, is_truncated) = (list.of(key), list.is_truncated(key));
        match rows.first() {
            None if is_truncated => return false,
            None => {}
            Some(row) => {
                let rank = batches[list.batch as usize].rank(*row as usize);
                cursors.push(Cursor {
                    batch: list.batch,
                    rows,
                    rank,
                    is_truncated,
                });
            }
        }
    }
    true
}

/// Merges the rows of one key. False if more rows must be fetched to go on.
fn merge_cursors(
    batches: &[Arc<Batch>],
    cursors: &mut Vec<Cursor<'_>>,
    weight_max: u64,
    ties: &mut TieBreaks,
    found: &mut Found,
) -> Result<bool> {
    let mut weight_left = weight_max;
    while cursors.len() > 1 {
        let first = first_cursor(batches, cursors, ties)?;
        let (batch, row) = (cursors[first].batch, cursors[first].rows[0]);
        let weight = take_equal(batches, cursors, (batch, row), ties)?;
        if weight != 0 {
            found.push(batch, row, weight);
            weight_left = weight_left.saturating_sub(u64::try_from(weight).unwrap_or(0));
            if weight_left == 0 {
                return Ok(true);
            }
        }
        if cursors
            .iter()
            .any(|cursor| cursor.rows.is_empty() && cursor.is_truncated)
        {
            return Ok(false);
        }
        cursors.retain(|cursor| !cursor.rows.is_empty());
    }
    let Some(last) = cursors.pop() else {
        return Ok(true);
    };
    // Rows of one batch are distinct and in order.
    for row in last.rows {
        let weight = batches[last.batch as usize].weight(*row as usize);
        found.push(last.batch, *row, weight);
        weight_left = weight_left.saturating_sub(u64::try_from(weight).unwrap_or(0));
        if weight_left == 0 {
            return Ok(true);
        }
    }
    Ok(!last.is_truncated)
}

/// The cursor with the first row; there must be one.
fn first_cursor(
    batches: &[Arc<Batch>],
    cursors: &[Cursor<'_>],
    ties: &mut TieBreaks,
) -> Result<usize> {
    let mut first = 0;
    for other in 1..cursors.len() {
        let (a, b) = (&cursors[other], &cursors[first]);
        let is_before = a.rank < b.rank
            || (a.rank == b.rank
                && ties
                    .compare(batches, (a.batch, a.rows[0]), (b.batch, b.rows[0]))?
                    .is_lt());
        if is_before {
            first = other;
        }
    }
    Ok(first)
}

/// Steps every cursor that stands at a row equal to this one; returns the sum of their weights.
fn take_equal(
    batches: &[Arc<Batch>],
    cursors: &mut [Cursor<'_>],
    row: (u32, u32),
    ties: &mut TieBreaks,
) -> Result<i64> {
    let rank = batches[row.0 as usize].rank(row.1 as usize);
    let mut sum = 0_i64;
    for cursor in cursors {
        let here = (cursor.batch, cursor.rows[0]);
        if cursor.rank != rank || (here != row && !ties.compare(batches, here, row)?.is_eq()) {
            continue;
        }
        let batch = &batches[cursor.batch as usize];
        sum = sum
            .checked_add(batch.weight(here.1 as usize))
            .ok_or(Error::WeightOverflow)?;
        cursor.rows = &cursor.rows[1..];
        if let Some(next) = cursor.rows.first() {
            cursor.rank = batch.rank(*next as usize);
        }
    }
    Ok(sum)
}

fn assemble(
    snapshot: &Snapshot,
    sources: &[Arc<Batch>],
    found: Found,
    ranges: &[Range<u32>],
) -> Result<Groups> {
    let is_in_order = ranges.windows(2).all(|pair| pair[0].end == pair[1].start);
    let found = if is_in_order {
        found
    } else {
        found.in_order(ranges)
    };
    let mut offsets = Vec::with_capacity(ranges.len() + 1);
    offsets.push(0);
    let mut total = 0;
    for range in ranges {
        total += range.end - range.start;
        offsets.push(total);
    }
    let schema = &snapshot.layout().schema;
    let names = RowNames {
        sources: &found.batches,
        rows: &found.rows,
    };
    let columns = (0..schema.fields().len())
        .map(|column| snapshot.gather_one(sources, column, names))
        .collect::<Result<_>>()?;
    Ok(Groups {
        rows: record_batch(schema, columns, found.rows.len())?,
        weights: found.weights,
        offsets,
    })
}
