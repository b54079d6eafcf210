//! The order of a delta's changes on the way out.

use arrow::array::ArrayRef;
use arrow::row::{RowConverter, SortField};
use highwater_zset::Delta;

use crate::error::EncodeError;

/// A row of the delta and its weight, which is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) row: usize,
    pub(super) weight: i64,
}

/// The delta's changes, equal rows as one: deletions, then insertions, each sorted by the key
/// columns and then by the others.
pub(super) fn ordered_changes(delta: &Delta, key: &[usize]) -> Result<Vec<Change>, EncodeError> {
    let weights = delta.weights();
    let columns = delta.rows().columns();
    let others = (0..columns.len()).filter(|column| !key.contains(column));
    let order: Vec<ArrayRef> = key
        .iter()
        .copied()
        .chain(others)
        .map(|column| columns[column].clone())
        .collect();
    let mut changes: Vec<Change> = (0..delta.len())
        .map(|row| Change {
            row,
            weight: weights[row],
        })
        .filter(|change| change.weight != 0)
        .collect();
    if !order.is_empty() && !changes.is_empty() {
        let sort_fields = order
            .iter()
            .map(|column| SortField::new(column.data_type().clone()));
        let rows = RowConverter::new(sort_fields.collect())?.convert_columns(&order)?;
        changes.sort_by(|a, b| rows.row(a.row).cmp(&rows.row(b.row)));
        changes = sum_equal(&changes, |a, b| rows.row(a) == rows.row(b))?;
    } else {
        changes = sum_equal(&changes, |_, _| true)?;
    }
    // Stable: each half stays sorted.
    changes.sort_by_key(|change| change.weight > 0);
    Ok(changes)
}

fn sum_equal(
    sorted: &[Change],
    is_equal: impl Fn(usize, usize) -> bool,
) -> Result<Vec<Change>, EncodeError> {
    let mut sums = Vec::with_capacity(sorted.len());
    for group in sorted.chunk_by(|a, b| is_equal(a.row, b.row)) {
        let weight = group
            .iter()
            .map(|change| i128::from(change.weight))
            .sum::<i128>();
        let weight = i64::try_from(weight)
            .map_err(|_| EncodeError::Arrow("the weight of a row overflows".to_owned()))?;
        if weight != 0 {
            sums.push(Change {
                row: group[0].row,
                weight,
            });
        }
    }
    Ok(sums)
}

/// How many records the changes are, with duplicates.
pub(super) fn records(changes: &[Change]) -> u64 {
    changes
        .iter()
        .map(|change| change.weight.unsigned_abs())
        .sum()
}
