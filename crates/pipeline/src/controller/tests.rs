//! What the controller decides, event by event.

mod bench;
mod checkpoint;

use std::sync::Arc;
use std::time::Duration;

use highwater_circuit::dataflow::RelationRef;
use highwater_circuit::error::Error as CircuitError;
use highwater_connectors::error::{RowError, RowErrors};
use highwater_types::stats::PipelineState;
use highwater_types::transaction::TransactionStatus;
use highwater_zset::{Layout, RowHasher, Snapshot};
use tokio::sync::mpsc::unbounded_channel;
use uuid::Uuid;

use super::*;
use crate::event::OutputMessage;
use crate::gate::Gate;
use bench::{Bench, changed_step, one_row, schema};

#[test]
fn rows_enter_steps_in_the_order_of_their_arrival() {
    let mut bench = Bench::new(Settings::default());
    let (a, b) = (bench.open("a", 0), bench.open("b", 1));
    bench.push(a, 1);
    assert_eq!(bench.submitted, [(2, vec![(0, 1)])]);
    bench.push(a, 2);
    bench.push(b, 3);
    bench.push(a, 4);
    assert_eq!(bench.submitted.len(), 1, "no second step without a backlog");
    bench.answer();
    assert_eq!(bench.submitted, [(3, vec![(0, 2), (1, 3), (0, 4)])]);
}

#[test]
fn a_backlog_makes_bounded_steps_two_at_a_time() {
    let settings = Settings {
        step_rows_max: 10,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    for _ in 0..10 {
        bench.push(a, 4);
    }
    let rows: Vec<usize> = bench.submitted.iter().map(|(_, it)| it.len()).collect();
    assert_eq!(
        rows,
        [1, 3],
        "the first step is taken at once, the second is full"
    );
    bench.answer();
    assert_eq!(bench.submitted.len(), 2);
    assert_eq!(bench.stats().global_metrics.buffered_input_records, 12);
    assert_eq!(bench.released, 28);
}

#[test]
fn counters_add_up_and_tokens_follow_them() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    let nothing = bench.token(a);
    assert_eq!(
        bench.controller.completion(&nothing).unwrap(),
        (Some(0), true)
    );
    bench.push(a, 5);
    let first = bench.token(a);
    bench.push(a, 7);
    let second = bench.token(a);
    assert_eq!(
        bench.controller.completion(&first).unwrap(),
        (Some(2), false)
    );
    assert_eq!(bench.controller.completion(&second).unwrap(), (None, false));
    let metrics = bench.stats().global_metrics;
    assert_eq!(metrics.total_input_records, 12);
    assert_eq!(metrics.buffered_input_records, 7);
    assert_eq!(metrics.buffered_input_bytes, 70);
    assert_eq!(metrics.total_processed_records, 0);
    bench.answer();
    assert_eq!(
        bench.controller.completion(&first).unwrap(),
        (Some(2), true)
    );
    assert_eq!(
        bench.controller.completion(&second).unwrap(),
        (Some(3), false)
    );
    bench.answer();
    assert_eq!(
        bench.controller.completion(&second).unwrap(),
        (Some(3), true)
    );
    assert!(
        bench.controller.completion(&first).unwrap().1,
        "older tokens stay complete"
    );
    let stats = bench.stats();
    assert_eq!(stats.global_metrics.total_processed_records, 12);
    assert_eq!(stats.global_metrics.total_completed_records, 12);
    assert_eq!(stats.global_metrics.total_initiated_steps, 3);
    assert_eq!(stats.global_metrics.total_completed_steps, 3);
    assert_eq!(stats.global_metrics.runtime_elapsed_msecs, 6);
    assert_eq!(stats.inputs[0].metrics.total_records, 12);
    assert_eq!(stats.inputs[0].metrics.buffered_records, 0);
}

