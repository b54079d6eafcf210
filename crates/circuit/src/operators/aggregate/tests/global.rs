//! The one group of an aggregate without GROUP BY, on several workers and without input.

use super::*;
use crate::operators::{BuildContext, StepContext, build};
use highwater_zset::MergeService;

#[test]
fn one_worker_emits_the_empty_group_in_the_first_step_only() {
    let hasher = RowHasher::new(3);
    let spec = AggregateSpec {
        group_columns: 0,
        calls: vec![AggregateCall::Linear {
            input: 0,
            call: 0,
            function: LinearFunction::Count,
        }],
        is_global: true,
    };
    let partial = input(&schema(&[DataType::Int64, DataType::Int64]));
    let node = node(OperatorSpec::Aggregate { spec }, schema(&[DataType::Int64]));
    let mut rows = 0;
    for worker in 0..3 {
        let context = BuildContext {
            node: &node,
            inputs: vec![&partial],
            hasher,
            merges: MergeService::inline(10),
        };
        let mut operator = build(&context);
        for epoch in 0..2 {
            let context = StepContext {
                is_first: epoch == 0,
                worker,
                workers: 3,
                hasher,
            };
            let flow = operator.step(&[&Flow::UNCHANGED], &context).unwrap();
            assert!(epoch == 0 || flow.is_unchanged());
            rows += flow.rows();
        }
    }
    assert_eq!(rows, 1);
}

#[test]
fn an_empty_step_changes_nothing() {
    let mut checked = Checked::new(true, RowHasher::new(3));
    checked.step(&[], 1);
    let row = Row {
        group: None,
        integer: Some(1),
        decimal: None,
        float: Some(1.0),
        flag: None,
    };
    checked.step(&[(row.clone(), 2), (row.clone(), -2)], 1);
    checked.step(&[(row.clone(), 1)], 1);
    let before = checked.circuit.last.output.clone();
    checked.step(&[(row.clone(), -1), (row, 1)], 5);
    assert_eq!(checked.circuit.last.output, before);
}

#[test]
fn a_failing_group_function_names_the_group() {
    let mut checked = Checked::new(true, RowHasher::new(3));
    let row = |integer| Row {
        group: Some(7),
        integer,
        decimal: None,
        float: None,
        flag: None,
    };
    checked.step(&[(row(Some(1)), 1)], 1);
    let bad = to_delta(&[(row(Some(13)), 1)]);
    let error = checked
        .circuit
        .step(&[bad], &to_pairs(&BTreeMap::new()))
        .unwrap_err();
    let expected = OperatorError {
        expression: "joined".to_owned(),
        row: "(7)".to_owned(),
        message: "unlucky".to_owned(),
    };
    assert_eq!(error, expected);
}

#[test]
fn deleting_what_is_not_there_is_an_error() {
    let mut checked = Checked::new(true, RowHasher::new(3));
    let row = Row {
        group: Some(7),
        integer: None,
        decimal: None,
        float: None,
        flag: None,
    };
    let bad = to_delta(&[(row, -1)]);
    let error = checked
        .circuit
        .step(&[bad], &to_pairs(&BTreeMap::new()))
        .unwrap_err();
    assert_eq!(error.row, "(7)");
    assert!(
        error.message.contains("negative multiplicity"),
        "{}",
        error.message
    );
}
