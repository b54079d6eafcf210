//! The pipeline's part of a checkpoint: made of a controller, and put into a new one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_circuit::bootstrap::ViewContents;
use highwater_circuit::dataflow::{RelationRef, StepOutput};

use highwater_types::record::{
    PipelineRecord, RECORD_VERSION, RecordedCounters, RecordedErrors, RecordedInput, RecordedOutput,
};

use super::Controller;
use super::inputs::{ErrorList, Input, InputKind};
use super::outputs::Output;
use crate::contents::Contents;
use crate::event::Action;
use crate::gate::Gate;
use crate::moment::Moment;

impl Controller {
    /// What is known of the inputs, as of the steps that were submitted.
    pub(super) fn recorded_inputs(&self) -> BTreeMap<String, RecordedInput> {
        let inputs = self.inputs.values();
        inputs
            .map(|input| (input.name.clone(), self.recorded_input(input)))
            .collect()
    }

    fn recorded_input(&self, input: &Input) -> RecordedInput {
        let table = &self.definition.tables[input.table];
        RecordedInput {
            table: table.input.relation().name.clone(),
            is_http: input.is_http(),
            position: input.stepped_position.clone(),
            end_of_input: input.end_of_input && input.buffered_records == 0,
            paused: input.paused,
            total_records: input.stepped_records,
            total_bytes: input.stepped_bytes,
            parse_errors: recorded_errors(&input.parse_errors),
            transport_errors: recorded_errors(&input.transport_errors),
        }
    }

    /// The record of a step that is processed. Outputs are added when they are durable.
    pub(super) fn record(
        &self,
        step: u64,
        inputs: &BTreeMap<String, RecordedInput>,
        now: Moment,
    ) -> PipelineRecord {
        // An output that has failed stays where it was.
        let outputs = self.outputs.values().filter(|output| output.is_connector());
        PipelineRecord {
            version: RECORD_VERSION,
            name: self.settings.name.clone(),
            hash_seed: self.settings.hash_seed,
            workers: self.settings.workers,
            steps: step,
            last_transaction_id: self.transaction.last_id(),
            initial_start_time: self.initial_start_time,
            taken_at: now.wall,
            counters: RecordedCounters {
                processed_records: self.steps.processed_records,
                processed_bytes: self.steps.processed_bytes,
            },
            program: self.definition.recorded_program(),
            inputs: inputs.clone(),
            outputs: outputs
                .map(|output| (output.name.clone(), output.recorded()))
                .collect(),
        }
    }

    /// Makes this controller go on where a record was taken: its connectors were added, and it has not
    /// begun. HTTP inputs come back with their counters; `gate` makes a gate for one.
    pub fn restore(&mut self, record: &PipelineRecord, gate: &mut dyn FnMut() -> Arc<Gate>) {
        self.initial_start_time = record.initial_start_time;
        self.transaction.set_last_id(record.last_transaction_id);
        self.steps.restore(record.steps, record.counters);
        self.checkpoints.note_restored(record);
        for (name, recorded) in &record.inputs {
            let tables = self.definition.tables.iter();
            let table = tables
                .map(|table| &table.input.relation().name)
                .position(|name| *name == recorded.table);
            let Some(table) = table else {
                continue;
            };
            let known = self.inputs.values_mut().find(|input| input.name == *name);
            if let Some(input) = known {
                input.restore(recorded, record.steps);
            } else if recorded.is_http {
                let id = self.new_endpoint();
                let mut input = Input::new(name.clone(), table, gate(), InputKind::Http);
                input.restore(recorded, record.steps);
                self.inputs.insert(id, input);
            }
        }
        for output in self.outputs.values_mut() {
            if let Some(recorded) = record.outputs.get(&output.name) {
                output.restore(recorded);
            }
        }
    }

    /// Starts where the record was taken: publishes what the restored circuit holds, then the inputs
    /// start.
    pub fn begin_restored(&mut self, contents: Contents, now: Moment) -> Vec<Action> {
        let mut actions = Vec::new();
        self.contents = Arc::new(contents);
        actions.push(Action::Publish(self.contents.clone()));
        actions.push(Action::Sent {
            step: self.contents.step(),
        });
        self.checkpoints.start_timer(now.elapsed);
        self.start_inputs(&mut actions);
        actions
    }
}

impl Controller {
    /// The program is not the one of the checkpoint: another one is taken soon, so that what is computed
    /// anew now is not computed again.
    pub(crate) fn note_changed_program(&mut self, now: Moment) {
        self.checkpoints.forget_last(now.elapsed);
    }

    /// The relations of outputs that the record does not know.
    pub(crate) fn outputs_not_in(&self, record: &PipelineRecord) -> Vec<RelationRef> {
        let outputs = self.outputs.values();
        let unknown = outputs.filter(|output| !record.outputs.contains_key(&output.name));
        unknown.map(|output| output.relation).collect()
    }

    /// One more step has been made, without input: what is new has its state, and outputs that begin
    /// anew get the contents of their views.
    pub(crate) fn bootstrapped(
        &mut self,
        contents: ViewContents,
        record: &PipelineRecord,
        busy: Duration,
        actions: &mut Vec<Action>,
    ) {
        let step = self.begin_step_without_input();
        let output = StepOutput {
            epoch: step,
            changes: Vec::new(),
            contents: Vec::new(),
        };
        self.step_done(output, busy, actions);
        for (view, deltas) in contents {
            let is_anew = |name: &str| !record.outputs.contains_key(name);
            self.send_to_outputs(step, view, &deltas, &is_anew, actions);
        }
        self.complete_steps();
    }
}

impl Input {
    fn restore(&mut self, recorded: &RecordedInput, step: u64) {
        self.total_records = recorded.total_records;
        self.restored_records = recorded.total_records;
        self.total_bytes = recorded.total_bytes;
        self.stepped_records = recorded.total_records;
        self.stepped_bytes = recorded.total_bytes;
        self.stepped_position = recorded.position.clone();
        self.end_of_input = recorded.end_of_input;
        self.paused = recorded.paused;
        self.parse_errors = error_list(&recorded.parse_errors);
        self.transport_errors = error_list(&recorded.transport_errors);
        self.note_restored(step);
        if let InputKind::Connector { is_started, .. } = &mut self.kind {
            *is_started = recorded.end_of_input;
        }
    }
}

impl Output {
    /// As of the last change that is durable.
    pub(super) fn recorded(&self) -> RecordedOutput {
        RecordedOutput {
            position: self.position.clone(),
            transmitted_records: self.transmitted_records,
            transmitted_bytes: self.transmitted_bytes,
            encode_errors: recorded_errors(&self.encode_errors),
            transport_errors: recorded_errors(&self.transport_errors),
        }
    }

    fn restore(&mut self, recorded: &RecordedOutput) {
        self.position = recorded.position.clone();
        self.transmitted_records = recorded.transmitted_records;
        self.transmitted_bytes = recorded.transmitted_bytes;
        self.encode_errors = error_list(&recorded.encode_errors);
        self.transport_errors = error_list(&recorded.transport_errors);
    }
}

fn recorded_errors(errors: &ErrorList) -> RecordedErrors {
    RecordedErrors {
        total: errors.total,
        last: errors.list(),
    }
}

fn error_list(recorded: &RecordedErrors) -> ErrorList {
    ErrorList {
        total: recorded.total,
        last: recorded.last.iter().cloned().collect(),
    }
}
