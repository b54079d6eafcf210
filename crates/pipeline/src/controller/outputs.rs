//! Outputs: connectors and followers, what they have been sent and what they have delivered.

use std::collections::VecDeque;

use highwater_circuit::dataflow::RelationRef;
use highwater_zset::Delta;
use serde_json::Value;

use super::Controller;
use super::inputs::ErrorList;
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, FollowRequest, OutputMessage, OutputSender};
use crate::moment::Moment;

/// An output connector to be added before the pipeline begins.
#[derive(Debug)]
pub struct NewOutput {
    /// `view.connector`.
    pub name: String,
    pub relation: RelationRef,
    pub sender: OutputSender,
}

/// A connector or a follower.
pub(super) struct Output {
    pub(super) name: String,
    pub(super) relation: RelationRef,
    sender: OutputSender,
    kind: OutputKind,
    /// Sent, not delivered; ascending.
    pending: VecDeque<Pending>,
    pub(super) queued_records: u64,
    pub(super) queued_bytes: u64,
    pub(super) transmitted_records: u64,
    pub(super) transmitted_bytes: u64,
    pub(super) encode_errors: ErrorList,
    pub(super) transport_errors: ErrorList,
    pub(super) fatal_error: Option<String>,
    /// Behind the last change that is durable.
    pub(super) position: Value,
    /// A follower that came during a transaction starts behind it.
    waits_for_transaction: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutputKind {
    Connector,
    /// Steps wait for it.
    PatientFollower,
    /// It is cut off if it is too slow, and counts as delivered when it is sent to.
    Follower,
}

/// What an output was sent for one step.
#[derive(Clone, Copy, Debug)]
struct Pending {
    step: u64,
    records: u64,
    bytes: u64,
}

impl Output {
    fn new(name: String, relation: RelationRef, sender: OutputSender, kind: OutputKind) -> Self {
        Self {
            name,
            relation,
            sender,
            kind,
            pending: VecDeque::new(),
            queued_records: 0,
            queued_bytes: 0,
            transmitted_records: 0,
            transmitted_bytes: 0,
            encode_errors: ErrorList::default(),
            transport_errors: ErrorList::default(),
            fatal_error: None,
            position: Value::Null,
            waits_for_transaction: false,
        }
    }

    fn note_sent(&mut self, step: u64, records: u64, bytes: u64) {
        self.queued_records += records;
        self.queued_bytes += bytes;
        self.pending.push_back(Pending {
            step,
            records,
            bytes,
        });
    }

    /// The last step that it has delivered, given that `processed` is the last one it knows.
    pub(super) fn delivered_step(&self, processed: u64) -> u64 {
        let first_pending = self.pending.front().filter(|_| self.fatal_error.is_none());
        first_pending.map_or(processed, |pending| pending.step.saturating_sub(1))
    }

    pub(super) fn is_connector(&self) -> bool {
        self.kind == OutputKind::Connector
    }

    pub(super) fn sender(&self) -> OutputSender {
        self.sender.clone()
    }

    pub(super) fn queued_batches(&self) -> u64 {
        self.pending.len() as u64
    }
}

impl Controller {
    /// Adds an output connector.
    pub fn add_output(&mut self, new: NewOutput) -> EndpointId {
        let id = self.new_endpoint();
        let output = Output::new(new.name, new.relation, new.sender, OutputKind::Connector);
        self.outputs.insert(id, output);
        id
    }

    pub(super) fn follow(&mut self, request: FollowRequest, actions: &mut Vec<Action>) {
        let FollowRequest {
            name,
            relation,
            send_snapshot,
            backpressure,
            sender,
            reply,
        } = request;
        if let Err(error) = self.check_follow(relation, send_snapshot) {
            let _ = reply.send(Err(error));
            return;
        }
        let id = self.new_endpoint();
        let kind = if backpressure {
            OutputKind::PatientFollower
        } else {
            OutputKind::Follower
        };
        let mut output = Output::new(name, relation, sender.clone(), kind);
        output.waits_for_transaction = self.transaction.is_open() && !send_snapshot;
        let step = self.contents.step();
        if send_snapshot {
            let contents = self.contents.snapshots(relation);
            actions.push(Action::Send {
                sender,
                message: OutputMessage::Snapshot { step, contents },
            });
        }
        self.outputs.insert(id, output);
        if reply.send(Ok((id, step))).is_err() {
            self.outputs.remove(&id);
        }
    }

    fn check_follow(&self, relation: RelationRef, send_snapshot: bool) -> Result<()> {
        self.check_alive()?;
        if !send_snapshot || self.definition.is_materialized(relation) {
            return Ok(());
        }
        let name = self.definition.relation(relation).map(|it| it.name.clone());
        Err(Error::NotMaterialized {
            relation: name.unwrap_or_default(),
        })
    }

