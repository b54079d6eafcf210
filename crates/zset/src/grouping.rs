//! Numbering rows by key: what an aggregation over a delta starts with.
//!
//! A hash table from hashes to groups, filled in one loop over the rows' hashes, as if equal hashes
//! were equal keys. Then one typed loop per key column checks that they are; only if some are not (a
//! collision) rows are grouped again by value. Sorting instead would cost more for the usual case of
//! many rows and few groups.

use std::collections::HashMap;

use arrow::array::ArrayRef;

use crate::consolidate::distinct_keys;
use crate::delta::take_columns;
use crate::error::Result;
use crate::hash::RowHasher;
use crate::kernels::canonical::canonical_columns;
use crate::kernels::compare::RowComparator;
use crate::kernels::equal::{Pairs, equal_pairs};
use crate::probe::Keys;
use crate::sort::sorted_entries;

/// Half of the slots of a table stay free; this many are made at first, if the rows are that many.
const FIRST_SLOTS_MAX: usize = 1024;
/// Spreads the low bits of a hash over the high ones, which choose the slot.
const SLOT_MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Which group each row belongs to; groups are numbered by their first rows.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// Per row.
    pub groups: Vec<u32>,
    /// Per group: its first row.
    pub first_rows: Vec<u32>,
    /// Per group.
    hashes: Vec<u64>,
    /// The key columns of all rows, with canonical floats.
    columns: Vec<ArrayRef>,
}

impl Grouping {
    /// Groups `rows` rows by these key columns. NULL equals NULL. Without columns all rows are one
    /// group.
    ///
    /// # Errors
    /// If a column's type cannot be compared.
    pub fn new(hasher: RowHasher, columns: &[ArrayRef], rows: usize) -> Result<Self> {
        let columns = canonical_columns(columns).into_owned();
        if rows <= 1 || columns.is_empty() {
            let hashes = hasher.hash(&columns, rows.min(1));
            let first_rows = (0..hashes.len() as u32).collect();
            return Ok(Self {
                groups: vec![0; rows],
                first_rows,
                hashes,
                columns,
            });
        }
        let row_hashes = hasher.hash(&columns, rows);
        let (groups, first_rows) = group_by_hash(&row_hashes);
        if first_rows.len() < rows && !are_equal(&columns, &groups, &first_rows)? {
            return Self::by_value(columns, &row_hashes);
        }
        let hashes = first_rows
            .iter()
            .map(|row| row_hashes[*row as usize])
            .collect();
        Ok(Self {
            groups,
            first_rows,
            hashes,
            columns,
        })
    }

    /// For hashes that collide.
    fn by_value(columns: Vec<ArrayRef>, row_hashes: &[u64]) -> Result<Self> {
        let comparator = RowComparator::of_columns(&columns, &columns)?;
        let mut groups_of_hash: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut groups = Vec::with_capacity(row_hashes.len());
        let mut first_rows: Vec<u32> = Vec::new();
        for (row, hash) in row_hashes.iter().enumerate() {
            let row = row as u32;
            let candidates = groups_of_hash.entry(*hash).or_default();
            let is_same = |group: &&u32| {
                comparator
                    .compare(row, first_rows[**group as usize])
                    .is_eq()
            };
            let group = match candidates.iter().find(is_same) {
                Some(group) => *group,
                None => {
                    let group = first_rows.len() as u32;
                    first_rows.push(row);
                    candidates.push(group);
                    group
                }
            };
            groups.push(group);
        }
        let hashes = first_rows
            .iter()
            .map(|row| row_hashes[*row as usize])
            .collect();
        Ok(Self {
            groups,
            first_rows,
            hashes,
            columns,
        })
    }

    /// Number of groups.
    pub fn len(&self) -> usize {
        self.first_rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.first_rows.is_empty()
    }

    /// The key columns, one row per group.
    ///
    /// # Errors
    /// If Arrow cannot take rows of a column's type.
    pub fn key_columns(&self) -> Result<Vec<ArrayRef>> {
        // Groups are in the order of their first rows, so equal counts mean equal positions.
        if self.first_rows.len() == self.groups.len() || self.columns.is_empty() {
            return Ok(self.columns.clone());
        }
        take_columns(&self.columns, self.first_rows.clone())
    }