#[test]
fn tokens_of_others_are_refused() {
    let bench = Bench::new(Settings::default());
    let token = |incarnation, endpoint| {
        let token = crate::token::Token {
            incarnation,
            endpoint,
            records: 1,
        };
        bench.controller.completion(&token.encode())
    };
    assert!(matches!(
        token(Uuid::max(), 0),
        Err(Error::OtherIncarnation)
    ));
    assert!(matches!(
        token(Uuid::nil(), 77),
        Err(Error::UnknownTokenEndpoint)
    ));
    let nonsense = bench.controller.completion("nonsense");
    assert!(matches!(nonsense, Err(Error::InvalidToken { .. })));
}

#[test]
fn bad_rows_are_counted_and_the_last_are_kept() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    let mut errors = RowErrors::default();
    for record in 1..=150 {
        errors.push(RowError {
            record,
            line: None,
            column: None,
            value: None,
            reason: "bad".to_owned(),
        });
    }
    bench.push_with(a, 0, errors);
    let stats = bench.stats();
    assert_eq!(stats.inputs[0].metrics.num_parse_errors, 150);
    assert_eq!(stats.inputs[0].parse_errors.as_ref().unwrap().len(), 100);
    assert_eq!(stats.global_metrics.total_input_records, 0);
    assert!(bench.submitted.is_empty(), "no step for nothing");
    assert_eq!(bench.controller.errors_total(), 150);
}

#[test]
fn a_paused_pipeline_gathers_and_does_not_step() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    bench
        .request(|reply| Request::SetRunning(false, reply))
        .unwrap();
    bench.push(a, 5);
    assert!(bench.submitted.is_empty());
    assert_eq!(bench.stats().global_metrics.state, PipelineState::Paused);
    bench
        .request(|reply| Request::SetRunning(true, reply))
        .unwrap();
    assert_eq!(bench.submitted, [(2, vec![(0, 5)])]);
}

