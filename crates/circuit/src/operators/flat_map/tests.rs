use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Int64Type};
use highwater_zset::RowHasher;

use super::super::test_support::{Bag, Subject, delta, input, node, schema};
use super::*;
use crate::expression::EvaluationError;
use crate::plan::OperatorSpec;

/// `n` becomes `(n, 0) … (n, n - 1)`; fails for negative ones.
#[derive(Debug)]
struct Series;

impl FlatMapFunction for Series {
    fn evaluate(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), EvaluationError> {
        let (mut numbers, mut members, mut origins) = (Vec::new(), Vec::new(), Vec::new());
        for (row, &number) in rows
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .enumerate()
        {
            if number < 0 {
                return Err(EvaluationError {
                    message: "negative length".to_owned(),
                });
            }
            for member in 0..number {
                numbers.push(number);
                members.push(member);
                origins.push(row as u32);
            }
        }
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(numbers)),
            Arc::new(Int64Array::from(members)),
        ];
        let rows = RecordBatch::try_new(schema(&[DataType::Int64, DataType::Int64]), columns);
        Ok((rows.unwrap(), origins))
    }
    fn fingerprint(&self) -> &str {
        "series"
    }
}

fn subject() -> Subject {
    let operator = OperatorSpec::FlatMap {
        function: Arc::new(Series),
    };
    let output = schema(&[DataType::Int64, DataType::Int64]);
    Subject::new(
        &node(operator, output),
        &[input(&schema(&[DataType::Int64]))],
        RowHasher::new(1),
    )
}

fn numbers(numbers: &[(i64, i64)]) -> Flow {
    let column: ArrayRef = Arc::new(
        numbers
            .iter()
            .map(|(n, _)| Some(*n))
            .collect::<Int64Array>(),
    );
    Flow::Delta(vec![delta(
        vec![column],
        numbers.iter().map(|(_, weight)| *weight).collect(),
    )])
}

#[test]
fn rows_keep_the_weight_of_their_origin() {
    let mut subject = subject();
    subject
        .step(&[&numbers(&[(2, 3), (0, 1), (1, -1)])])
        .unwrap();
    let row = |n: i64, m: i64| vec![n.to_string(), m.to_string()];
    let expected: Bag = [(row(2, 0), 3), (row(2, 1), 3), (row(1, 0), -1)].into();
    assert_eq!(subject.output, expected);
    subject.step(&[&numbers(&[(2, -3), (1, 1)])]).unwrap();
    assert!(subject.output.is_empty());
    assert!(subject.step(&[&Flow::UNCHANGED]).unwrap().is_empty());
}

#[test]
fn the_failing_row_is_named() {
    let error = subject()
        .step(&[&numbers(&[(2, 1), (1, 1), (-4, 1), (5, 1), (-9, 1)])])
        .unwrap_err();
    assert_eq!(error.row, "(-4)");
    assert_eq!(error.message, "negative length");
    assert_eq!(error.expression, "series");
}
