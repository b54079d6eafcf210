use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::*;

fn text(columns: &[ArrayRef], row: usize) -> String {
    let columns = canonical_columns(columns);
    columns
        .iter()
        .map(|column| format!("{:?};", column.slice(row, 1)))
        .collect()
}

fn check(hasher: RowHasher, columns: &[ArrayRef], rows: usize) {
    let grouping = Grouping::new(hasher, columns, rows).unwrap();
    let mut expected: HashMap<String, u32> = HashMap::new();
    for row in 0..rows {
        let next = expected.len() as u32;
        let group = *expected.entry(text(columns, row)).or_insert(next);
        assert_eq!(grouping.groups[row], group);
    }
    assert_eq!(grouping.len(), expected.len());
    let firsts = grouping.key_columns().unwrap();
    for row in 0..rows {
        assert_eq!(
            text(&firsts, grouping.groups[row] as usize),
            text(columns, row)
        );
    }
    let (keys, positions) = grouping.into_keys().unwrap();
    assert!(keys.hashes().is_sorted());
    assert_eq!(keys.len(), expected.len());
    assert_eq!(positions.len(), rows);
    for (row, position) in positions.iter().enumerate() {
        assert_eq!(text(keys.columns(), *position as usize), text(columns, row));
    }
    let again = Keys::new(hasher, columns, rows).unwrap();
    assert_eq!(keys.hashes(), again.hashes());
    for key in 0..keys.len() {
        assert_eq!(text(keys.columns(), key), text(again.columns(), key));
    }
}

proptest! {
    #[test]
    fn rows_are_grouped_by_value_whatever_the_hash(
        rows in prop::collection::vec(
            (prop::option::of(0_i64..40), prop::option::of("[a-c]{0,2}"), prop::sample::select(vec![0.0, -0.0, 1.5, f64::NAN, -f64::NAN])),
            0..200,
        ),
        bits in prop::sample::select(vec![0_u32, 1, 3, 64]),
    ) {
        let integers: ArrayRef = Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>());
        let strings: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>());
        let floats: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Float64Array>());
        let hasher = RowHasher::weakened(7, bits);
        check(hasher, &[], rows.len());
        check(hasher, std::slice::from_ref(&integers), rows.len());
        check(hasher, &[integers, strings, floats], rows.len());
    }

    #[test]
    fn the_table_grows(rows in prop::collection::vec(any::<i64>(), 0..5000)) {
        let column: ArrayRef = Arc::new(Int64Array::from(rows.clone()));
        let grouping = Grouping::new(RowHasher::new(1), &[column], rows.len()).unwrap();
        let distinct: std::collections::HashSet<_> = rows.iter().collect();
        prop_assert_eq!(grouping.len(), distinct.len());
    }
}