#[test]
fn small_batches_wait_for_others_but_not_for_ever() {
    let settings = Settings {
        batch_records_min: 10,
        buffering_delay_max: Duration::from_millis(30),
        checkpoint_interval: None,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    bench.now = Duration::from_millis(5);
    bench.push(a, 9);
    assert!(bench.submitted.is_empty());
    assert_eq!(bench.controller.wake_at(), Some(Duration::from_millis(35)));
    bench.push(a, 1);
    assert_eq!(bench.submitted.len(), 1, "enough");
    assert_eq!(bench.controller.wake_at(), None);
    bench.answer();
    bench.push(a, 1);
    bench.now = Duration::from_millis(34);
    bench.apply(Event::Wake);
    assert!(bench.submitted.is_empty());
    bench.now = Duration::from_millis(35);
    bench.apply(Event::Wake);
    assert_eq!(bench.submitted.len(), 1, "late");
}

#[test]
fn a_transaction_is_one_step() {
    let settings = Settings {
        step_rows_max: 2,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    let id = bench.request(Request::StartTransaction).unwrap();
    let again = bench.request(Request::StartTransaction);
    assert!(
        matches!(again, Err(Error::TransactionInProgress { transaction_id }) if transaction_id == id)
    );
    for _ in 0..5 {
        bench.push(a, 3);
    }
    let token = bench.token(a);
    assert!(bench.submitted.is_empty());
    assert_eq!(bench.released, 15, "gathered rows make room for more");
    let metrics = bench.stats().global_metrics;
    assert_eq!(
        metrics.transaction_status,
        TransactionStatus::TransactionInProgress
    );
    assert_eq!(
        (metrics.transaction_id, metrics.transaction_records),
        (id, Some(15))
    );
    assert_eq!(bench.controller.completion(&token).unwrap(), (None, false));
    bench.request(Request::CommitTransaction).unwrap();
    assert_eq!(bench.submitted, [(2, vec![(0, 3); 5])]);
    let status = bench.stats().global_metrics.transaction_status;
    assert_eq!(status, TransactionStatus::CommitInProgress);
    bench.answer();
    let metrics = bench.stats().global_metrics;
    assert_eq!(metrics.transaction_status, TransactionStatus::NoTransaction);
    assert_eq!(metrics.transaction_id, 0);
    assert!(bench.controller.completion(&token).unwrap().1);
    let none = bench.request(Request::CommitTransaction);
    assert!(matches!(none, Err(Error::NoTransaction)));
    assert!(bench.request(Request::StartTransaction).unwrap() > id);
}

#[test]
fn a_transaction_beyond_its_bound_holds_the_gates() {
    let settings = Settings {
        transaction_bytes_max: 100,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    bench.request(Request::StartTransaction).unwrap();
    bench.push(a, 10);
    assert_eq!(bench.released, 10);
    bench.push(a, 1);
    assert_eq!(bench.released, 10, "over the bound");
    bench.request(Request::CommitTransaction).unwrap();
    assert_eq!(bench.released, 11, "the commit makes room");
}

#[test]
fn a_step_is_complete_when_every_output_has_delivered_it() {
    let mut bench = Bench::before_begin(Settings::default());
    let (sender, mut receiver) = unbounded_channel();
    let output = bench.controller.add_output(NewOutput {
        name: "v0.out".to_owned(),
        relation: RelationRef::View(0),
        sender,
    });
    bench.begin();
    let a = bench.open("a", 0);
    bench.push(a, 1);
    let token = bench.token(a);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    assert_eq!(
        bench.controller.completion(&token).unwrap(),
        (Some(2), false)
    );
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 2);
    let status = &bench.stats().outputs[0];
    assert_eq!(status.metrics.queued_records, 1);
    assert_eq!(status.metrics.total_processed_steps, 1);
    // A step that does not concern the view waits behind the one that does.
    bench.push(a, 1);
    bench.answer();
    assert_eq!(bench.stats().global_metrics.total_completed_steps, 1);
    bench.apply(Event::Delivered {
        output,
        step: 2,
        records: 1,
        bytes: 20,
    });
    assert!(bench.controller.completion(&token).unwrap().1);
    let stats = bench.stats();
    assert_eq!(stats.global_metrics.total_completed_steps, 3);
    assert_eq!(stats.outputs[0].metrics.total_processed_steps, 3);
    assert_eq!(stats.outputs[0].metrics.total_processed_input_records, 2);
    assert_eq!(stats.outputs[0].metrics.transmitted_records, 1);
    assert_eq!(stats.outputs[0].metrics.queued_records, 0);
}

#[test]
fn a_full_output_stalls_the_steps() {
    let settings = Settings {
        output_queued_records_max: 0,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    let (follower, _receiver) = bench.follow(RelationRef::View(0), false, true).unwrap();
    bench.push(a, 1);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    bench.push(a, 1);
    assert!(bench.submitted.is_empty());
    bench.now = Duration::from_millis(40);
    bench.apply(Event::Delivered {
        output: follower,
        step: 2,
        records: 1,
        bytes: 1,
    });
    assert_eq!(bench.submitted.len(), 1);
    assert_eq!(bench.stats().global_metrics.output_stall_msecs, 40);
}

#[test]
fn a_failed_output_does_not_hold_up_the_others() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    let (follower, _receiver) = bench.follow(RelationRef::View(0), false, true).unwrap();
    bench.push(a, 1);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    assert_eq!(bench.stats().global_metrics.total_completed_steps, 1);
    bench.apply(Event::OutputFailed {
        output: follower,
        message: "disk full".to_owned(),
    });
    let stats = bench.stats();
    assert_eq!(stats.global_metrics.total_completed_steps, 2);
    assert_eq!(stats.outputs[0].fatal_error.as_deref(), Some("disk full"));
}

#[test]
fn a_follower_gets_the_snapshot_of_a_step_and_the_changes_behind_it() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    let layout = Arc::new(Layout::all_columns(schema(), RowHasher::new(0)));
    bench.push(a, 1);
    let contents = vec![(RelationRef::View(0), vec![Snapshot::empty(layout)])];
    bench.answer_with(vec![(0, one_row())], contents);
    let (_, mut receiver) = bench.follow(RelationRef::View(0), true, false).unwrap();
    bench.push(a, 1);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    match receiver.try_recv().unwrap() {
        OutputMessage::Snapshot { step, contents } => assert_eq!((step, contents.len()), (2, 1)),
        other => panic!("no snapshot: {other:?}"),
    }
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 3);
    assert!(receiver.try_recv().is_err());
}

