//! A controller whose engine, inputs and outputs are the test.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::DateTime;
use highwater_circuit::dataflow::{CircuitState, RelationRef, StepOutput};
use highwater_circuit::plan::{NodeIndex, Plan, TableDefinition, ViewDefinition};
use highwater_circuit::table_input::TableInput;
use highwater_connectors::error::RowErrors;
use highwater_connectors::input::Progress;
use highwater_connectors::table::InputTable;
use highwater_types::checkpoint::CheckpointMetadata;
use highwater_types::record::PipelineRecord;
use highwater_types::relation::{self, ColumnType, Relation, SqlType};
use highwater_zset::{Delta, Snapshot};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::controller::*;
use crate::definition::{TableSetup, ViewSetup};
use crate::event::{FollowRequest, HttpEndpoint, InputPiece, OutputMessage, Reply, TokenEndpoint};
use crate::gate::Gate;

pub(super) fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]))
}

fn relation(name: &str) -> Relation {
    Relation {
        name: name.to_owned(),
        case_sensitive: false,
        fields: vec![relation::Field {
            name: "a".to_owned(),
            case_sensitive: false,
            columntype: ColumnType {
                sql_type: SqlType::BigInt,
                nullable: true,
                precision: None,
                scale: None,
                component: None,
                fields: None,
                key: None,
                value: None,
            },
            default: None,
            unused: false,
        }],
        materialized: true,
        primary_key: None,
        properties: Default::default(),
    }
}

/// Tables `t0`, `t1`; views `v0` (materialized), `v1` (not).
fn definition() -> Definition {
    let table = |index: usize| TableDefinition {
        name: format!("t{index}"),
        schema: schema(),
        primary_key: Vec::new(),
        node: NodeIndex(index),
        contents: Some(NodeIndex(index)),
    };
    let view = |index: usize, contents| ViewDefinition {
        name: format!("v{index}"),
        schema: schema(),
        node: NodeIndex(index),
        contents,
    };
    let plan = Plan {
        nodes: Vec::new(),
        tables: vec![table(0), table(1)],
        views: vec![view(0, Some(NodeIndex(0))), view(1, None)],
    };
    let setup = |name: &str| TableSetup {
        input: InputTable::new(relation(name), schema(), Vec::new()).unwrap(),
        append_only: false,
        connectors: Vec::new(),
    };
    let view_setup = |name: &str| ViewSetup {
        relation: relation(name),
        connectors: Vec::new(),
    };
    Definition {
        plan: Arc::new(plan),
        tables: vec![setup("t0"), setup("t1")],
        views: vec![view_setup("v0"), view_setup("v1")],
    }
}

fn rows(count: i64) -> RecordBatch {
    let column = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_new(schema(), vec![column]).unwrap()
}

/// A controller whose engine is the test.
pub(super) struct Bench {
    pub(super) controller: Controller,
    pub(super) now: Duration,
    /// Steps submitted and not answered: number, table, rows.
    pub(super) submitted: VecDeque<(u64, Vec<(usize, usize)>)>,
    pub(super) released: u64,
    pub(super) published: u64,
    pub(super) started: Vec<EndpointId>,
    pub(super) finished: bool,
    /// Snapshots that were asked for, and checkpoints that were to be written and published.
    pub(super) snapshots: usize,
    pub(super) writes: usize,
    pub(super) records: Vec<PipelineRecord>,
    pub(super) abandoned: usize,
    pub(super) held: Option<bool>,
}

impl Bench {
    pub(super) fn new(settings: Settings) -> Self {
        let mut bench = Self::before_begin(settings);
        bench.begin();
        bench
    }

    pub(super) fn before_begin(settings: Settings) -> Self {
        let moment = Moment {
            elapsed: Duration::ZERO,
            wall: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        };
        Self {
            controller: Controller::new(
                Arc::new(definition()),
                settings,
                Uuid::nil(),
                moment,
                true,
            ),
            now: Duration::ZERO,
            submitted: VecDeque::new(),
            released: 0,
            published: 0,
            started: Vec::new(),
            finished: false,
            snapshots: 0,
            writes: 0,
            records: Vec::new(),
            abandoned: 0,
            held: None,
        }
    }

    /// The first step is answered, the pipeline runs.
    pub(super) fn begin(&mut self) {
        let first = StepOutput {
            epoch: 0,
            changes: Vec::new(),
            contents: Vec::new(),
        };
        let actions = self
            .controller
            .begin(first, Duration::from_millis(2), self.moment());
        self.perform(actions);
        self.request(|reply| Request::SetRunning(true, reply))
            .unwrap();
    }

    pub(super) fn moment(&self) -> Moment {
        let wall = DateTime::from_timestamp(1_700_000_000, 0).unwrap() + self.now;
        Moment {
            elapsed: self.now,
            wall,
        }
    }

