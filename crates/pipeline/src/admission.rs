//! What a table refuses before its rows are queued: deletions from an append-only table.

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use highwater_circuit::table_input::{PartialUpdates, TableInput};
use highwater_connectors::changes::ParsedChanges;
use highwater_connectors::error::{RowError, RowErrors};

/// Takes the deletions out of what was read for an append-only table and counts them as bad rows.
///
/// `records_before` is the number of records of the stream before this piece.
pub(crate) fn refuse_deletions(
    changes: ParsedChanges,
    errors: &mut RowErrors,
    records_before: u64,
) -> ParsedChanges {
    let is_refused = |row: usize| {
        let is_update = changes.partial.as_ref();
        let is_update = is_update.is_some_and(|partial| partial.is_update.value(row));
        !is_update && changes.weights[row] < 0
    };
    let keep = BooleanBuffer::collect_bool(changes.len(), |row| !is_refused(row));
    if keep.count_set_bits() == changes.len() {
        return changes;
    }
    let numbers = record_numbers(changes.len(), errors, records_before);
    for row in (0..changes.len()).filter(|&row| !keep.value(row)) {
        errors.push(RowError {
            record: numbers[row],
            line: None,
            column: None,
            value: Some(row_text(&changes, row)),
            reason: "a deletion in an append-only table".to_owned(),
        });
    }
    kept(&changes, &keep)
}

/// Numbers of the good records of a piece: those that no error of the piece has.
fn record_numbers(rows: usize, errors: &RowErrors, records_before: u64) -> Vec<u64> {
    let mut bad = errors.first.iter().map(|error| error.record).peekable();
    let mut number = records_before;
    let next_good = |_| {
        number += 1;
        while bad
            .next_if(|&bad| bad <= number)
            .is_some_and(|bad| bad == number)
        {
            number += 1;
        }
        number
    };
    (0..rows).map(next_good).collect()
}

fn row_text(changes: &ParsedChanges, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let columns = changes.rows.columns().iter();
    let values: Vec<String> = columns
        .map(|column| match ArrayFormatter::try_new(column, &options) {
            Ok(formatter) => formatter.value(row).to_string(),
            Err(_) => "?".to_owned(),
        })
        .collect();
    format!("({})", values.join(", "))
}

fn kept(changes: &ParsedChanges, keep: &BooleanBuffer) -> ParsedChanges {
    let filter = BooleanArray::new(keep.clone(), None);
    // The mask has one entry per row, which is all that the kernel asks for.
    let rows =
        filter_record_batch(&changes.rows, &filter).unwrap_or_else(|_| changes.rows.slice(0, 0));
    let pick = |bits: &BooleanBuffer| keep.set_indices().map(|row| bits.value(row)).collect();
    ParsedChanges {
        rows,
        weights: keep.set_indices().map(|row| changes.weights[row]).collect(),
        partial: changes.partial.as_ref().map(|partial| {
            highwater_connectors::changes::PartialUpdates {
                is_update: pick(&partial.is_update),
                is_set: partial.is_set.iter().map(pick).collect(),
            }
        }),
    }
}

/// The same changes in the circuit's type.
pub(crate) fn table_input(changes: ParsedChanges) -> TableInput {
    TableInput {
        rows: changes.rows,
        weights: changes.weights.into(),
        partial: changes.partial.map(|partial| PartialUpdates {
            is_update: partial.is_update,
            is_set: partial.is_set,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn changes(values: Vec<i64>, weights: Vec<i64>) -> ParsedChanges {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from(values));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        ParsedChanges {
            rows,
            weights,
            partial: None,
        }
    }

    #[test]
    fn insertions_pass_untouched() {
        let mut errors = RowErrors::default();
        let all = changes(vec![1, 2], vec![1, 3]);
        assert_eq!(refuse_deletions(all.clone(), &mut errors, 0), all);
        assert!(errors.is_empty());
    }

    #[test]
    fn deletions_become_row_errors_with_their_numbers() {
        // Records 11 … 15, of which 12 was bad already.
        let mut errors = RowErrors::default();
        errors.push(RowError {
            record: 12,
            line: None,
            column: None,
            value: None,
            reason: "bad".to_owned(),
        });
        let kept = refuse_deletions(
            changes(vec![11, 13, 14, 15], vec![1, -1, 1, -2]),
            &mut errors,
            10,
        );
        assert_eq!(kept, changes(vec![11, 14], vec![1, 1]));
        assert_eq!(errors.total, 3);
        assert_eq!(
            errors.first[1].to_string(),
            "record 13: a deletion in an append-only table: `(13)`"
        );
        assert_eq!(errors.first[2].record, 15);
    }
}