#[test]
fn tables_are_followed_like_views() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 1);
    let (_, mut receiver) = bench.follow(RelationRef::Table(1), false, false).unwrap();
    bench.push(a, 1);
    // Two views; the tables' changes come behind them.
    bench.answer_with(vec![(2, one_row())], Vec::new());
    assert!(receiver.try_recv().is_err(), "another table");
    bench.push(a, 1);
    bench.answer_with(vec![(3, one_row())], Vec::new());
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 3);
}

#[test]
fn a_snapshot_needs_kept_contents() {
    let mut bench = Bench::new(Settings::default());
    let refused = bench.follow(RelationRef::View(1), true, false);
    assert!(matches!(refused, Err(Error::NotMaterialized { relation }) if relation == "v1"));
    assert!(bench.follow(RelationRef::View(1), false, false).is_ok());
}

#[test]
fn a_follower_without_back_pressure_is_cut_off() {
    let settings = Settings {
        follower_queued_records_max: 1,
        ..Settings::default()
    };
    let mut bench = Bench::new(settings);
    let a = bench.open("a", 0);
    let (follower, mut receiver) = bench.follow(RelationRef::View(0), false, false).unwrap();
    for _ in 0..3 {
        bench.push(a, 1);
        bench.answer_with(vec![(0, one_row())], Vec::new());
    }
    assert_eq!(
        bench.stats().global_metrics.total_completed_steps,
        4,
        "nothing waited"
    );
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 2);
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 3);
    match receiver.try_recv().unwrap() {
        OutputMessage::End { error: Some(error) } => assert!(error.contains("too slow")),
        other => panic!("not cut off: {other:?}"),
    }
    assert!(!bench.controller.has_output(follower));
}

#[test]
fn a_follower_that_comes_during_a_transaction_starts_behind_it() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    bench.request(Request::StartTransaction).unwrap();
    bench.push(a, 1);
    let (_, mut receiver) = bench.follow(RelationRef::View(0), false, false).unwrap();
    let (_, mut with_snapshot) = bench.follow(RelationRef::View(0), true, false).unwrap();
    bench.request(Request::CommitTransaction).unwrap();
    bench.answer_with(vec![(0, one_row())], Vec::new());
    assert!(receiver.try_recv().is_err());
    assert!(matches!(
        with_snapshot.try_recv(),
        Ok(OutputMessage::Snapshot { step: 1, .. })
    ));
    assert_eq!(changed_step(with_snapshot.try_recv().unwrap()), 2);
    bench.push(a, 1);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    assert_eq!(changed_step(receiver.try_recv().unwrap()), 3);
}

#[test]
fn connectors_start_after_the_labels_they_name() {
    let mut bench = Bench::before_begin(Settings::default());
    let mut add = |name: &str, labels: &[&str], start_after: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        bench.controller.add_input(NewInput {
            name: name.to_owned(),
            table: 0,
            gate: Arc::new(Gate::new(10, 10, true)),
            paused: false,
            labels: owned(labels),
            start_after: owned(start_after),
        })
    };
    let first = add("t0.first", &["base"], &[]);
    let second = add("t0.second", &["base"], &[]);
    let third = add("t0.third", &[], &["base"]);
    bench.begin();
    assert_eq!(bench.started, [first, second]);
    bench.apply(Event::EndOfInput { endpoint: first });
    assert_eq!(bench.started.len(), 2);
    bench.apply(Event::EndOfInput { endpoint: second });
    assert_eq!(bench.started, [first, second, third]);
    assert!(!bench.stats().global_metrics.pipeline_complete);
    bench.push(third, 1);
    bench.apply(Event::EndOfInput { endpoint: third });
    assert_eq!(bench.started.len(), 3, "nothing starts twice");
    assert!(
        !bench.stats().global_metrics.pipeline_complete,
        "a row is in flight"
    );
    bench.answer();
    assert!(bench.stats().global_metrics.pipeline_complete);
}

