//! Steps: when one is due, what it takes up, and what its end means.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use highwater_circuit::dataflow::StepOutput;
use highwater_types::record::RecordedCounters;

use super::inputs::TakenUp;
use super::{Controller, State};
use crate::event::{Action, EndpointId};
use crate::moment::Moment;

/// Counters of steps and of the records in them.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) initiated: u64,
    pub(super) processed: u64,
    pub(super) completed: u64,
    pub(super) in_flight: VecDeque<StepRecords>,
    /// Processed, but not delivered by every output; ascending.
    undelivered: VecDeque<StepRecords>,
    pub(super) total_input_records: u64,
    pub(super) total_input_bytes: u64,
    pub(super) buffered_records: u64,
    pub(super) buffered_bytes: u64,
    pub(super) processed_records: u64,
    pub(super) processed_bytes: u64,
    pub(super) completed_records: u64,
    pub(super) busy: Duration,
    stalled_since: Option<Duration>,
    pub(super) stalled: Duration,
}

/// How much a step takes up.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepSize {
    pub(super) rows_max: u64,
    pub(super) bytes_max: u64,
}

impl StepSize {
    /// Everything that is queued.
    pub(super) const ALL: Self = Self {
        rows_max: u64::MAX,
        bytes_max: u64::MAX,
    };

    fn has_room(self, rows: u64, bytes: u64) -> bool {
        rows < self.rows_max && bytes < self.bytes_max
    }
}

/// What a step took up.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepRecords {
    pub(super) step: u64,
    records: u64,
    bytes: u64,
}

impl Steps {
    /// Goes on behind a step that was recorded.
    pub(super) fn restore(&mut self, step: u64, counters: RecordedCounters) {
        self.initiated = step;
        self.processed = step;
        self.completed = step;
        self.total_input_records = counters.processed_records;
        self.processed_records = counters.processed_records;
        self.completed_records = counters.processed_records;
        self.total_input_bytes = counters.processed_bytes;
        self.processed_bytes = counters.processed_bytes;
    }

    /// Input that held no good row is processed as it arrives.
    pub(super) fn bytes_without_records(&mut self, bytes: u64) {
        self.processed_bytes += bytes;
    }
}

impl Controller {
    /// Submits the steps that are due.
    pub(super) fn step_if_due(&mut self, now: Moment, actions: &mut Vec<Action>) {
        self.complete_steps();
        self.note_stall(now);
        while self.is_step_due(now) {
            self.submit_step(self.step_size(), actions);
        }
    }

    fn step_size(&self) -> StepSize {
        StepSize {
            rows_max: self.settings.step_rows_max as u64,
            bytes_max: self.settings.step_bytes_max,
        }
    }

    fn is_step_due(&self, now: Moment) -> bool {
        if !self.may_step() || self.is_any_output_full() {
            return false;
        }
        if self.steps.in_flight.is_empty() {
            let is_enough = self.steps.buffered_records >= self.settings.batch_records_min
                || self.checkpoint_wants_step();
            return is_enough
                || self
                    .buffering_deadline()
                    .is_some_and(|due| due <= now.elapsed);
        }
        let is_backlog = !self
            .step_size()
            .has_room(self.steps.buffered_records, self.steps.buffered_bytes);
        is_backlog && self.steps.in_flight.len() < self.settings.steps_in_flight_max
    }

    /// True if there is something to step and nothing forbids it, outputs apart.
    fn may_step(&self) -> bool {
        (self.state == State::Running || self.checkpoints.is_suspending())
            && !self.transaction.is_gathering()
            && !self.queue.is_empty()
    }

    /// When the oldest queued row has waited long enough for others.
    pub(super) fn buffering_deadline(&self) -> Option<Duration> {
        if !self.may_step() || !self.steps.in_flight.is_empty() {
            return None;
        }
        let oldest = self.queue.front()?;
        Some(oldest.arrived + self.settings.buffering_delay_max)
    }

