//! When checkpoints are taken, what they cover, and what they say.

use std::sync::Arc;
use std::time::Duration;

use highwater_circuit::dataflow::RelationRef;
use highwater_types::checkpoint::CheckpointActivity;
use highwater_types::suspend::{PermanentSuspendError, SuspendError, TemporarySuspendError};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::bench::{Bench, one_row};
use crate::controller::*;
use crate::event::OutputMessage;
use crate::gate::Gate;

/// No timer: what happens is what the test asks for.
fn settings() -> Settings {
    Settings {
        checkpoint_interval: None,
        ..Settings::default()
    }
}

fn status(bench: &Bench) -> (Option<u64>, Option<u64>) {
    let status = bench.controller.checkpoint_status();
    (status.success, status.failure.map(|it| it.sequence_number))
}

fn activity(bench: &Bench) -> CheckpointActivity {
    bench.stats().checkpoint_activity.unwrap()
}

fn connector(bench: &mut Bench) -> EndpointId {
    bench.controller.add_input(NewInput {
        name: "t0.c".to_owned(),
        table: 0,
        gate: Arc::new(Gate::new(1_000, 1_000_000, false)),
        paused: false,
        labels: Vec::new(),
        start_after: Vec::new(),
    })
}

fn output(bench: &mut Bench) -> (EndpointId, UnboundedReceiver<OutputMessage>) {
    let (sender, messages) = unbounded_channel();
    let id = bench.controller.add_output(NewOutput {
        name: "v0.o".to_owned(),
        relation: RelationRef::View(0),
        sender,
    });
    (id, messages)
}

#[test]
fn p2_a_request_during_a_checkpoint_is_answered_by_a_later_snapshot() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench.push(input, 1);
    bench.answer();
    assert_eq!(bench.checkpoint().unwrap(), 1);
    assert_eq!(bench.snapshots, 1);
    bench.push(input, 1);
    bench.answer();
    assert_eq!(bench.checkpoint().unwrap(), 2);
    bench.snapshot();
    bench.written();
    assert_eq!(bench.checkpoint().unwrap(), 3);
    assert_eq!(status(&bench), (None, None));
    bench.published();
    assert_eq!(status(&bench), (Some(1), None), "only what it covers");
    assert_eq!(bench.snapshots, 2, "the others have one of their own");
    bench.finish_checkpoint();
    assert_eq!(status(&bench), (Some(3), None));
    assert_eq!(bench.records.len(), 2);
    assert_eq!(bench.records[0].steps + 1, bench.records[1].steps);
}

#[test]
fn p2_a_request_covers_the_rows_that_arrived_before_it() {
    let mut bench = Bench::new(Settings {
        batch_records_min: 100,
        buffering_delay_max: Duration::from_secs(60),
        ..settings()
    });
    let input = bench.open("a", 0);
    bench.push(input, 3);
    assert!(bench.submitted.is_empty(), "the rows wait for more");
    bench.checkpoint().unwrap();
    assert_eq!(
        bench.submitted.len(),
        1,
        "a checkpoint does not wait for more"
    );
    assert_eq!(bench.snapshots, 1, "behind the step");
    bench.answer();
    bench.finish_checkpoint();
    assert_eq!(bench.records[0].counters.processed_records, 3);
    assert_eq!(bench.records[0].inputs["a"].total_records, 3);
}

#[test]
fn p2_a_paused_pipeline_steps_nothing_for_a_checkpoint() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench
        .request(|reply| Request::SetRunning(false, reply))
        .unwrap();
    bench.push(input, 3);
    bench.checkpoint().unwrap();
    assert!(bench.submitted.is_empty());
    bench.finish_checkpoint();
    assert_eq!(bench.records[0].inputs["a"].total_records, 0);
    assert_eq!(status(&bench), (Some(1), None));
}

#[test]
fn p2_a_suspension_loses_no_row_that_was_accepted() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench.push(input, 1);
    bench.request(Request::Suspend).unwrap();
    bench.request(Request::Suspend).unwrap();
    assert_eq!(bench.held, Some(true));
    assert_eq!(bench.snapshots, 0, "rows may be on their way");
    bench.push(input, 2);
    bench.apply(Event::InputsHeld);
    assert_eq!(bench.snapshots, 0, "rows are queued behind the first step");
    bench.answer();
    assert_eq!(bench.submitted.len(), 1);
    assert_eq!(bench.snapshots, 1);
    bench.answer();
    bench.snapshot();
    bench.written();
    assert!(!bench.finished);
    bench.published();
    assert!(bench.finished);
    assert_eq!(bench.records[0].counters.processed_records, 3);
    assert!(bench.checkpoint().is_err(), "the pipeline has ended");
}