#[test]
fn connectors_are_paused_by_their_users_and_with_the_pipeline() {
    let mut bench = Bench::before_begin(Settings::default());
    let gate = Arc::new(Gate::new(10, 10, true));
    bench.controller.add_input(NewInput {
        name: "t0.c".to_owned(),
        table: 0,
        gate: gate.clone(),
        paused: true,
        labels: Vec::new(),
        start_after: Vec::new(),
    });
    bench.begin();
    let set = |bench: &mut Bench, endpoint: &str, paused| {
        bench.request(|reply| Request::SetInputPaused {
            endpoint: endpoint.to_owned(),
            paused,
            reply,
        })
    };
    assert!(gate.is_paused(), "by its configuration");
    set(&mut bench, "t0.c", false).unwrap();
    assert!(!gate.is_paused());
    bench
        .request(|reply| Request::SetRunning(false, reply))
        .unwrap();
    assert!(gate.is_paused(), "with the pipeline");
    assert!(!bench.stats().inputs[0].paused, "not by its user");
    let unknown = set(&mut bench, "t0.d", true).unwrap_err().to_string();
    assert_eq!(unknown, "there is no endpoint `t0.d`; there are `t0.c`");
}

#[test]
fn a_failed_step_ends_everything_but_the_statistics() {
    let mut bench = Bench::new(Settings::default());
    let a = bench.open("a", 0);
    let (_, mut receiver) = bench.follow(RelationRef::View(0), false, false).unwrap();
    bench.push(a, 1);
    let token = bench.token(a);
    bench.apply(Event::StepFailed(CircuitError::WorkerPanic {
        worker: 0,
        message: "overflow".to_owned(),
    }));
    match receiver.try_recv().unwrap() {
        OutputMessage::End { error: Some(error) } => assert!(error.contains("overflow")),
        other => panic!("not ended: {other:?}"),
    }
    assert_eq!(
        bench.stats().global_metrics.state,
        PipelineState::Terminated
    );
    let terminated = |result: Error| {
        assert!(matches!(result, Error::Terminated { message } if message.contains("overflow")));
    };
    terminated(bench.controller.completion(&token).unwrap_err());
    terminated(bench.request(Request::StartTransaction).unwrap_err());
    terminated(
        bench
            .request(|reply| Request::SetRunning(true, reply))
            .unwrap_err(),
    );
    terminated(
        bench
            .follow(RelationRef::View(0), false, false)
            .unwrap_err(),
    );
    bench.submitted.clear();
    bench.push(a, 1);
    assert!(bench.submitted.is_empty());
    assert!(!bench.finished, "the process stays");
    bench.request(Request::Stop);
    assert!(bench.finished);
}

#[test]
fn stopping_tells_everybody() {
    let mut bench = Bench::new(Settings::default());
    let gate = Arc::new(Gate::new(10, 10, false));
    bench
        .request(|reply| Request::OpenHttpInput {
            name: "a".to_owned(),
            table: 0,
            gate: gate.clone(),
            reply,
        })
        .unwrap();
    let (_, mut receiver) = bench.follow(RelationRef::View(0), false, false).unwrap();
    bench.request(Request::Stop);
    assert!(gate.is_closed());
    assert!(matches!(
        receiver.try_recv(),
        Ok(OutputMessage::End { error: None })
    ));
    assert!(matches!(
        bench.request(Request::StartTransaction),
        Err(Error::Stopped)
    ));
}

#[test]
fn an_http_input_is_shared_by_its_name() {
    let mut bench = Bench::new(Settings::default());
    let (a, again, other) = (bench.open("a", 0), bench.open("a", 0), bench.open("b", 0));
    assert_eq!(a, again);
    assert_ne!(a, other);
}
