//! Errors and panics stop the circuit, say where, and leave nothing half done.

use highwater_zset::RowHasher;

use super::{Formula, insert, row, schema, start};
use crate::builder::{JoinOptions, PlanBuilder};
use crate::dataflow::Dataflow;
use crate::error::Error;

/// A view of one computed column behind an exchange, and one that only passes rows on.
fn circuit(formula: Formula, workers: usize) -> Dataflow {
    let hasher = RowHasher::new(7);
    let mut builder = PlanBuilder::new(hasher);
    let table = builder.table("t", &schema(2), vec![0], false, "");
    builder.view("fine", table, true);
    let joined = builder.join(table, table, &[(1, 1)], JoinOptions::default());
    builder.set_owner("broken");
    let computed = builder.map(joined, None, vec![("x".to_owned(), formula.expr())]);
    builder.view("broken", computed, false);
    start(builder.finish(), workers, hasher)
}

fn rows(values: std::ops::Range<i64>) -> Vec<(usize, crate::table_input::TableInput)> {
    vec![(
        0,
        insert(
            2,
            &values.map(|value| row(&[value, value])).collect::<Vec<_>>(),
        ),
    )]
}

#[test]
fn an_evaluation_error_names_the_row() {
    for workers in 1..=3 {
        let mut dataflow = circuit(Formula::FailsAt(0, 37), workers);
        assert_eq!(dataflow.step(rows(0..20)).unwrap().epoch, 0);
        let error = dataflow.step(rows(20..60)).unwrap_err();
        let Error::Evaluation {
            operator_label,
            expression,
            row,
            message,
            ..
        } = error
        else {
            panic!("not an evaluation error: {error}");
        };
        assert_eq!(operator_label, "map for broken");
        assert_eq!(expression, "FailsAt(0, 37)");
        assert_eq!(row, "(37, 37, 37, 37)");
        assert_eq!(message, "37 is not allowed");
        assert!(matches!(dataflow.step(rows(60..61)), Err(Error::Stopped)));
        assert!(matches!(dataflow.state(), Err(Error::Stopped)));
    }
}

#[test]
fn a_panic_stops_the_circuit_and_not_the_process() {
    for workers in 1..=3 {
        let mut dataflow = circuit(Formula::Panics, workers);
        let error = dataflow.step(rows(0..20)).unwrap_err();
        assert!(matches!(error, Error::WorkerPanic { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("deliberate panic in map for broken"),
            "{text}"
        );
        assert!(matches!(dataflow.receive(), Err(Error::Stopped)));
    }
}

#[test]
fn steps_before_a_failed_one_are_received() {
    for workers in 1..=3 {
        let mut dataflow = circuit(Formula::FailsAt(0, 35), workers);
        for step in 0..6 {
            dataflow.submit(rows(step * 10..step * 10 + 10)).unwrap();
        }
        for epoch in 0..3 {
            assert_eq!(dataflow.receive().unwrap().epoch, epoch);
        }
        assert!(matches!(dataflow.receive(), Err(Error::Evaluation { .. })));
        assert!(matches!(dataflow.receive(), Err(Error::Stopped)));
    }
}

#[test]
fn inputs_that_do_not_fit_are_refused_and_harm_nothing() {
    let mut dataflow = circuit(Formula::FailsAt(0, 37), 2);
    let wrong_width = vec![(0, insert(1, &[row(&[1])]))];
    assert!(matches!(
        dataflow.submit(wrong_width),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        dataflow.submit(vec![(9, insert(2, &[]))]),
        Err(Error::Invalid(_))
    ));
    assert!(matches!(dataflow.receive(), Err(Error::Invalid(_))));
    assert_eq!(dataflow.step(rows(0..3)).unwrap().epoch, 0);
}

#[test]
fn a_busy_dataflow_can_be_dropped() {
    for workers in 1..=3 {
        let mut dataflow = circuit(Formula::FailsAt(0, -1), workers);
        for step in 0..50 {
            dataflow.submit(rows(step * 100..step * 100 + 100)).unwrap();
        }
        drop(dataflow);
    }
}

#[test]
fn weights_that_overflow_are_an_error() {
    let hasher = RowHasher::new(7);
    let mut builder = PlanBuilder::new(hasher);
    let table = builder.table("t", &schema(1), Vec::new(), false, "");
    let joined = builder.join(table, table, &[(0, 0)], JoinOptions::default());
    builder.view("v", joined, false);
    let mut dataflow = start(builder.finish(), 1, hasher);
    let mut input = insert(1, &[row(&[1])]);
    input.weights = vec![1 << 40].into();
    let error = dataflow.step(vec![(0, input)]).unwrap_err().to_string();
    assert!(error.contains("overflow"), "{error}");
}
