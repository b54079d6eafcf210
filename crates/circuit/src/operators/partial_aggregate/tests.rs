use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::DataType;
use highwater_zset::RowHasher;

use super::super::test_support::{Subject, delta, input, node, schema, texts};
use super::*;
use crate::plan::{LinearFunction, OperatorSpec};

fn subject() -> Subject {
    let table = schema(&[DataType::Utf8, DataType::Int64]);
    let calls = vec![
        LinearCall {
            function: LinearFunction::Count,
            argument: Some(1),
        },
        LinearCall {
            function: LinearFunction::Sum {
                argument: DataType::Int64,
                result: DataType::Int64,
            },
            argument: Some(1),
        },
    ];
    let output = schema(&[
        DataType::Utf8,
        DataType::Int64,
        DataType::Int64,
        DataType::Decimal128(38, 0),
        DataType::Int64,
    ]);
    let operator = OperatorSpec::PartialAggregate {
        group: vec![0],
        calls,
    };
    Subject::new(&node(operator, output), &[input(&table)], RowHasher::new(1))
}

fn rows(rows: &[(&str, Option<i64>, i64)]) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|row| row.1).collect::<Int64Array>()),
    ];
    delta(columns, rows.iter().map(|row| row.2).collect())
}

fn lines(deltas: &[Delta]) -> Vec<String> {
    let mut lines = Vec::new();
    for delta in deltas {
        for (row, weight) in delta.weights().iter().enumerate() {
            assert_eq!(*weight, 1);
            lines.push(texts(delta.rows().columns(), row).join(" "));
        }
    }
    lines.sort();
    lines
}

#[test]
fn pieces_are_grouped_together() {
    let first = rows(&[("a", Some(1), 1), ("b", None, 2), ("a", Some(5), 3)]);
    let second = rows(&[("b", Some(7), -1), ("a", None, -1)]);
    let deltas = subject()
        .step(&[&Flow::Delta(vec![first, second])])
        .unwrap();
    assert_eq!(deltas.len(), 1);
    assert_eq!(lines(&deltas), ["a 3 4 16 4", "b 1 -1 -7 -1"]);
}

#[test]
fn groups_that_cancel_do_not_travel() {
    let changes = rows(&[("a", Some(1), 1), ("b", Some(2), 1), ("a", Some(1), -1)]);
    let deltas = subject().step(&[&Flow::Delta(vec![changes])]).unwrap();
    assert_eq!(lines(&deltas), ["b 1 1 2 1"]);
    // As many rows, but another sum.
    let changes = rows(&[("a", Some(1), 1), ("a", Some(2), -1)]);
    let deltas = subject().step(&[&Flow::Delta(vec![changes])]).unwrap();
    assert_eq!(lines(&deltas), ["a 0 0 -1 0"]);
}

#[test]
fn no_rows_no_groups() {
    let mut subject = subject();
    assert!(subject.step(&[&Flow::UNCHANGED]).unwrap().is_empty());
    assert!(
        subject
            .step(&[&Flow::Delta(vec![rows(&[])])])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_count_that_overflows_names_the_group() {
    let changes = rows(&[("x", None, 1), ("a", None, i64::MAX), ("a", None, 1)]);
    let error = subject().step(&[&Flow::Delta(vec![changes])]).unwrap_err();
    assert_eq!(
        (error.row.as_str(), error.expression.as_str()),
        ("(a)", "COUNT")
    );
}

/// Speed: `cargo test --release -p highwater-circuit speed -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn speed() {
    use std::time::Instant;
    let mut subject = subject();
    for count in [1, 1000, 100_000] {
        let names: Vec<String> = (0..count)
            .map(|row| format!("region {}", row * 7919 % 100))
            .collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(names)),
            Arc::new((0..count as i64).collect::<Int64Array>()),
        ];
        let flow = Flow::Delta(vec![delta(columns, vec![1; count])]);
        let rounds = 2_000_000 / (count + 100);
        let started = Instant::now();
        for _ in 0..rounds {
            // Without the output bag of the test.
            subject.step_only(&[&flow]);
        }
        let nanoseconds = started.elapsed().as_nanos() as f64 / rounds as f64;
        eprintln!(
            "{count} rows: {nanoseconds:.0} ns, {:.1} M rows/s",
            count as f64 / nanoseconds * 1e3
        );
    }
}