#[test]
fn p2_a_suspension_while_paused_steps_what_was_accepted() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench
        .request(|reply| Request::SetRunning(false, reply))
        .unwrap();
    bench.push(input, 3);
    bench.request(Request::Suspend).unwrap();
    bench.apply(Event::InputsHeld);
    assert_eq!(bench.submitted.len(), 1);
    bench.answer();
    bench.finish_checkpoint();
    assert_eq!(bench.records[0].counters.processed_records, 3);
    assert!(bench.finished);
}

#[test]
fn p2_a_suspension_during_a_checkpoint_takes_its_own() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench.checkpoint().unwrap();
    bench.push(input, 1);
    bench.request(Request::Suspend).unwrap();
    bench.apply(Event::InputsHeld);
    bench.finish_checkpoint();
    assert!(!bench.finished, "the first one is from before");
    bench.answer();
    bench.finish_checkpoint();
    assert!(bench.finished);
    assert_eq!(bench.records[1].counters.processed_records, 1);
}

#[test]
fn p3_activity_is_idle_delayed_in_progress_idle() {
    let mut bench = Bench::new(settings());
    bench.request(Request::StartTransaction).unwrap();
    assert_eq!(activity(&bench), CheckpointActivity::Idle);
    bench.now = Duration::from_secs(5);
    bench.checkpoint().unwrap();
    let delayed_since = bench.moment().wall;
    bench.now = Duration::from_secs(9);
    bench.apply(Event::Wake);
    let reasons = vec![TemporarySuspendError::TransactionInProgress];
    let delayed = CheckpointActivity::Delayed {
        reasons: reasons.clone(),
        delayed_since,
    };
    assert_eq!(activity(&bench), delayed, "since the first delay");
    assert_eq!(
        bench.stats().suspend_error,
        Some(SuspendError::Temporary(reasons))
    );
    bench.request(Request::CommitTransaction).unwrap();
    assert_eq!(bench.snapshots, 0);
    bench.now = Duration::from_secs(11);
    bench.answer();
    assert_eq!(bench.snapshots, 1);
    let started_at = bench.moment().wall;
    bench.now = Duration::from_secs(12);
    assert_eq!(
        activity(&bench),
        CheckpointActivity::InProgress { started_at }
    );
    bench.finish_checkpoint();
    assert_eq!(activity(&bench), CheckpointActivity::Idle);
    assert_eq!(bench.stats().suspend_error, None);
    let counters = bench.controller.checkpoint_counters();
    assert_eq!(counters.last_delay, Duration::from_secs(6));
    assert_eq!(counters.last_duration, Duration::from_secs(1));
    assert_eq!((counters.successes, counters.last_bytes_written), (1, 100));
}

#[test]
fn p3_an_input_inside_a_chunk_is_a_barrier() {
    let mut bench = Bench::before_begin(Settings {
        step_rows_max: 2,
        ..settings()
    });
    let input = connector(&mut bench);
    bench.begin();
    bench.push_at(input, 2, Value::Null);
    bench.answer();
    bench.checkpoint().unwrap();
    let reasons = vec![TemporarySuspendError::InputEndpointBarrier(
        "t0.c".to_owned(),
    )];
    match activity(&bench) {
        CheckpointActivity::Delayed { reasons: found, .. } => assert_eq!(found, reasons),
        other => panic!("{other:?}"),
    }
    assert!(bench.stats().inputs[0].barrier);
    bench.push_at(input, 1, json!({"offset": 30}));
    assert_eq!(bench.snapshots, 1, "behind the rest of the chunk");
    bench.answer();
    bench.finish_checkpoint();
    let recorded = &bench.records[0].inputs["t0.c"];
    assert_eq!(recorded.position, json!({"offset": 30}));
    assert_eq!(recorded.total_records, 3);
}

