//! Decides: one event in, actions out. No I/O, no clock, no threads, no locks.
//!
//! Invariants
//! - Rows enter steps in the order in which they arrived, across all inputs: whoever sends a
//!   deletion after an insertion was accepted gets both in that order.
//! - Steps are numbered from 1 without gaps; step `n` is the `n`-th one submitted.
//! - A step's contents are published, and its changes handed to all outputs, before the step counts
//!   as completed; it is completed when every output has delivered it.
//! - `total_input = buffered + processed + in flight` at all times, per input and in total.
//! - After a failed step nothing is submitted any more, and every waiting party has been told.
//!
//! The parts: `inputs` (endpoints, labels, tokens), `steps` (when to step, what a step's end means),
//! `outputs` (connectors and followers), `transaction`, `checkpoint` (when one is taken, and what it
//! covers), `record` (what it says of the pipeline), `status` (statistics).

mod checkpoint;
mod inputs;
mod outputs;
mod record;
mod status;
mod steps;
mod transaction;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use highwater_circuit::dataflow::StepOutput;
use uuid::Uuid;

use crate::contents::Contents;
use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, Event, Request};
use crate::moment::Moment;
use crate::settings::Settings;

pub use checkpoint::{CheckpointCounters, Written};
pub use inputs::{InputProgress, NewInput};
pub use outputs::NewOutput;

/// The state of one pipeline.
pub struct Controller {
    settings: Settings,
    definition: Arc<Definition>,
    incarnation: Uuid,
    started: Moment,
    /// When the pipeline first started with nothing.
    initial_start_time: DateTime<Utc>,
    state: State,
    inputs: BTreeMap<EndpointId, inputs::Input>,
    outputs: BTreeMap<EndpointId, outputs::Output>,
    next_endpoint: u64,
    /// Rows that no step has taken up, in arrival order.
    queue: VecDeque<inputs::QueuedPiece>,
    /// Pieces that were ever put into the queue.
    queued_pieces: u64,
    steps: steps::Steps,
    transaction: transaction::Transactions,
    contents: Arc<Contents>,
    checkpoints: checkpoint::Checkpoints,
}

/// What the pipeline does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Paused,
    Running,
    /// By an error.
    Terminated(String),
    Stopped,
    /// Ended by a checkpoint.
    Suspended,
}

impl Controller {
    /// A pipeline that has not done anything yet. [`Self::begin`] makes it start, paused. Without
    /// storage there are no checkpoints.
    pub fn new(
        definition: Arc<Definition>,
        settings: Settings,
        incarnation: Uuid,
        started: Moment,
        has_storage: bool,
    ) -> Self {
        let checkpoints = checkpoint::Checkpoints::new(has_storage, settings.checkpoint_interval);
        Self {
            settings,
            definition,
            incarnation,
            started,
            initial_start_time: started.wall,
            state: State::Paused,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
            next_endpoint: 0,
            queue: VecDeque::new(),
            queued_pieces: 0,
            steps: steps::Steps::default(),
            transaction: transaction::Transactions::default(),
            contents: Arc::default(),
            checkpoints,
        }
    }

    /// Takes up the first step, which had no input: constants and global aggregates have rows from
    /// the start. Then the inputs start.
    pub fn begin(&mut self, first: StepOutput, busy: Duration, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        self.checkpoints.start_timer(now.elapsed);
        self.begin_step_without_input();
        self.step_done(first, busy, &mut actions);
        self.complete_steps();
        self.start_inputs(&mut actions);
        actions
    }

