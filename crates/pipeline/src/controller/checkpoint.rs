//! When a checkpoint is taken, what it covers, and what its end means.
//!
//! ```text
//! phase       event                        next
//! Idle        request, timer, suspension   Wanted
//! Wanted      gates open, rows stepped     Snapshot     (action: Snapshot)
//! Wanted      nothing has changed          Idle         (the last checkpoint counts)
//! Snapshot    state taken                  Writing      (action: WriteCheckpoint; outputs are asked to be durable)
//! Writing     files written, outputs done  Publishing   (action: PublishCheckpoint)
//! Publishing  published                    Idle, or the end if it was a suspension
//! any         failed                       Idle; the pipeline goes on
//! ```
//!
//! Invariants
//! - C1: a request is answered by a snapshot that was taken after it, and that has all rows that had
//!   arrived before it (while the pipeline runs; a paused one steps nothing).
//! - C2: at most one checkpoint is under way; requests that come meanwhile wait for the next.
//! - C3: what is recorded of inputs belongs to the step of the snapshot: it is noted in the same
//!   `apply` that asks for the snapshot, behind all steps that were submitted.
//! - C4: a checkpoint is published after every output has made the changes of its step durable.
//! - C5: if nothing has changed since the last checkpoint, nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use highwater_circuit::dataflow::CircuitState;
use highwater_types::checkpoint::{
    CheckpointActivity, CheckpointFailure, CheckpointMetadata, CheckpointStatus,
};
use highwater_types::record::{PipelineRecord, RecordedInput};
use highwater_types::suspend::{PermanentSuspendError, SuspendError, TemporarySuspendError};

use super::{Controller, State};
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, OutputMessage, Reply};
use crate::moment::Moment;

/// Checkpoints of one pipeline.
pub(super) struct Checkpoints {
    /// Without storage there are none.
    is_enabled: bool,
    interval: Option<Duration>,
    /// When the timer wants the next one.
    due: Option<Duration>,
    last_sequence: u64,
    wanted: Option<Wanted>,
    running: Option<Running>,
    status: CheckpointStatus,
    /// What the last checkpoint recorded.
    last: Option<Recorded>,
    suspension: Suspension,
    counters: CheckpointCounters,
}

/// A checkpoint that is to be taken.
struct Wanted {
    /// The last request that it answers; none if only the timer wants it.
    sequence: Option<u64>,
    /// Pieces, counted from the start, that must be in steps.
    pieces: u64,
    since: Duration,
    delayed_since: Option<DateTime<Utc>>,
}

struct Running {
    sequence: Option<u64>,
    is_suspension: bool,
    step: u64,
    wanted_since: Duration,
    began: Duration,
    started_at: DateTime<Utc>,
    inputs: BTreeMap<String, RecordedInput>,
    phase: Phase,
}

enum Phase {
    /// The engine was asked for its state.
    Snapshot,
    Writing {
        record: Box<PipelineRecord>,
        is_written: bool,
        /// Outputs that have not made the step's changes durable.
        outputs: BTreeSet<EndpointId>,
    },
    Publishing,
}

/// What must differ for another checkpoint to be worth writing.
#[derive(PartialEq)]
struct Recorded {
    step: u64,
    inputs: BTreeMap<String, RecordedInput>,
}

/// How far a suspension is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Suspension {
    #[default]
    None,
    /// Inputs are being held: pieces may be on their way.
    Holding,
    /// No piece will come any more.
    Held,
}

/// What happened so far, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CheckpointCounters {
    pub successes: u64,
    pub failures: u64,
    /// Requests that were answered by the checkpoint before, because nothing had changed.
    pub unchanged: u64,
    /// From the request to the snapshot, of the last one.
    pub last_delay: Duration,
    /// From the snapshot to its publication, of the last one.
    pub last_duration: Duration,
    pub last_bytes_written: u64,
    pub last_files_written: u64,
    pub last_success_at: Option<DateTime<Utc>>,
    pub last_failure_at: Option<DateTime<Utc>>,
}

/// What the background has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub bytes: u64,
    pub files: u64,
}

impl Checkpoints {
    pub(super) fn new(is_enabled: bool, interval: Option<Duration>) -> Self {
        Self {
            is_enabled,
            interval: interval.filter(|_| is_enabled),
            due: None,
            last_sequence: 0,
            wanted: None,
            running: None,
            status: CheckpointStatus::default(),
            last: None,
            suspension: Suspension::None,
            counters: CheckpointCounters::default(),
        }
    }