    fn note_stall(&mut self, now: Moment) {
        let is_stalled = self.may_step() && self.is_any_output_full();
        match (self.steps.stalled_since, is_stalled) {
            (None, true) => self.steps.stalled_since = Some(now.elapsed),
            (Some(since), false) => {
                self.steps.stalled += now.elapsed.saturating_sub(since);
                self.steps.stalled_since = None;
            }
            _ => {}
        }
    }

    /// Submits a step of whole pieces until it is full; returns its number.
    pub(super) fn submit_step(&mut self, size: StepSize, actions: &mut Vec<Action>) -> u64 {
        self.steps.initiated += 1;
        let step = self.steps.initiated;
        let mut taken = StepRecords {
            step,
            records: 0,
            bytes: 0,
        };
        let mut inputs = Vec::new();
        let mut by_endpoint: BTreeMap<EndpointId, TakenUp> = BTreeMap::new();
        while size.has_room(taken.records, taken.bytes) {
            let Some(piece) = self.queue.pop_front() else {
                break;
            };
            let records = piece.changes.len() as u64;
            taken.records += records;
            taken.bytes += piece.bytes;
            let sums = by_endpoint.entry(piece.endpoint).or_default();
            sums.records += records;
            sums.bytes += piece.bytes;
            sums.position = piece.position;
            if !piece.released {
                sums.held_records += records;
                sums.held_bytes += piece.bytes;
            }
            inputs.push((piece.table, piece.changes));
        }
        self.steps.buffered_records -= taken.records;
        self.steps.buffered_bytes -= taken.bytes;
        self.steps.in_flight.push_back(taken);
        actions.push(Action::Submit { step, inputs });
        for (endpoint, taken) in by_endpoint {
            let Some(input) = self.inputs.get_mut(&endpoint) else {
                continue;
            };
            if taken.held_records > 0 {
                actions.push(Action::Release {
                    gate: input.gate.clone(),
                    records: taken.held_records,
                    bytes: taken.held_bytes,
                });
            }
            input.note_step(step, self.steps.completed, taken);
        }
        step
    }

    /// A step that was made before there was a controller; its number.
    pub(super) fn begin_step_without_input(&mut self) -> u64 {
        self.steps.initiated += 1;
        let step = self.steps.initiated;
        self.steps.in_flight.push_back(StepRecords {
            step,
            records: 0,
            bytes: 0,
        });
        step
    }

    /// The oldest step in flight is done: publishes its contents and hands out its changes.
    pub(super) fn step_done(
        &mut self,
        output: StepOutput,
        busy: Duration,
        actions: &mut Vec<Action>,
    ) {
        let Some(done) = self.steps.in_flight.pop_front() else {
            return;
        };
        if self.check_alive().is_err() {
            return;
        }
        self.steps.processed = done.step;
        self.steps.processed_records += done.records;
        self.steps.processed_bytes += done.bytes;
        self.steps.busy += busy;
        self.steps.undelivered.push_back(done);
        self.contents = Arc::new(self.contents.after(done.step, output.contents));
        actions.push(Action::Publish(self.contents.clone()));
        self.send_changes(done.step, output.changes, actions);
        actions.push(Action::Sent { step: done.step });
        self.transaction.step_done(done.step);
    }

    /// Records in all steps up to this processed one.
    pub(super) fn records_up_to(&self, step: u64) -> u64 {
        let undelivered = self.steps.undelivered.iter();
        let later: u64 = undelivered
            .filter(|undelivered| undelivered.step <= step)
            .map(|undelivered| undelivered.records)
            .sum();
        self.steps.completed_records + later
    }

    /// Counts the steps that all outputs have delivered.
    pub(super) fn complete_steps(&mut self) {
        let delivered = self.delivered_step();
        while let Some(&step) = self.steps.undelivered.front() {
            if step.step > delivered {
                break;
            }
            self.steps.completed = step.step;
            self.steps.completed_records += step.records;
            self.steps.undelivered.pop_front();
        }
    }
}
