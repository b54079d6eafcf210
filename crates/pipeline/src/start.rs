//! Starts a pipeline: opens its connectors at their positions, its circuit with its state, and its
//! threads.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use highwater_circuit::dataflow::{Dataflow, DataflowConfig, RelationRef};
use highwater_connectors::error::TransportError;
use highwater_connectors::input::open_input;
use highwater_connectors::output::OutputConnector;
use highwater_storage::Store;
use highwater_types::connector::{ConfigError, ConnectorConfig};
use highwater_types::record::PipelineRecord;
use highwater_zset::{BlockCache, MemoryBudget, RowHasher, StateFiles};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::checkpoint_thread::{self, CheckpointWriter};
use crate::contents::Published;
use crate::controller::{Controller, NewInput, NewOutput};
use crate::definition::{Definition, ViewSetup, endpoint_name};
use crate::engine;
use crate::error::{Error, Result};
use crate::event::{Action, EndpointId, Event, OutputMessage};
use crate::gate::Gate;
use crate::input_thread::InputPort;
use crate::moment::TimeSource;
use crate::output_thread::{self, OutputWriter};
use crate::performer::{self, Performer, WaitingInputs, spawn};
use crate::pipeline::{Pipeline, Shared, Watched};
use crate::resume::Resuming;
use crate::settings::Settings;
use crate::storage::OpenedStorage;

/// Least that an input connector may have queued: less makes small steps.
const CONNECTOR_QUEUED_BYTES_MIN: u64 = 1 << 20;

/// Starts a pipeline, paused.
pub(crate) fn start(
    definition: Definition,
    settings: Settings,
    clock: Arc<dyn TimeSource>,
    storage: Option<OpenedStorage>,
) -> Result<Pipeline> {
    check_labels(&definition)?;
    let definition = Arc::new(definition);
    let (store, saved) = match storage {
        Some(storage) => (Some(storage.store), storage.saved),
        None => (None, None),
    };
    let state_files = store.as_ref().map(|store| state_files(store, &settings));
    let (events, event_receiver) = channel();
    let incarnation = Uuid::now_v7();
    let mut controller = Controller::new(
        definition.clone(),
        settings.clone(),
        incarnation,
        clock.moment(),
        store.is_some(),
    );
    let resuming = saved.map(|saved| Resuming::new(&definition, &settings, saved));
    let resuming = resuming.transpose()?;
    let config = DataflowConfig {
        workers: settings.workers,
        hasher: RowHasher::new(settings.hash_seed),
        state_files: state_files.clone(),
    };
    let opening = Opening {
        definition: &definition,
        settings: &settings,
        record: resuming.as_ref().map(Resuming::record),
    };
    let inputs = opening.inputs(&mut controller, &events)?;
    let outputs = opening.outputs(&mut controller)?;
    let (dataflow, first_actions) = match resuming {
        Some(resuming) => resuming.resume(config, &mut controller, &*clock)?,
        None => first_step(&definition, config, &mut controller, &*clock)?,
    };
    let (mut performer, watched) = performer(events.clone(), inputs, clock.clone());
    if let (Some(store), Some(state_files)) = (&store, &state_files) {
        let writer = CheckpointWriter {
            store: store.clone(),
            state_files: state_files.clone(),
            retained_checkpoints: settings.retained_checkpoints,
            fingerprint: definition.fingerprint(),
            progress: watched.checkpoint.clone(),
        };
        start_checkpoints(&mut performer, writer)?;
    }
    start_threads(&mut performer, outputs, dataflow)?;
    for action in first_actions {
        performer.perform(action);
    }
    let thread = spawn("controller", move || {
        performer::run(controller, performer, &event_receiver, clock.as_ref());
    })?;
    Ok(Pipeline::new(Shared {
        definition,
        settings,
        incarnation,
        events,
        watched,
        store,
        state_files,
        controller: Mutex::new(Some(thread)),
    }))
}

/// What performs the controller's actions, and what others see of it.
fn performer(
    events: Sender<Event>,
    inputs: WaitingInputs,
    clock: Arc<dyn TimeSource>,
) -> (Performer, Watched) {
    let (sent_sender, sent) = watch::channel(0);
    let (ended_sender, ended) = watch::channel(false);
    let published = Arc::new(Published::default());
    let performer = Performer {
        // The engine's, once it has started.
        commands: channel().0,
        checkpoints: None,
        events,
        published: published.clone(),
        sent: sent_sender,
        ended: ended_sender,
        inputs,
        clock,
        threads: Vec::new(),
    };
    let watched = Watched {
        published,
        sent,
        ended,
        checkpoint: Arc::default(),
    };
    (performer, watched)
}

fn state_files(store: &Store, settings: &Settings) -> StateFiles {
    StateFiles {
        files: store.files().clone(),
        worker: 0,
        cache: BlockCache::new(settings.cache_bytes_max),
        budget: MemoryBudget::new(settings.state_bytes_max),
    }
}

fn start_checkpoints(performer: &mut Performer, writer: CheckpointWriter) -> Result<()> {
    let (sender, receiver) = channel();
    let events = performer.events.clone();
    performer.checkpoints = Some(sender);
    performer.threads.push(spawn("checkpoint", move || {
        checkpoint_thread::run(&writer, &receiver, &events);
    })?);
    Ok(())
}

