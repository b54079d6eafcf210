//! Inputs: what they have received, when they run, and the tokens for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use highwater_circuit::table_input::TableInput;
use highwater_connectors::input::Progress;
use highwater_types::stats::ConnectorError;
use serde_json::Value;

use super::{Controller, State};
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, HttpEndpoint, InputPiece, TokenEndpoint};
use crate::gate::Gate;
use crate::moment::Moment;
use crate::token::Token;

/// Messages of one kind that an endpoint keeps.
pub(super) const ERRORS_KEPT_MAX: usize = 100;

/// An input connector to be added before the pipeline begins.
#[derive(Debug)]
pub struct NewInput {
    /// `table.connector`.
    pub name: String,
    pub table: usize,
    pub gate: Arc<Gate>,
    pub paused: bool,
    pub labels: Vec<String>,
    pub start_after: Vec<String>,
}

/// How far an input connector is, for progress bars.
#[derive(Clone, Debug, PartialEq)]
pub struct InputProgress {
    pub name: String,
    /// All since the table was empty, and those of them that a checkpoint had.
    pub records: u64,
    pub restored_records: u64,
    pub progress: Progress,
    pub end_of_input: bool,
    pub fatal_error: Option<String>,
    pub parse_errors: u64,
    pub first_parse_error: Option<String>,
}

/// An input connector or an HTTP input.
pub(super) struct Input {
    pub(super) name: String,
    pub(super) table: usize,
    pub(super) gate: Arc<Gate>,
    pub(super) kind: InputKind,
    pub(super) paused: bool,
    pub(super) total_records: u64,
    /// Those that the checkpoint had from which the pipeline went on.
    pub(super) restored_records: u64,
    pub(super) total_bytes: u64,
    pub(super) buffered_records: u64,
    pub(super) buffered_bytes: u64,
    pub(super) end_of_input: bool,
    pub(super) fatal_error: Option<String>,
    pub(super) parse_errors: ErrorList,
    pub(super) transport_errors: ErrorList,
    pub(super) progress: Progress,
    /// What steps have taken up.
    pub(super) stepped_records: u64,
    pub(super) stepped_bytes: u64,
    /// Behind the last row that a step has taken up; null if that is inside a chunk, so that the
    /// transport cannot go on from there, and before the first row.
    pub(super) stepped_position: Value,
    /// A step has taken up a part of a chunk.
    pub(super) is_at_barrier: bool,
    /// `(stepped_records, step)` after each step that took some: what tokens are looked up in.
    /// Steps that are completed are dropped, but for the last one.
    stepped: VecDeque<(u64, u64)>,
}

pub(super) enum InputKind {
    /// Never ends, and does not count for `pipeline_complete`.
    Http,
    Connector {
        labels: Vec<String>,
        start_after: Vec<String>,
        is_started: bool,
    },
}

/// What a step takes of one input.
#[derive(Default)]
pub(super) struct TakenUp {
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// Behind the last row.
    pub(super) position: Value,
    /// Of which the gate has not been told.
    pub(super) held_records: u64,
    pub(super) held_bytes: u64,
}

/// Rows in the queue.
pub(super) struct QueuedPiece {
    pub(super) endpoint: EndpointId,
    pub(super) table: usize,
    pub(super) changes: TableInput,
    pub(super) bytes: u64,
    /// Null inside a chunk, and of HTTP inputs.
    pub(super) position: Value,
    pub(super) arrived: Duration,
    /// The gate has been told: the queue's bound no longer counts this piece.
    pub(super) released: bool,
}

/// The last messages of one kind, and how many there were.
#[derive(Default)]
pub(super) struct ErrorList {
    pub(super) total: u64,
    pub(super) last: VecDeque<ConnectorError>,
}

impl ErrorList {
    pub(super) fn push(&mut self, message: String, timestamp: DateTime<Utc>) {
        if self.last.len() == ERRORS_KEPT_MAX {
            self.last.pop_front();
        }
        self.last.push_back(ConnectorError {
            timestamp,
            index: self.total,
            tag: None,
            message,
        });
        self.total += 1;
    }

    pub(super) fn list(&self) -> Vec<ConnectorError> {
        self.last.iter().cloned().collect()
    }
}

impl Input {
    pub(super) fn new(name: String, table: usize, gate: Arc<Gate>, kind: InputKind) -> Self {
        Self {
            name,
            table,
            gate,
            kind,
            paused: false,
            total_records: 0,
            restored_records: 0,
            total_bytes: 0,
            buffered_records: 0,
            buffered_bytes: 0,
            end_of_input: false,
            fatal_error: None,
            parse_errors: ErrorList::default(),
            transport_errors: ErrorList::default(),
            progress: Progress::default(),
            stepped_records: 0,
            stepped_bytes: 0,
            stepped_position: Value::Null,
            is_at_barrier: false,
            stepped: VecDeque::new(),
        }
    }