#[test]
fn the_position_is_that_of_the_rows_that_are_in_steps() {
    let mut bench = Bench::before_begin(settings());
    let input = connector(&mut bench);
    bench.begin();
    bench.push_at(input, 1, json!(1));
    bench.push_at(input, 1, json!(2));
    bench.push_at(input, 0, json!(3));
    assert_eq!(bench.submitted.len(), 1);
    let positions = |bench: &Bench| bench.controller.recorded_inputs()["t0.c"].position.clone();
    assert_eq!(positions(&bench), json!(1));
    bench.apply(Event::EndOfInput { endpoint: input });
    assert!(!bench.controller.recorded_inputs()["t0.c"].end_of_input);
    bench.answer();
    // Bad rows behind the last good one are not read again.
    assert_eq!(positions(&bench), json!(3));
    assert!(bench.controller.recorded_inputs()["t0.c"].end_of_input);
    bench.answer();
    bench.push_at(input, 0, json!(4));
    assert_eq!(positions(&bench), json!(4));
}

#[test]
fn p4_without_storage_there_are_no_checkpoints() {
    let mut bench = Bench::before_begin(settings());
    let moment = bench.moment();
    bench.controller = Controller::new(
        bench.controller.definition.clone(),
        settings(),
        uuid::Uuid::nil(),
        moment,
        false,
    );
    bench.begin();
    assert!(matches!(bench.checkpoint(), Err(Error::StorageRequired)));
    let suspended = bench.request(Request::Suspend);
    assert!(matches!(suspended, Err(Error::StorageRequired)));
    let permanent = vec![PermanentSuspendError::StorageRequired];
    assert_eq!(bench.controller.permanent_suspend_errors(), permanent);
    assert_eq!(
        bench.stats().suspend_error,
        Some(SuspendError::Permanent(permanent))
    );
    assert_eq!(activity(&bench), CheckpointActivity::Idle);
    assert_eq!(bench.controller.wake_at(), None);
}

#[test]
fn p5_if_nothing_has_changed_nothing_is_written() {
    let mut bench = Bench::new(settings());
    bench.checkpoint().unwrap();
    bench.finish_checkpoint();
    assert_eq!(bench.checkpoint().unwrap(), 2);
    assert_eq!(status(&bench), (Some(2), None), "the last one counts");
    assert_eq!((bench.snapshots, bench.writes), (1, 1));
    // A pause of an input is a change, although no row came.
    bench.open("a", 0);
    bench.checkpoint().unwrap();
    assert_eq!(bench.snapshots, 2);
    assert_eq!(bench.controller.checkpoint_counters().unchanged, 1);
}

#[test]
fn p5_the_timer_runs_from_the_end_of_a_checkpoint() {
    let mut bench = Bench::new(Settings::default());
    let minute = Duration::from_secs(60);
    assert_eq!(bench.controller.wake_at(), Some(minute));
    bench.now = minute;
    bench.apply(Event::Wake);
    assert_eq!(bench.snapshots, 1);
    assert_eq!(bench.controller.wake_at(), None, "until it has ended");
    bench.now = 2 * minute;
    bench.finish_checkpoint();
    assert_eq!(bench.controller.wake_at(), Some(3 * minute));
    bench.now = 3 * minute;
    bench.apply(Event::Wake);
    assert_eq!(
        (bench.snapshots, bench.writes),
        (1, 1),
        "nothing has changed"
    );
    assert_eq!(bench.controller.wake_at(), Some(4 * minute));
    assert_eq!(status(&bench), (None, None), "nobody has asked");
}

#[test]
fn p8_a_failed_checkpoint_is_told_and_the_pipeline_goes_on() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench.checkpoint().unwrap();
    bench.snapshot();
    bench.apply(Event::CheckpointWritten(Err("no room".to_owned())));
    assert_eq!(status(&bench), (None, Some(1)));
    assert_eq!(bench.abandoned, 1);
    let failure = bench.controller.checkpoint_status().failure.unwrap();
    assert_eq!(failure.error, "no room");
    bench.push(input, 1);
    bench.answer();
    bench.checkpoint().unwrap();
    bench.snapshot();
    bench.written();
    bench.apply(Event::CheckpointPublished(Err("no room".to_owned())));
    assert_eq!(status(&bench), (None, Some(2)));
    bench.checkpoint().unwrap();
    bench.finish_checkpoint();
    assert_eq!(
        status(&bench),
        (Some(3), Some(2)),
        "a success clears no failure"
    );
}

#[test]
fn p8_a_failed_suspension_lets_the_inputs_go() {
    let mut bench = Bench::new(settings());
    let input = bench.open("a", 0);
    bench.request(Request::Suspend).unwrap();
    bench.apply(Event::InputsHeld);
    bench.snapshot();
    bench.apply(Event::CheckpointWritten(Err("no room".to_owned())));
    assert_eq!(bench.held, Some(false));
    assert!(!bench.finished);
    bench.push(input, 1);
    assert_eq!(bench.submitted.len(), 1, "it runs as before");
}