    /// Decides what follows from an event.
    pub fn apply(&mut self, now: Moment, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Input(piece) => self.input(piece, now, &mut actions),
            Event::InputWarning { endpoint, message } => {
                self.input_warning(endpoint, message, now);
            }
            Event::EndOfInput { endpoint } => self.end_of_input(endpoint, &mut actions),
            Event::InputFailed { endpoint, message } => {
                self.input_failed(endpoint, message, now);
            }
            Event::StepDone { output, busy } => self.step_done(output, busy, &mut actions),
            Event::StepFailed(error) => self.terminate(&error, &mut actions),
            Event::Delivered {
                output,
                step,
                records,
                bytes,
            } => self.delivered(output, step, records, bytes),
            Event::EncodeFailed { output, message } => self.encode_failed(output, message, now),
            Event::OutputFailed { output, message } => {
                self.output_failed(output, message, now);
                self.output_synced(output, &mut actions);
            }
            Event::OutputSynced { output, position } => {
                self.output_position(output, position);
                self.output_synced(output, &mut actions);
            }
            Event::SnapshotTaken(state) => self.snapshot_taken(state, now, &mut actions),
            Event::InputsHeld => self.inputs_held(now),
            Event::CheckpointWritten(result) => {
                self.checkpoint_written(result, now, &mut actions);
            }
            Event::CheckpointPublished(result) => {
                self.checkpoint_published(result, now, &mut actions);
            }
            Event::FollowerLeft { output } => self.remove_output(output),
            Event::Request(request) => self.request(request, now, &mut actions),
            Event::Wake => {}
        }
        self.step_if_due(now, &mut actions);
        self.checkpoint_if_due(now, &mut actions);
        actions
    }

    /// When the controller wants an [`Event::Wake`], as [`Moment::elapsed`].
    pub fn wake_at(&self) -> Option<Duration> {
        let deadlines = self.buffering_deadline().into_iter();
        deadlines.chain(self.checkpoints.due()).min()
    }

    fn request(&mut self, request: Request, now: Moment, actions: &mut Vec<Action>) {
        // An answer that nobody waits for any more is no error: the client has left.
        match request {
            Request::SetRunning(run, reply) => {
                let _ = reply.send(self.set_running(run, actions));
            }
            Request::SetInputPaused {
                endpoint,
                paused,
                reply,
            } => {
                let _ = reply.send(self.set_input_paused(&endpoint, paused, actions));
            }
            Request::OpenHttpInput {
                name,
                table,
                gate,
                reply,
            } => {
                let _ = reply.send(self.open_http_input(name, table, gate));
            }
            Request::Token { endpoint, reply } => {
                let _ = reply.send(self.token(&endpoint));
            }
            Request::Follow(follow) => self.follow(follow, actions),
            Request::StartTransaction(reply) => {
                let _ = reply.send(self.start_transaction(now, actions));
            }
            Request::CommitTransaction(reply) => {
                let _ = reply.send(self.commit_transaction(actions));
            }
            Request::Checkpoint(reply) => {
                let _ = reply.send(self.request_checkpoint(now));
            }
            Request::Suspend(reply) => self.reply_to_suspend(reply, now, actions),
            Request::Inspect(look) => look(self, now),
            Request::Stop(reply) => {
                self.stop(actions);
                let _ = reply.send(());
            }
        }
    }

    fn set_running(&mut self, run: bool, actions: &mut Vec<Action>) -> Result<()> {
        self.check_alive()?;
        self.state = if run { State::Running } else { State::Paused };
        self.update_gates(actions);
        Ok(())
    }

    /// A step has failed: everybody is told, nothing is done any more.
    fn terminate(&mut self, error: &highwater_circuit::error::Error, actions: &mut Vec<Action>) {
        if self.check_alive().is_err() {
            return;
        }
        let message = error.to_string();
        self.shut_down(Some(&message), actions);
        self.state = State::Terminated(message);
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        if matches!(self.state, State::Stopped | State::Suspended) {
            return;
        }
        self.shut_down(None, actions);
        self.state = State::Stopped;
        actions.push(Action::Finish);
    }

    fn shut_down(&mut self, error: Option<&str>, actions: &mut Vec<Action>) {
        self.transaction.abandon();
        for input in self.inputs.values() {
            actions.push(Action::Close(input.gate.clone()));
        }
        self.end_outputs(error, actions);
        actions.push(Action::StopEngine);
    }

    /// # Errors
    /// If the pipeline was stopped or terminated.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match &self.state {
            State::Paused | State::Running => Ok(()),
            State::Stopped | State::Suspended => Err(Error::Stopped),
            State::Terminated(message) => Err(Error::Terminated {
                message: message.clone(),
            }),
        }
    }

    fn new_endpoint(&mut self) -> EndpointId {
        let id = EndpointId(self.next_endpoint);
        self.next_endpoint += 1;
        id
    }
}

#[cfg(test)]
mod tests;