    pub(super) fn is_suspending(&self) -> bool {
        self.suspension != Suspension::None
    }

    /// The pipeline goes on from this record: it need not be written again.
    pub(super) fn note_restored(&mut self, record: &PipelineRecord) {
        self.last = Some(Recorded {
            step: record.steps,
            inputs: record.inputs.clone(),
        });
    }

    /// What was restored is to be written again, at the next occasion.
    pub(super) fn forget_last(&mut self, now: Duration) {
        self.last = None;
        self.due = self.interval.map(|_| now);
    }

    /// The timer starts now.
    pub(super) fn start_timer(&mut self, now: Duration) {
        self.due = self.interval.map(|interval| now + interval);
    }

    pub(super) fn due(&self) -> Option<Duration> {
        // While one is wanted or under way, its end starts the timer again.
        let is_quiet = self.wanted.is_none() && self.running.is_none();
        self.due.filter(|_| is_quiet)
    }

    pub(super) fn counters(&self) -> &CheckpointCounters {
        &self.counters
    }
}

impl Controller {
    /// Asks for a checkpoint; its sequence number.
    ///
    /// # Errors
    /// If there is no storage, or the pipeline has ended.
    pub(super) fn request_checkpoint(&mut self, now: Moment) -> Result<u64> {
        self.check_alive()?;
        self.check_storage()?;
        self.checkpoints.last_sequence += 1;
        let sequence = self.checkpoints.last_sequence;
        self.want_checkpoint(Some(sequence), now);
        Ok(sequence)
    }

    /// Asks for a checkpoint after which the pipeline ends. Asking again changes nothing.
    ///
    /// # Errors
    /// If there is no storage, or the pipeline has ended otherwise.
    pub(super) fn suspend(&mut self, now: Moment, actions: &mut Vec<Action>) -> Result<()> {
        if self.state == State::Suspended || self.checkpoints.is_suspending() {
            return Ok(());
        }
        self.request_checkpoint(now)?;
        self.checkpoints.suspension = Suspension::Holding;
        self.hold_inputs(true, actions);
        Ok(())
    }

    fn hold_inputs(&self, held: bool, actions: &mut Vec<Action>) {
        let gates = self.inputs.values().map(|input| input.gate.clone());
        actions.push(Action::Hold {
            gates: gates.collect(),
            held,
        });
    }

    /// All that passed a gate has arrived.
    pub(super) fn inputs_held(&mut self, now: Moment) {
        if self.checkpoints.suspension == Suspension::Holding {
            self.checkpoints.suspension = Suspension::Held;
            self.want_checkpoint(None, now);
        }
    }

    fn check_storage(&self) -> Result<()> {
        match self.checkpoints.is_enabled {
            true => Ok(()),
            false => Err(Error::StorageRequired),
        }
    }

    fn want_checkpoint(&mut self, sequence: Option<u64>, now: Moment) {
        let pieces = self.queued_pieces;
        let wanted = self.checkpoints.wanted.get_or_insert(Wanted {
            sequence: None,
            pieces,
            since: now.elapsed,
            delayed_since: None,
        });
        wanted.sequence = sequence.or(wanted.sequence);
        wanted.pieces = pieces;
    }

    /// A row that a wanted checkpoint must have is queued, or an input is between two places that it
    /// can go on from.
    pub(super) fn checkpoint_wants_step(&self) -> bool {
        self.checkpoints.running.is_none() && self.checkpoints.wanted.is_some()
    }

    /// Starts what is due: the timer's wish, and the checkpoint that is wanted.
    pub(super) fn checkpoint_if_due(&mut self, now: Moment, actions: &mut Vec<Action>) {
        if self.check_alive().is_err() {
            return;
        }
        if self.checkpoints.due().is_some_and(|due| due <= now.elapsed) {
            self.want_checkpoint(None, now);
        }
        if self.checkpoints.running.is_some() || self.checkpoints.wanted.is_none() {
            return;
        }
        let is_delayed = !self.delays().is_empty();
        if let Some(wanted) = &mut self.checkpoints.wanted {
            wanted.delayed_since = is_delayed.then(|| wanted.delayed_since.unwrap_or(now.wall));
        }
        if !is_delayed && self.has_stepped_wanted_rows() {
            self.take_snapshot(now, actions);
        }
    }