#[test]
fn a_checkpoint_waits_until_outputs_are_durable() {
    let mut bench = Bench::before_begin(settings());
    let (id, mut messages) = output(&mut bench);
    bench.begin();
    let input = bench.open("a", 0);
    bench.push(input, 1);
    bench.checkpoint().unwrap();
    bench.push(input, 1);
    bench.answer_with(vec![(0, one_row())], Vec::new());
    bench.snapshot();
    bench.answer_with(vec![(0, one_row())], Vec::new());
    let mut kinds = Vec::new();
    while let Ok(message) = messages.try_recv() {
        kinds.push(match message {
            OutputMessage::Changes { step, .. } => format!("changes {step}"),
            OutputMessage::Sync { step } => format!("sync {step}"),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(kinds, ["changes 2", "sync 2", "changes 3"]);
    bench.written();
    assert!(bench.records.is_empty());
    assert_eq!(bench.controller.checkpoint_waits_for(), ["v0.o"]);
    bench.apply(Event::OutputSynced {
        output: id,
        position: json!({"bytes": 7}),
    });
    assert_eq!(
        bench.records[0].outputs["v0.o"].position,
        json!({"bytes": 7})
    );
}

#[test]
fn an_output_that_has_failed_holds_nothing_up() {
    let mut bench = Bench::before_begin(settings());
    let (id, _messages) = output(&mut bench);
    bench.begin();
    bench.checkpoint().unwrap();
    bench.snapshot();
    bench.written();
    assert!(bench.records.is_empty());
    bench.apply(Event::OutputFailed {
        output: id,
        message: "gone".to_owned(),
    });
    assert_eq!(bench.records.len(), 1);
    assert_eq!(bench.records[0].outputs["v0.o"].transport_errors.total, 1);
}

#[test]
fn a_record_makes_another_controller_go_on() {
    let mut bench = Bench::before_begin(settings());
    let input = connector(&mut bench);
    bench.begin();
    let http = bench.open("t1.api", 1);
    bench.push_at(input, 5, json!({"offset": 50}));
    bench.answer();
    bench.push(http, 2);
    bench.answer();
    bench.request(Request::StartTransaction).unwrap();
    bench.request(Request::CommitTransaction).unwrap();
    bench.answer();
    bench.apply(Event::EndOfInput { endpoint: input });
    bench.checkpoint().unwrap();
    bench.finish_checkpoint();
    let record = bench.records.pop().unwrap();

    let mut second = Bench::before_begin(settings());
    second.now = Duration::from_secs(1);
    connector(&mut second);
    let mut gate = || Arc::new(Gate::new(1, 1, true));
    second.controller.restore(&record, &mut gate);
    let moment = second.moment();
    let contents = Contents::restored(record.steps, &Default::default());
    let actions = second.controller.begin_restored(contents, moment);
    second.perform(actions);
    assert!(second.started.is_empty(), "its input has ended");
    let progress = second.controller.progress();
    assert_eq!((progress[0].records, progress[0].restored_records), (5, 5));
    assert_eq!(second.published, record.steps);
    let (before, after) = (bench.stats(), second.stats());
    for (before, after) in before.inputs.iter().zip(&after.inputs) {
        assert_eq!(before.endpoint_name, after.endpoint_name);
        assert_eq!(before.metrics, after.metrics);
    }
    let (before, after) = (before.global_metrics, after.global_metrics);
    assert_eq!(
        before.total_processed_records,
        after.total_processed_records
    );
    assert_eq!(before.total_completed_steps, after.total_completed_steps);
    assert_eq!(before.initial_start_time, after.initial_start_time);
    assert!(before.pipeline_complete && after.pipeline_complete);
    second
        .request(|reply| Request::SetRunning(true, reply))
        .unwrap();
    second.checkpoint().unwrap();
    assert_eq!(second.snapshots, 0, "nothing has changed since the record");
    assert_eq!(second.request(Request::StartTransaction).unwrap(), 2);
    second.request(Request::CommitTransaction).unwrap();
    assert_eq!(second.submitted[0].0, record.steps + 1);
    second.answer();
    let http = second.open("t1.api", 1);
    let token = second.token(http);
    assert_eq!(
        second.controller.completion(&token).unwrap(),
        (Some(record.steps), true),
        "what was received before the restart is complete"
    );
}
