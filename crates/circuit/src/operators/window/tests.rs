//! Against evaluating every partition anew after every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int64Type};
use highwater_zset::{Layout, OrderColumn, RowHasher};
use proptest::prelude::*;

use super::super::test_support::{Arrangement, Bag, Subject, delta, input, node, schema};
use super::*;
use crate::expression::EvaluationError;
use crate::plan::OperatorSpec;

/// Row number, and the sum of the values so far; 13 has no sum.
#[derive(Debug)]
struct Running;

impl PartitionFunction for Running {
    fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, EvaluationError> {
        let values = rows.column(1).as_primitive::<Int64Type>().values();
        let mut sum = 0;
        let mut sums = Vec::new();
        for &value in values {
            if value == 13 {
                return Err(EvaluationError {
                    message: "unlucky".to_owned(),
                });
            }
            sum += value;
            sums.push(sum);
        }
        let numbers: Int64Array = (1..=values.len() as i64).collect();
        Ok(vec![Arc::new(numbers), Arc::new(Int64Array::from(sums))])
    }
    fn data_types(&self) -> Vec<DataType> {
        vec![DataType::Int64, DataType::Int64]
    }
    fn fingerprint(&self) -> &str {
        "running"
    }
}

/// Partition and value, by which rows are ordered.
type Row = (Option<i64>, i64);

fn to_delta(rows: &[(Row, i64)]) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(row, _)| row.0).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|(row, _)| Some(row.1))
                .collect::<Int64Array>(),
        ),
    ];
    delta(columns, rows.iter().map(|(_, weight)| *weight).collect())
}

fn subject(hasher: RowHasher) -> (Arrangement, Subject) {
    let table = schema(&[DataType::Int64, DataType::Int64]);
    let order = vec![OrderColumn {
        column: 1,
        options: SortOptions::default(),
    }];
    let layout = Layout::ordered(table.clone(), vec![0], order, hasher);
    let node = node(
        OperatorSpec::Window {
            function: Arc::new(Running),
        },
        schema(&vec![DataType::Int64; 4]),
    );
    (
        Arrangement::new(layout),
        Subject::new(&node, &[input(&table)], hasher),
    )
}

fn expected(rows: &[Row]) -> Bag {
    let mut partitions: BTreeMap<Option<i64>, Vec<i64>> = BTreeMap::new();
    rows.iter()
        .for_each(|row| partitions.entry(row.0).or_default().push(row.1));
    let mut bag = Bag::new();
    for (key, values) in &mut partitions {
        values.sort_unstable();
        let mut sum = 0;
        for (index, value) in values.iter().enumerate() {
            sum += value;
            let key = key.map_or("NULL".to_owned(), |key| key.to_string());
            let row = vec![
                key,
                value.to_string(),
                (index + 1).to_string(),
                sum.to_string(),
            ];
            *bag.entry(row).or_default() += 1;
        }
    }
    bag
}

type Plan = Vec<(Vec<(Row, i64)>, Vec<prop::sample::Index>)>;

fn plans() -> impl Strategy<Value = Plan> {
    let row = (prop::option::of(0_i64..3), 0_i64..6);
    let insertions = prop::collection::vec((row, 1_i64..4), 0..8);
    let deletions = prop::collection::vec(any::<prop::sample::Index>(), 0..10);
    prop::collection::vec((insertions, deletions), 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn partitions_are_right_after_every_step(
        plan in plans(),
        bits in prop::sample::select(vec![0_u32, 64]),
    ) {
        let (mut arrangement, mut subject) = subject(RowHasher::weakened(9, bits));
        let mut present: Vec<Row> = Vec::new();
        for (mut changes, deletions) in plan {
            for (row, weight) in &changes {
                present.extend(std::iter::repeat_n(*row, *weight as usize));
            }
            for deletion in deletions {
                if !present.is_empty() {
                    changes.push((present.swap_remove(deletion.index(present.len())), -1));
                }
            }
            subject.step(&[&arrangement.step(&to_delta(&changes))]).unwrap();
            prop_assert_eq!(&subject.output, &expected(&present));
        }
    }
}

#[test]
fn only_rows_that_change_go_out() {
    let (mut arrangement, mut subject) = subject(RowHasher::new(1));
    let first: Vec<(Row, i64)> = (0..10).map(|value| ((Some(1), value), 1)).collect();
    subject
        .step(&[&arrangement.step(&to_delta(&first))])
        .unwrap();
    let last = subject
        .step(&[&arrangement.step(&to_delta(&[((Some(1), 20), 1)]))])
        .unwrap();
    assert_eq!(last.iter().map(Delta::len).sum::<usize>(), 1);
}

#[test]
fn a_failing_function_names_the_partition() {
    let (mut arrangement, mut subject) = subject(RowHasher::new(1));
    let changes = [((Some(1), 1), 1), ((None, 13), 1)];
    let error = subject
        .step(&[&arrangement.step(&to_delta(&changes))])
        .unwrap_err();
    assert_eq!(
        (error.row.as_str(), error.expression.as_str()),
        ("(NULL)", "running")
    );
}