    /// Notes what a step has taken up.
    pub(super) fn note_step(&mut self, step: u64, completed: u64, taken: TakenUp) {
        self.buffered_records -= taken.records;
        self.buffered_bytes -= taken.bytes;
        self.stepped_records += taken.records;
        self.stepped_bytes += taken.bytes;
        self.is_at_barrier = taken.position.is_null() && !self.is_http();
        self.stepped_position = taken.position;
        self.stepped.push_back((self.stepped_records, step));
        while self
            .stepped
            .get(1)
            .is_some_and(|&(_, next)| next <= completed)
        {
            self.stepped.pop_front();
        }
    }

    /// All records so far are in steps up to this one, which are completed.
    pub(super) fn note_restored(&mut self, step: u64) {
        self.stepped.push_back((self.stepped_records, step));
    }

    /// The step that took up this endpoint's record number `records`, or a later one that is
    /// completed; none if the record is queued.
    fn step_of(&self, records: u64) -> Option<u64> {
        if records == 0 {
            return Some(0);
        }
        let at = self
            .stepped
            .partition_point(|&(stepped, _)| stepped < records);
        self.stepped.get(at).map(|&(_, step)| step)
    }

    pub(super) fn is_http(&self) -> bool {
        matches!(self.kind, InputKind::Http)
    }
}

impl Controller {
    /// Adds an input connector; its transport starts with an [`Action::StartInput`].
    pub fn add_input(&mut self, new: NewInput) -> EndpointId {
        let id = self.new_endpoint();
        let kind = InputKind::Connector {
            labels: new.labels,
            start_after: new.start_after,
            is_started: false,
        };
        let mut input = Input::new(new.name, new.table, new.gate, kind);
        input.paused = new.paused;
        self.inputs.insert(id, input);
        id
    }