    /// Why no checkpoint can be taken now.
    fn delays(&self) -> Vec<TemporarySuspendError> {
        let mut delays = Vec::new();
        if self.transaction.is_open() {
            delays.push(TemporarySuspendError::TransactionInProgress);
        }
        let barriers = self.inputs.values().filter(|input| input.is_at_barrier);
        let mut barriers: Vec<&String> = barriers.map(|input| &input.name).collect();
        barriers.sort();
        let barriers = barriers.into_iter().cloned();
        delays.extend(barriers.map(TemporarySuspendError::InputEndpointBarrier));
        delays
    }

    fn has_stepped_wanted_rows(&self) -> bool {
        let wanted = self.checkpoints.wanted.as_ref();
        let pieces = wanted.map_or(0, |wanted| wanted.pieces);
        let stepped = self.queued_pieces - self.queue.len() as u64;
        match self.checkpoints.suspension {
            Suspension::None => stepped >= pieces || self.state == State::Paused,
            Suspension::Holding => false,
            Suspension::Held => self.queue.is_empty(),
        }
    }

    fn take_snapshot(&mut self, now: Moment, actions: &mut Vec<Action>) {
        let Some(wanted) = self.checkpoints.wanted.take() else {
            return;
        };
        let running = Running {
            sequence: wanted.sequence,
            is_suspension: self.checkpoints.is_suspending(),
            step: self.steps.initiated,
            wanted_since: wanted.since,
            began: now.elapsed,
            started_at: now.wall,
            inputs: self.recorded_inputs(),
            phase: Phase::Snapshot,
        };
        let recorded = Recorded {
            step: running.step,
            inputs: running.inputs.clone(),
        };
        if self.checkpoints.last.as_ref() == Some(&recorded) {
            self.checkpoints.counters.unchanged += 1;
            self.checkpoint_succeeded(running, now, actions);
            return;
        }
        self.checkpoints.running = Some(running);
        actions.push(Action::Snapshot);
    }

    /// The state behind the snapshot's step.
    pub(super) fn snapshot_taken(
        &mut self,
        state: CircuitState,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let Some(mut running) = self.checkpoints.running.take() else {
            return;
        };
        let mut waiting = BTreeSet::new();
        for (&id, output) in &self.outputs {
            if output.is_connector() && output.fatal_error.is_none() {
                waiting.insert(id);
                actions.push(Action::Send {
                    sender: output.sender(),
                    message: OutputMessage::Sync { step: running.step },
                });
            }
        }
        running.phase = Phase::Writing {
            record: Box::new(self.record(running.step, &running.inputs, now)),
            is_written: false,
            outputs: waiting,
        };
        self.checkpoints.running = Some(running);
        actions.push(Action::WriteCheckpoint(Box::new(state)));
    }

    pub(super) fn checkpoint_written(
        &mut self,
        result: std::result::Result<Written, String>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let written = match result {
            Ok(written) => written,
            Err(error) => return self.checkpoint_failed(&error, now, actions),
        };
        self.checkpoints.counters.last_bytes_written = written.bytes;
        self.checkpoints.counters.last_files_written = written.files;
        if let Some(Running {
            phase: Phase::Writing { is_written, .. },
            ..
        }) = &mut self.checkpoints.running
        {
            *is_written = true;
        }
        self.publish_if_ready(actions);
    }

    /// An output has made everything up to the snapshot's step durable, or will never do so.
    pub(super) fn output_synced(&mut self, id: EndpointId, actions: &mut Vec<Action>) {
        let recorded = self
            .outputs
            .get(&id)
            .map(|output| (output.name.clone(), output.recorded()));
        if let Some(Running {
            phase: Phase::Writing {
                record, outputs, ..
            },
            ..
        }) = &mut self.checkpoints.running
            && outputs.remove(&id)
        {
            record.outputs.extend(recorded);
        }
        self.publish_if_ready(actions);
    }

    fn publish_if_ready(&mut self, actions: &mut Vec<Action>) {
        let Some(running) = &mut self.checkpoints.running else {
            return;
        };
        let Phase::Writing {
            record,
            is_written: true,
            outputs,
        } = &running.phase
        else {
            return;
        };
        if outputs.is_empty() {
            actions.push(Action::PublishCheckpoint(record.clone()));
            running.phase = Phase::Publishing;
        }
    }

