use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::DataType;
use highwater_zset::{Delta, Layout, RowHasher};

use super::super::test_support::{Arrangement, Subject, delta, input, node, schema};
use crate::plan::OperatorSpec;

fn rows(rows: &[(Option<i64>, i64, i64)]) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| Some(row.1)).collect::<Int64Array>()),
    ];
    delta(columns, rows.iter().map(|row| row.2).collect())
}

fn subject(key: Vec<usize>) -> (Arrangement, Subject) {
    let table = schema(&[DataType::Int64, DataType::Int64]);
    let hasher = RowHasher::new(1);
    let arrangement = Arrangement::new(Layout::hashed(table.clone(), key, hasher));
    let node = node(OperatorSpec::SingleRow, table.clone());
    (arrangement, Subject::new(&node, &[input(&table)], hasher))
}

#[test]
fn one_row_per_key_passes() {
    let (mut arrangement, mut subject) = subject(vec![0]);
    let first = [(Some(1), 5, 1), (Some(2), 5, 1), (None, 5, 1)];
    subject.step(&[&arrangement.step(&rows(&first))]).unwrap();
    // Replaced in one step: never two.
    subject
        .step(&[&arrangement.step(&rows(&[(Some(1), 5, -1), (Some(1), 6, 1)]))])
        .unwrap();
    subject
        .step(&[&arrangement.step(&rows(&[(Some(2), 5, -1), (None, 5, -1)]))])
        .unwrap();
    subject.step(&[&arrangement.step(&rows(&[]))]).unwrap();
    assert_eq!(
        subject.output,
        [(vec!["1".to_owned(), "6".to_owned()], 1)].into()
    );
}

#[test]
fn two_rows_are_an_error_that_names_the_key() {
    for second in [(None, 6, 1), (None, 5, 1)] {
        let (mut arrangement, mut subject) = subject(vec![0]);
        subject
            .step(&[&arrangement.step(&rows(&[(Some(1), 5, 1), (None, 5, 1)]))])
            .unwrap();
        let error = subject
            .step(&[&arrangement.step(&rows(&[second]))])
            .unwrap_err();
        assert_eq!(error.row, "(NULL)");
        assert_eq!(
            error.message,
            "a scalar subquery returned more than one row"
        );
    }
}

#[test]
fn without_a_key_the_whole_relation_is_one_row() {
    let (mut arrangement, mut subject) = subject(Vec::new());
    subject
        .step(&[&arrangement.step(&rows(&[(Some(1), 5, 1)]))])
        .unwrap();
    let error = subject
        .step(&[&arrangement.step(&rows(&[(Some(2), 5, 1)]))])
        .unwrap_err();
    assert_eq!(error.row, "()");
}