    /// The distinct keys in hash order, and per row the position of its key there.
    ///
    /// # Errors
    /// If a column's type cannot be compared.
    pub fn into_keys(self) -> Result<(Keys, Vec<u32>)> {
        let columns = self.key_columns()?;
        if self.len() <= 1 {
            return Ok((Keys::of_sorted(&self.hashes, columns)?, self.groups));
        }
        let entries = distinct_keys(&columns, sorted_entries(&self.hashes, &[]))?;
        let mut positions = vec![0_u32; entries.len()];
        for (position, entry) in entries.iter().enumerate() {
            positions[entry.row as usize] = position as u32;
        }
        let hashes: Vec<u64> = entries.iter().map(|entry| entry.hash).collect();
        let columns = take_columns(&columns, entries.iter().map(|entry| entry.row).collect())?;
        let keys = Keys::of_sorted(&hashes, columns)?;
        let mut groups = self.groups;
        for group in &mut groups {
            *group = positions[*group as usize];
        }
        Ok((keys, groups))
    }
}

/// For each pair of a row of `left` and a row of `right` (equally many): are they equal in SQL's
/// sense of groups, where NULL is NULL, `0.0` is `-0.0` and NaN is NaN?
///
/// # Errors
/// If columns differ in type.
pub fn equal_rows(
    left: &[ArrayRef],
    left_rows: &[u32],
    right: &[ArrayRef],
    right_rows: &[u32],
) -> Result<Vec<bool>> {
    let (left, right) = (canonical_columns(left), canonical_columns(right));
    equal_pairs(
        left.iter(),
        right.iter(),
        Pairs {
            left: left_rows,
            right: right_rows,
        },
    )
}

/// Are all rows equal to their groups' first rows?
fn are_equal(columns: &[ArrayRef], groups: &[u32], first_rows: &[u32]) -> Result<bool> {
    let rows: Vec<u32> = (0..groups.len() as u32).collect();
    let firsts: Vec<u32> = groups
        .iter()
        .map(|group| first_rows[*group as usize])
        .collect();
    let equal = equal_pairs(
        columns.iter(),
        columns.iter(),
        Pairs {
            left: &rows,
            right: &firsts,
        },
    )?;
    Ok(equal.iter().all(|equal| *equal))
}

#[derive(Clone, Copy, Default)]
struct Slot {
    hash: u64,
    /// Number of the group plus one; zero if free.
    group: u32,
}

/// The group of each row and the first row of each group, by hash alone.
fn group_by_hash(hashes: &[u64]) -> (Vec<u32>, Vec<u32>) {
    let mut slots =
        vec![Slot::default(); (hashes.len() * 2).next_power_of_two().min(FIRST_SLOTS_MAX)];
    let mut groups = Vec::with_capacity(hashes.len());
    let mut first_rows: Vec<u32> = Vec::new();
    for (row, hash) in hashes.iter().enumerate() {
        let slot = find(&slots, *hash);
        let group = match slots[slot].group.checked_sub(1) {
            Some(group) => group,
            None => {
                let group = first_rows.len() as u32;
                first_rows.push(row as u32);
                slots[slot] = Slot {
                    hash: *hash,
                    group: group + 1,
                };
                if first_rows.len() * 2 > slots.len() {
                    slots = grown(&slots);
                }
                group
            }
        };
        groups.push(group);
    }
    (groups, first_rows)
}

/// The slot of this hash, or the free one where it belongs.
#[inline(always)]
fn find(slots: &[Slot], hash: u64) -> usize {
    let mask = slots.len() - 1;
    let shift = 64 - slots.len().trailing_zeros();
    let mut slot = (hash.wrapping_mul(SLOT_MULTIPLIER) >> shift) as usize & mask;
    while slots[slot].group != 0 && slots[slot].hash != hash {
        slot = (slot + 1) & mask;
    }
    slot
}

#[cold]
fn grown(slots: &[Slot]) -> Vec<Slot> {
    let mut grown = vec![Slot::default(); slots.len() * 4];
    for slot in slots.iter().filter(|slot| slot.group != 0) {
        let place = find(&grown, slot.hash);
        grown[place] = *slot;
    }
    grown
}

#[cfg(test)]
mod tests;