    pub(super) fn apply(&mut self, event: Event) {
        let actions = self.controller.apply(self.moment(), event);
        self.perform(actions);
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Submit { step, inputs } => {
                    let rows = inputs.iter().map(|(table, input)| (*table, input.len()));
                    self.submitted.push_back((step, rows.collect()));
                }
                Action::Publish(contents) => self.published = contents.step(),
                Action::Send { sender, message } => drop(sender.send(message)),
                Action::Sent { step } => assert_eq!(step, self.published, "published before sent"),
                Action::Release {
                    gate,
                    records,
                    bytes,
                } => {
                    self.released += records;
                    gate.release(records, bytes);
                }
                Action::SetPaused { gate, paused } => gate.set_paused(paused),
                Action::StartInput(endpoint) => self.started.push(endpoint),
                Action::Close(gate) => gate.close(),
                Action::StopEngine => {}
                Action::Hold { held, .. } => self.held = Some(held),
                Action::Snapshot => self.snapshots += 1,
                Action::WriteCheckpoint(_) => self.writes += 1,
                Action::PublishCheckpoint(record) => self.records.push(*record),
                Action::AbandonCheckpoint => self.abandoned += 1,
                Action::Finish => self.finished = true,
            }
        }
    }

    pub(super) fn request<T>(&mut self, request: impl FnOnce(Reply<T>) -> Request) -> T {
        let (reply, mut answer) = oneshot::channel();
        self.apply(Event::Request(request(reply)));
        answer.try_recv().unwrap()
    }

    pub(super) fn open(&mut self, name: &str, table: usize) -> EndpointId {
        let gate = Arc::new(Gate::new(1_000, 1_000_000, false));
        let HttpEndpoint { id, .. } = self
            .request(|reply| Request::OpenHttpInput {
                name: name.to_owned(),
                table,
                gate,
                reply,
            })
            .unwrap();
        id
    }

    pub(super) fn push(&mut self, endpoint: EndpointId, count: i64) {
        self.push_with(endpoint, count, RowErrors::default());
    }

    pub(super) fn push_with(&mut self, endpoint: EndpointId, count: i64, errors: RowErrors) {
        self.apply(Event::Input(InputPiece {
            endpoint,
            changes: TableInput::insertions(rows(count)),
            errors,
            bytes: 10 * count as u64,
            position: Value::Null,
            progress: Progress::default(),
        }));
    }

    /// A piece of a connector, which is at `position` then.
    pub(super) fn push_at(&mut self, endpoint: EndpointId, count: i64, position: Value) {
        self.apply(Event::Input(InputPiece {
            endpoint,
            changes: TableInput::insertions(rows(count)),
            errors: RowErrors::default(),
            bytes: 10 * count as u64,
            position,
            progress: Progress::default(),
        }));
    }

    pub(super) fn checkpoint(&mut self) -> Result<u64> {
        self.request(Request::Checkpoint)
    }

    /// The engine's answer to a snapshot.
    pub(super) fn snapshot(&mut self) {
        self.apply(Event::SnapshotTaken(CircuitState {
            epoch: 0,
            hasher: highwater_zset::RowHasher::new(0),
            workers: Vec::new(),
        }));
    }

    pub(super) fn written(&mut self) {
        let written = Written {
            bytes: 100,
            files: 1,
        };
        self.apply(Event::CheckpointWritten(Ok(written)));
    }

    pub(super) fn published(&mut self) {
        self.apply(Event::CheckpointPublished(Ok(CheckpointMetadata {
            uuid: Uuid::nil(),
            identifier: None,
            fingerprint: 0,
            size: None,
            steps: None,
            processed_records: None,
        })));
    }

    /// Everything between a snapshot and its publication.
    pub(super) fn finish_checkpoint(&mut self) {
        self.snapshot();
        self.written();
        self.published();
    }

    /// Answers the oldest step: it changed nothing.
    pub(super) fn answer(&mut self) {
        self.answer_with(Vec::new(), Vec::new());
    }

    pub(super) fn answer_with(
        &mut self,
        changes: Vec<(usize, Vec<Delta>)>,
        contents: Vec<(RelationRef, Vec<Snapshot>)>,
    ) {
        let (step, _) = self.submitted.pop_front().unwrap();
        let output = StepOutput {
            epoch: step,
            changes,
            contents,
        };
        let busy = Duration::from_millis(2);
        self.apply(Event::StepDone { output, busy });
    }

    pub(super) fn stats(&self) -> highwater_types::stats::PipelineStats {
        self.controller.stats(self.moment(), true)
    }

    pub(super) fn token(&mut self, endpoint: EndpointId) -> String {
        self.request(|reply| Request::Token {
            endpoint: TokenEndpoint::Id(endpoint),
            reply,
        })
        .unwrap()
    }

    pub(super) fn follow(
        &mut self,
        relation: RelationRef,
        send_snapshot: bool,
        backpressure: bool,
    ) -> Result<(EndpointId, UnboundedReceiver<OutputMessage>)> {
        let (sender, receiver) = unbounded_channel();
        let (id, _) = self.request(|reply| {
            Request::Follow(FollowRequest {
                name: "follower".to_owned(),
                relation,
                send_snapshot,
                backpressure,
                sender,
                reply,
            })
        })?;
        Ok((id, receiver))
    }
}

pub(super) fn one_row() -> Vec<Delta> {
    vec![Delta::insertions(rows(1))]
}

pub(super) fn changed_step(message: OutputMessage) -> u64 {
    match message {
        OutputMessage::Changes { step, .. } => step,
        other => panic!("no changes: {other:?}"),
    }
}
