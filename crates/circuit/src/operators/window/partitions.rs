//! Rows of several keys in order, and how they differ between two moments.

use std::ops::Range;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use highwater_zset::{Delta, Groups, Keys, equal_rows};

use crate::operators::{OperatorError, format_row};

/// Rows with weights, key by key, in order inside a key.
pub(in crate::operators) struct Partitions {
    pub rows: Delta,
    /// Rows of key `i` are `offsets[i]..offsets[i + 1]`; one more than there are keys.
    pub offsets: Vec<u32>,
}

impl Partitions {
    fn range(&self, key: usize) -> Range<u32> {
        self.offsets[key]..self.offsets[key + 1]
    }
}

/// The changes that lead from `before` to `after`, which are of the same keys. Not consolidated,
/// but without the rows at the start and at the end of each key that did not change: of a long
/// partition usually few rows are left, and comparing is much cheaper than consolidating.
pub(in crate::operators) fn difference(
    before: &Partitions,
    after: &Partitions,
) -> Result<Delta, OperatorError> {
    let keys = before.offsets.len() - 1;
    let mut ranges: Vec<(Range<u32>, Range<u32>)> = (0..keys)
        .map(|key| (before.range(key), after.range(key)))
        .collect();
    let common = common_rows(before, after, &ranges, |range, row| range.start + row)?;
    for ((before, after), rows) in ranges.iter_mut().zip(common) {
        before.start += rows;
        after.start += rows;
    }
    let common = common_rows(before, after, &ranges, |range, row| range.end - 1 - row)?;
    for ((before, after), rows) in ranges.iter_mut().zip(common) {
        before.end -= rows;
        after.end -= rows;
    }
    let old: Vec<u32> = ranges
        .iter()
        .flat_map(|(before, _)| before.clone())
        .collect();
    let new: Vec<u32> = ranges.iter().flat_map(|(_, after)| after.clone()).collect();
    let changes = [after.rows.take(&new)?, before.rows.take(&old)?.negated()];
    Ok(Delta::concat(&after.rows.schema(), &changes)?)
}

/// Per key: how many rows are the same, counted from where `row_at(range, 0)` is.
fn common_rows(
    before: &Partitions,
    after: &Partitions,
    ranges: &[(Range<u32>, Range<u32>)],
    row_at: impl Fn(&Range<u32>, u32) -> u32,
) -> Result<Vec<u32>, OperatorError> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (before, after) in ranges {
        let rows = before.len().min(after.len()) as u32;
        left.extend((0..rows).map(|row| row_at(before, row)));
        right.extend((0..rows).map(|row| row_at(after, row)));
    }
    let (old, new) = (&before.rows, &after.rows);
    let equal = equal_rows(old.rows().columns(), &left, new.rows().columns(), &right)?;
    let mut pairs = equal
        .iter()
        .zip(left.iter().zip(&right))
        .map(|(is_equal, (left, right))| {
            *is_equal && old.weights()[*left as usize] == new.weights()[*right as usize]
        });
    let count = |(before, after): &(Range<u32>, Range<u32>)| {
        let rows = before.len().min(after.len());
        let of_key: Vec<bool> = pairs.by_ref().take(rows).collect();
        of_key.iter().position(|is_same| !is_same).unwrap_or(rows) as u32
    };
    Ok(ranges.iter().map(count).collect())
}

/// The rows of key number `key`. Shares memory unless some row is there more than once.
///
/// # Errors
/// If a weight is negative: the arrangement is not a bag.
pub(in crate::operators) fn partition(
    groups: &Groups,
    key: usize,
    keys: &Keys,
    operator: &str,
) -> Result<RecordBatch, OperatorError> {
    let range = groups.range(key);
    let weights = &groups.weights[range.clone()];
    if weights.iter().all(|&weight| weight == 1) {
        return Ok(groups.rows.slice(range.start, range.len()));
    }
    let mut rows: Vec<u32> = Vec::with_capacity(range.len());
    for (row, &weight) in range.zip(weights) {
        let copies = usize::try_from(weight);
        let copies = copies.map_err(|_| negative_multiplicity(operator, keys, key))?;
        rows.extend(std::iter::repeat_n(row as u32, copies));
    }
    Ok(take_record_batch(&groups.rows, &UInt32Array::from(rows))?)
}

/// The error for a key that has rows less than zero times: what comes in is not a relation.
pub(in crate::operators) fn negative_multiplicity(
    operator: &str,
    keys: &Keys,
    key: usize,
) -> OperatorError {
    OperatorError {
        expression: operator.to_owned(),
        row: format_row(keys.columns(), key),
        message: "negative multiplicity: more rows were deleted than there are".to_owned(),
    }
}