    /// Hands the changes of a step to the outputs of the relations that changed.
    pub(super) fn send_changes(
        &mut self,
        step: u64,
        changes: Vec<(usize, Vec<Delta>)>,
        actions: &mut Vec<Action>,
    ) {
        let is_commit = self.transaction.is_commit(step);
        for (view, deltas) in changes {
            self.send_to_outputs(step, view, &deltas, &|_| true, actions);
        }
        if is_commit {
            for output in self.outputs.values_mut() {
                output.waits_for_transaction = false;
            }
        }
    }

    /// Hands the changes of a view to its outputs, as far as their names are wanted.
    pub(super) fn send_to_outputs(
        &mut self,
        step: u64,
        view: usize,
        deltas: &[Delta],
        is_wanted: &dyn Fn(&str) -> bool,
        actions: &mut Vec<Action>,
    ) {
        let relation = self.definition.relation_of_view(view);
        let records: u64 = deltas.iter().map(changed_records).sum();
        if records == 0 {
            return;
        }
        let is_commit = self.transaction.is_commit(step);
        let mut cut_off = Vec::new();
        let outputs = self.outputs.iter_mut();
        for (&id, output) in outputs.filter(|(_, output)| output.relation == relation) {
            if output.fatal_error.is_some()
                || (is_commit && output.waits_for_transaction)
                || !is_wanted(&output.name)
            {
                continue;
            }
            let is_too_slow = output.kind == OutputKind::Follower
                && output.queued_records > self.settings.follower_queued_records_max;
            if is_too_slow {
                cut_off.push(id);
                continue;
            }
            let bytes = deltas.iter().map(|delta| delta.bytes() as u64).sum();
            output.note_sent(step, records, bytes);
            actions.push(Action::Send {
                sender: output.sender.clone(),
                message: OutputMessage::Changes {
                    step,
                    deltas: deltas.to_vec(),
                },
            });
        }
        for id in cut_off {
            self.cut_off(id, actions);
        }
    }

    fn cut_off(&mut self, id: EndpointId, actions: &mut Vec<Action>) {
        let Some(output) = self.outputs.remove(&id) else {
            return;
        };
        let message = format!(
            "the follower is too slow: more than {} changes were waiting; follow again with send_snapshot=true, or with backpressure=true to make the pipeline wait",
            self.settings.follower_queued_records_max
        );
        actions.push(Action::Send {
            sender: output.sender,
            message: OutputMessage::End {
                error: Some(message),
            },
        });
    }

    pub(super) fn delivered(&mut self, id: EndpointId, step: u64, records: u64, bytes: u64) {
        let Some(output) = self.outputs.get_mut(&id) else {
            return;
        };
        output.transmitted_records += records;
        output.transmitted_bytes += bytes;
        while let Some(&pending) = output.pending.front() {
            if pending.step > step {
                break;
            }
            output.queued_records -= pending.records;
            output.queued_bytes -= pending.bytes;
            output.pending.pop_front();
        }
    }

    pub(super) fn encode_failed(&mut self, id: EndpointId, message: String, now: Moment) {
        if let Some(output) = self.outputs.get_mut(&id) {
            output.encode_errors.push(message, now.wall);
        }
    }

    pub(super) fn output_position(&mut self, id: EndpointId, position: Value) {
        if let Some(output) = self.outputs.get_mut(&id) {
            output.position = position;
        }
    }

    pub(super) fn output_failed(&mut self, id: EndpointId, message: String, now: Moment) {
        if let Some(output) = self.outputs.get_mut(&id) {
            output.transport_errors.push(message.clone(), now.wall);
            output.fatal_error = Some(message);
            output.pending.clear();
            output.queued_records = 0;
            output.queued_bytes = 0;
        }
    }

    pub(super) fn remove_output(&mut self, id: EndpointId) {
        self.outputs.remove(&id);
    }

    pub(super) fn end_outputs(&mut self, error: Option<&str>, actions: &mut Vec<Action>) {
        for output in self.outputs.values() {
            actions.push(Action::Send {
                sender: output.sender.clone(),
                message: OutputMessage::End {
                    error: error.map(str::to_owned),
                },
            });
        }
    }

    /// True if steps must wait for an output.
    pub(super) fn is_any_output_full(&self) -> bool {
        self.outputs.values().any(|output| {
            output.kind != OutputKind::Follower
                && output.queued_records > self.settings.output_queued_records_max
        })
    }

    /// The last step that all outputs have delivered.
    pub(super) fn delivered_step(&self) -> u64 {
        let processed = self.steps.processed;
        let outputs = self.outputs.values();
        outputs
            .filter(|output| output.kind != OutputKind::Follower)
            .map(|output| output.delivered_step(processed))
            .min()
            .unwrap_or(processed)
    }
}

/// Changes in a delta, counting multiplicity.
fn changed_records(delta: &Delta) -> u64 {
    delta
        .weights()
        .iter()
        .map(|weight| weight.unsigned_abs())
        .sum()
}