    /// Starts the transports that wait for nothing (any more).
    pub(super) fn start_inputs(&mut self, actions: &mut Vec<Action>) {
        let has_ended = |label: &String| {
            let mut labelled = self.inputs.values().filter(
                |input| matches!(&input.kind, InputKind::Connector { labels, .. } if labels.contains(label)),
            );
            labelled.all(|input| input.end_of_input)
        };
        let is_due = |input: &Input| match &input.kind {
            InputKind::Http => false,
            InputKind::Connector {
                start_after,
                is_started,
                ..
            } => !is_started && start_after.iter().all(has_ended),
        };
        let inputs = self.inputs.iter();
        let due: Vec<EndpointId> = inputs
            .filter(|(_, input)| is_due(input))
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            if let Some(Input {
                kind: InputKind::Connector { is_started, .. },
                ..
            }) = self.inputs.get_mut(&id)
            {
                *is_started = true;
                actions.push(Action::StartInput(id));
            }
        }
    }

    pub(super) fn input(&mut self, piece: InputPiece, now: Moment, actions: &mut Vec<Action>) {
        let Some(input) = self.inputs.get_mut(&piece.endpoint) else {
            return;
        };
        let records = piece.changes.len() as u64;
        input.total_records += records;
        input.total_bytes += piece.bytes;
        input.progress = piece.progress;
        let errors = piece.errors;
        let unlisted = errors.total - errors.first.len() as u64;
        for error in errors.first {
            input.parse_errors.push(error.to_string(), now.wall);
        }
        input.parse_errors.total += unlisted;
        self.steps.total_input_records += records;
        self.steps.total_input_bytes += piece.bytes;
        let gate = input.gate.clone();
        if records == 0 || self.check_alive().is_err() {
            self.steps.bytes_without_records(piece.bytes);
            self.move_position(piece.endpoint, piece.position, piece.bytes);
            actions.push(Action::Release {
                gate,
                records,
                bytes: piece.bytes,
            });
            return;
        }
        let Some(input) = self.inputs.get_mut(&piece.endpoint) else {
            return;
        };
        input.buffered_records += records;
        input.buffered_bytes += piece.bytes;
        let table = input.table;
        self.steps.buffered_records += records;
        self.steps.buffered_bytes += piece.bytes;
        let released = self.transaction_takes(records, piece.bytes);
        if released {
            actions.push(Action::Release {
                gate,
                records,
                bytes: piece.bytes,
            });
        }
        self.queue.push_back(QueuedPiece {
            endpoint: piece.endpoint,
            table,
            changes: piece.changes,
            bytes: piece.bytes,
            position: piece.position,
            arrived: now.elapsed,
            released,
        });
        self.queued_pieces += 1;
    }

    /// What an input read without finding a row in it moves its position too: behind the rows that
    /// were read before.
    fn move_position(&mut self, endpoint: EndpointId, position: Value, bytes: u64) {
        if position.is_null() {
            return;
        }
        let mut queued = self.queue.iter_mut().rev();
        let last = queued.find(|piece| piece.endpoint == endpoint);
        if let Some(last) = last {
            last.position = position;
        } else if let Some(input) = self.inputs.get_mut(&endpoint) {
            input.stepped_position = position;
            input.stepped_bytes += bytes;
            input.is_at_barrier = false;
        }
    }

    /// Makes room at the gates for more than what is queued.
    pub(super) fn release_queue(&mut self, actions: &mut Vec<Action>) {
        for piece in self.queue.iter_mut().filter(|piece| !piece.released) {
            if let Some(input) = self.inputs.get(&piece.endpoint) {
                piece.released = true;
                actions.push(Action::Release {
                    gate: input.gate.clone(),
                    records: piece.changes.len() as u64,
                    bytes: piece.bytes,
                });
            }
        }
    }

    pub(super) fn input_warning(&mut self, endpoint: EndpointId, message: String, now: Moment) {
        if let Some(input) = self.inputs.get_mut(&endpoint) {
            input.transport_errors.push(message, now.wall);
        }
    }

    pub(super) fn end_of_input(&mut self, endpoint: EndpointId, actions: &mut Vec<Action>) {
        if let Some(input) = self.inputs.get_mut(&endpoint) {
            input.end_of_input = true;
        }
        if self.check_alive().is_ok() {
            self.start_inputs(actions);
        }
    }

    pub(super) fn input_failed(&mut self, endpoint: EndpointId, message: String, now: Moment) {
        if let Some(input) = self.inputs.get_mut(&endpoint) {
            input.transport_errors.push(message.clone(), now.wall);
            input.fatal_error = Some(message);
        }
    }

    pub(super) fn set_input_paused(
        &mut self,
        name: &str,
        paused: bool,
        actions: &mut Vec<Action>,
    ) -> Result<()> {
        self.check_alive()?;
        let id = self.find_input(name)?;
        if let Some(input) = self.inputs.get_mut(&id) {
            input.paused = paused;
        }
        self.update_gates(actions);
        Ok(())
    }

    /// Tells each input whether it may read.
    pub(super) fn update_gates(&self, actions: &mut Vec<Action>) {
        let is_running = self.state == State::Running;
        for input in self.inputs.values() {
            actions.push(Action::SetPaused {
                gate: input.gate.clone(),
                paused: input.paused || !is_running,
            });
        }
    }

    pub(super) fn open_http_input(
        &mut self,
        name: String,
        table: usize,
        gate: Arc<Gate>,
    ) -> Result<HttpEndpoint> {
        self.check_alive()?;
        let known = self.inputs.iter().find(|(_, input)| input.name == name);
        if let Some((&id, input)) = known {
            let gate = input.gate.clone();
            return Ok(HttpEndpoint { id, gate });
        }
        if self.checkpoints.is_suspending() {
            return Err(Error::Stopped);
        }
        gate.set_paused(self.state != State::Running);
        let id = self.new_endpoint();
        let input = Input::new(name, table, gate.clone(), InputKind::Http);
        self.inputs.insert(id, input);
        Ok(HttpEndpoint { id, gate })
    }

    pub(super) fn find_input(&self, name: &str) -> Result<EndpointId> {
        let mut inputs = self.inputs.iter();
        let found = inputs.find(|(_, input)| input.name == name);
        found
            .map(|(&id, _)| id)
            .ok_or_else(|| Error::UnknownEndpoint {
                name: name.to_owned(),
                known: self
                    .inputs
                    .values()
                    .map(|input| input.name.clone())
                    .collect(),
            })
    }

    pub(super) fn token(&self, endpoint: &TokenEndpoint) -> Result<String> {
        self.check_alive()?;
        let id = match endpoint {
            TokenEndpoint::Id(id) => *id,
            TokenEndpoint::Name(name) => self.find_input(name)?,
        };
        let input = self.inputs.get(&id).ok_or(Error::UnknownTokenEndpoint)?;
        let token = Token {
            incarnation: self.incarnation,
            endpoint: id.0,
            records: input.total_records,
        };
        Ok(token.encode())
    }

    /// The step that took up a token's records (none while they are queued), and whether it is
    /// completed.
    ///
    /// # Errors
    /// If the token is not one of this run, or the pipeline has ended.
    pub fn completion(&self, token: &str) -> Result<(Option<u64>, bool)> {
        let token = Token::decode(token)?;
        if token.incarnation != self.incarnation {
            return Err(Error::OtherIncarnation);
        }
        self.check_alive()?;
        let input = self
            .inputs
            .get(&EndpointId(token.endpoint))
            .ok_or(Error::UnknownTokenEndpoint)?;
        let step = input.step_of(token.records);
        let is_complete = step.is_some_and(|step| step <= self.steps.completed);
        Ok((step, is_complete))
    }

    /// The progress of each input connector, in order of their names.
    pub fn progress(&self) -> Vec<InputProgress> {
        let connectors = self.inputs.values().filter(|input| !input.is_http());
        let mut progress: Vec<InputProgress> = connectors
            .map(|input| InputProgress {
                name: input.name.clone(),
                records: input.total_records,
                restored_records: input.restored_records,
                progress: input.progress,
                end_of_input: input.end_of_input,
                fatal_error: input.fatal_error.clone(),
                parse_errors: input.parse_errors.total,
                first_parse_error: input
                    .parse_errors
                    .last
                    .front()
                    .map(|error| error.message.clone()),
            })
            .collect();
        progress.sort_by(|left, right| left.name.cmp(&right.name));
        progress
    }
}
