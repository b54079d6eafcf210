//! Rows of one key in order, each as often as its weight says: what SQL calls a partition.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use highwater_zset::{Groups, Keys};

use crate::operators::{OperatorError, format_row};

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