    pub(super) fn checkpoint_published(
        &mut self,
        result: std::result::Result<CheckpointMetadata, String>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        if let Err(error) = result {
            return self.checkpoint_failed(&error, now, actions);
        }
        let Some(running) = self.checkpoints.running.take() else {
            return;
        };
        self.checkpoints.last = Some(Recorded {
            step: running.step,
            inputs: running.inputs.clone(),
        });
        let counters = &mut self.checkpoints.counters;
        counters.successes += 1;
        counters.last_delay = running.began.saturating_sub(running.wanted_since);
        counters.last_duration = now.elapsed.saturating_sub(running.began);
        counters.last_success_at = Some(now.wall);
        self.checkpoint_succeeded(running, now, actions);
    }

    fn checkpoint_succeeded(&mut self, running: Running, now: Moment, actions: &mut Vec<Action>) {
        let status = &mut self.checkpoints.status;
        status.success = status.success.max(running.sequence);
        self.checkpoints.start_timer(now.elapsed);
        if running.is_suspension {
            self.shut_down(None, actions);
            self.state = State::Suspended;
            actions.push(Action::Finish);
        }
    }

    fn checkpoint_failed(&mut self, error: &str, now: Moment, actions: &mut Vec<Action>) {
        let Some(running) = self.checkpoints.running.take() else {
            return;
        };
        actions.push(Action::AbandonCheckpoint);
        self.checkpoints.counters.failures += 1;
        self.checkpoints.counters.last_failure_at = Some(now.wall);
        if let Some(sequence_number) = running.sequence {
            self.checkpoints.status.failure = Some(CheckpointFailure {
                sequence_number,
                error: error.to_owned(),
                failed_at: now.wall,
            });
        }
        self.checkpoints.start_timer(now.elapsed);
        if running.is_suspension {
            self.checkpoints.suspension = Suspension::None;
            self.hold_inputs(false, actions);
        }
    }

    /// What clients are told of the requests so far.
    pub fn checkpoint_status(&self) -> CheckpointStatus {
        self.checkpoints.status.clone()
    }

    /// How checkpoints went.
    pub fn checkpoint_counters(&self) -> CheckpointCounters {
        *self.checkpoints.counters()
    }

    /// Outputs that a checkpoint is waiting for.
    pub fn checkpoint_waits_for(&self) -> Vec<String> {
        let Some(Running {
            phase: Phase::Writing { outputs, .. },
            ..
        }) = &self.checkpoints.running
        else {
            return Vec::new();
        };
        let names = outputs.iter().filter_map(|id| self.outputs.get(id));
        names.map(|output| output.name.clone()).collect()
    }

    /// Why the pipeline can never be suspended.
    pub fn permanent_suspend_errors(&self) -> Vec<PermanentSuspendError> {
        match self.checkpoints.is_enabled {
            true => Vec::new(),
            false => vec![PermanentSuspendError::StorageRequired],
        }
    }

    pub(super) fn suspend_error(&self) -> Option<SuspendError> {
        let permanent = self.permanent_suspend_errors();
        if !permanent.is_empty() {
            return Some(SuspendError::Permanent(permanent));
        }
        let delays = self.delays();
        (!delays.is_empty()).then_some(SuspendError::Temporary(delays))
    }

    pub(super) fn checkpoint_activity(&self) -> CheckpointActivity {
        if let Some(running) = &self.checkpoints.running {
            return CheckpointActivity::InProgress {
                started_at: running.started_at,
            };
        }
        let delayed_since = self
            .checkpoints
            .wanted
            .as_ref()
            .and_then(|wanted| wanted.delayed_since);
        match delayed_since {
            Some(delayed_since) => CheckpointActivity::Delayed {
                reasons: self.delays(),
                delayed_since,
            },
            None => CheckpointActivity::Idle,
        }
    }

    /// Answers a request to suspend.
    pub(super) fn reply_to_suspend(
        &mut self,
        reply: Reply<Result<()>>,
        now: Moment,
        actions: &mut Vec<Action>,
    ) {
        let accepted = self.suspend(now, actions);
        // Whoever asked may have left.
        let _ = reply.send(accepted);
    }
}