fn start_threads(
    performer: &mut Performer,
    outputs: Vec<OpenedOutput>,
    dataflow: Dataflow,
) -> Result<()> {
    for (id, name, writer, messages) in outputs {
        let events = performer.events.clone();
        performer
            .threads
            .push(spawn(&format!("output-{name}"), move || {
                output_thread::run(writer, id, messages, &events);
            })?);
    }
    let (events, clock) = (performer.events.clone(), performer.clock.clone());
    let (sender, commands) = channel();
    performer.commands = sender;
    performer.threads.push(spawn("engine", move || {
        engine::run(dataflow, &commands, &events, &clock);
    })?);
    Ok(())
}

/// Starts the dataflow and makes the first step, without input.
fn first_step(
    definition: &Definition,
    config: DataflowConfig,
    controller: &mut Controller,
    clock: &dyn TimeSource,
) -> Result<(Dataflow, Vec<Action>)> {
    let mut dataflow = Dataflow::start(Arc::new(definition.plan_with_table_views()), config)?;
    let before = clock.now();
    let first = dataflow.step(Vec::new())?;
    let busy = clock.now().saturating_sub(before);
    let actions = controller.begin(first, busy, clock.moment());
    Ok((dataflow, actions))
}

/// A `start_after` that nothing is labelled with would wait for ever.
fn check_labels(definition: &Definition) -> Result<()> {
    let connectors = || definition.tables.iter().flat_map(|table| &table.connectors);
    for connector in connectors() {
        for label in connector.start_after.as_slice() {
            if connectors().any(|other| other.labels.contains(label)) {
                continue;
            }
            let message = format!(
                "connector `{}` starts after label `{label}`, which no connector has",
                connector.name()
            );
            return Err(ConfigError::new(message).into());
        }
    }
    Ok(())
}

/// What connectors are opened with.
struct Opening<'a> {
    definition: &'a Definition,
    settings: &'a Settings,
    /// What connectors go on from; those that are not in it begin anew.
    record: Option<&'a PipelineRecord>,
}

impl Opening<'_> {
    fn inputs(&self, controller: &mut Controller, events: &Sender<Event>) -> Result<WaitingInputs> {
        let tables = self.definition.tables.iter();
        let connectors: usize = tables.map(|table| table.connectors.len()).sum();
        let queued_bytes_max = self.settings.connector_queued_bytes_max / connectors.max(1) as u64;
        let queued_bytes_max = queued_bytes_max.max(CONNECTOR_QUEUED_BYTES_MIN);
        let mut waiting = BTreeMap::new();
        for (table, setup) in self.definition.tables.iter().enumerate() {
            let relation = &setup.input.relation().name;
            for config in &setup.connectors {
                let name = endpoint_name(relation, config);
                let recorded = self.record.and_then(|record| record.inputs.get(&name));
                let start = recorded.and_then(|recorded| position(&recorded.position));
                let transport = open_input(config, &setup.input, start).map_err(|source| {
                    let endpoint = name.clone();
                    Error::Connector { endpoint, source }
                })?;
                let bytes_max = config.max_queued_bytes.unwrap_or(queued_bytes_max);
                let gate = Arc::new(Gate::new(config.max_queued_records, bytes_max, true));
                let endpoint = controller.add_input(NewInput {
                    name: name.clone(),
                    table,
                    gate: gate.clone(),
                    paused: config.paused,
                    labels: config.labels.clone(),
                    start_after: config.start_after.as_slice().to_vec(),
                });
                let port = InputPort {
                    endpoint,
                    gate,
                    events: events.clone(),
                    append_only: setup.append_only,
                    piece_rows_max: self.settings.step_rows_max,
                    piece_bytes_max: self.settings.step_bytes_max,
                };
                waiting.insert(endpoint, (name, transport, port));
            }
        }
        Ok(waiting)
    }

    fn outputs(&self, controller: &mut Controller) -> Result<Vec<OpenedOutput>> {
        let mut opened = Vec::new();
        for (view, setup) in self.definition.views.iter().enumerate() {
            for config in &setup.connectors {
                let name = endpoint_name(&setup.relation.name, config);
                let recorded = self.record.and_then(|record| record.outputs.get(&name));
                let start = recorded.and_then(|recorded| position(&recorded.position));
                let writer = open_output(config, setup, self.definition, view, start);
                let writer = writer.map_err(|source| {
                    let endpoint = name.clone();
                    Error::Connector { endpoint, source }
                })?;
                let (sender, messages) = mpsc::unbounded_channel();
                let id = controller.add_output(NewOutput {
                    name: name.clone(),
                    relation: RelationRef::View(view),
                    sender,
                });
                opened.push((id, name, writer, messages));
            }
        }
        Ok(opened)
    }
}

fn position(recorded: &Value) -> Option<Value> {
    (!recorded.is_null()).then(|| recorded.clone())
}

type OpenedOutput = (
    EndpointId,
    String,
    OutputWriter,
    mpsc::UnboundedReceiver<OutputMessage>,
);

fn open_output(
    config: &ConnectorConfig,
    setup: &ViewSetup,
    definition: &Definition,
    view: usize,
    start: Option<Value>,
) -> std::result::Result<OutputWriter, TransportError> {
    let schema = definition.schema(RelationRef::View(view));
    let schema = schema.ok_or_else(|| ConfigError::new(format!("there is no view {view}")))?;
    let connector = OutputConnector::open(config, &setup.relation, schema.clone(), start)?;
    Ok(OutputWriter { connector, schema })
}
