//! Starts a pipeline's threads, and the handle through which others talk to it.
//!
//! The loop of the controller's thread is the waiting half: it takes the next event (or the time
//! that the controller asked for), applies it, and performs the actions. Nothing else happens there.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use highwater_circuit::dataflow::{Dataflow, DataflowConfig, RelationRef};
use highwater_connectors::error::TransportError;
use highwater_connectors::input::{InputTransport, open_input};
use highwater_connectors::output::OutputConnector;
use highwater_types::connector::{ConfigError, ConnectorConfig};
use highwater_types::stats::{InputEndpointStatus, OutputEndpointStatus, PipelineStats};
use highwater_zset::RowHasher;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::contents::{Contents, Published};
use crate::controller::{Controller, InputProgress, NewInput, NewOutput};
use crate::definition::{Definition, ViewSetup};
use crate::engine::{self, Command};
use crate::error::{Error, Result};
use crate::event::{
    Action, EndpointId, Event, FollowRequest, OutputMessage, Reply, Request, TokenEndpoint,
};
use crate::follower::Follower;
use crate::gate::Gate;
use crate::http_input::HttpInput;
use crate::input_thread::{self, InputPort};
use crate::moment::{Moment, TimeSource};
use crate::output_thread::{self, OutputWriter};
use crate::process;
use crate::settings::Settings;

/// A running pipeline. Clones are handles of the same one; it runs until [`Self::stop`].
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
}

struct Shared {
    definition: Arc<Definition>,
    settings: Settings,
    incarnation: Uuid,
    events: Sender<Event>,
    published: Arc<Published>,
    sent: watch::Receiver<u64>,
    controller: Mutex<Option<JoinHandle<()>>>,
}

impl Pipeline {
    /// Starts the pipeline, paused. Its first step, without input, is done when this returns.
    ///
    /// # Errors
    /// If the plan or a connector's configuration cannot be used, the first step fails, or a thread
    /// cannot be started.
    pub fn start(
        definition: Definition,
        settings: Settings,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self> {
        check_labels(&definition)?;
        let definition = Arc::new(definition);
        let incarnation = Uuid::now_v7();
        let (events, event_receiver) = channel();
        let mut controller = Controller::new(
            definition.clone(),
            settings.clone(),
            incarnation,
            clock.moment(),
        );
        let inputs = open_inputs(&definition, &settings, &mut controller, &events)?;
        let outputs = open_outputs(&definition, &mut controller)?;
        let (dataflow, first_actions) =
            first_step(&definition, &settings, &mut controller, &*clock)?;
        let published = Arc::new(Published::default());
        let (sent_sender, sent) = watch::channel(0);
        let (commands, command_receiver) = channel();
        let mut performer = Performer {
            commands,
            published: published.clone(),
            sent: sent_sender,
            inputs,
            clock: clock.clone(),
            threads: Vec::new(),
        };
        for (id, name, writer, messages) in outputs {
            let events = events.clone();
            performer
                .threads
                .push(spawn(&format!("output-{name}"), move || {
                    output_thread::run(writer, id, messages, &events);
                })?);
        }
        let (engine_events, engine_clock) = (events.clone(), clock.clone());
        performer.threads.push(spawn("engine", move || {
            engine::run(dataflow, &command_receiver, &engine_events, &engine_clock);
        })?);
        for action in first_actions {
            performer.perform(action);
        }
        let thread = spawn("controller", move || {
            run(controller, performer, &event_receiver, clock.as_ref());
        })?;
        let shared = Shared {
            definition,
            settings,
            incarnation,
            events,
            published,
            sent,
            controller: Mutex::new(Some(thread)),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    pub fn definition(&self) -> &Arc<Definition> {
        &self.shared.definition
    }

    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Drawn at each start.
    pub fn incarnation(&self) -> Uuid {
        self.shared.incarnation
    }

    /// The contents of all materialized relations after the latest step.
    pub fn contents(&self) -> Arc<Contents> {
        self.shared.published.latest()
    }

    /// Lets inputs read and steps run.
    ///
    /// # Errors
    /// If the pipeline has ended.
    pub async fn resume(&self) -> Result<()> {
        self.request(|reply| Request::SetRunning(true, reply))
            .await?
    }

    /// Stops inputs and steps; what is running ends.
    ///
    /// # Errors
    /// If the pipeline has ended.
    pub async fn pause(&self) -> Result<()> {
        self.request(|reply| Request::SetRunning(false, reply))
            .await?
    }

    /// True if it runs, false if it is paused.
    ///
    /// # Errors
    /// If the pipeline has ended.
    pub async fn is_running(&self) -> Result<bool> {
        self.inspect(|controller, _| controller.is_running())
            .await?
    }

    /// Statistics; `with_errors` adds the last messages of each endpoint.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn stats(&self, with_errors: bool) -> Result<PipelineStats> {
        let stats = self.inspect(move |controller, now| controller.stats(now, with_errors));
        let mut stats = stats.await?;
        stats.global_metrics.rss_bytes = process::resident_bytes();
        stats.global_metrics.cpu_msecs = process::processor_millis();
        Ok(stats)
    }

    /// Transport, parse and encode errors so far.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn errors_total(&self) -> Result<u64> {
        self.inspect(|controller, _| controller.errors_total())
            .await
    }

    /// How far each input connector is.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn progress(&self) -> Result<Vec<InputProgress>> {
        self.inspect(|controller, _| controller.progress()).await
    }

    /// Status and errors of the input `table.connector`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn input_status(&self, endpoint: &str) -> Result<InputEndpointStatus> {
        let name = endpoint.to_owned();
        self.inspect(move |controller, _| controller.input_status_of(&name))
            .await?
    }

    /// Status and errors of the output `view.connector`.
    ///
    /// # Errors
    /// If there is none of that name.
    pub async fn output_status(&self, endpoint: &str) -> Result<OutputEndpointStatus> {
        let name = endpoint.to_owned();
        self.inspect(move |controller, _| controller.output_status_of(&name))
            .await?
    }

    /// Pauses the input `table.connector`, or lets it run.
    ///
    /// # Errors
    /// If there is none of that name, or the pipeline has ended.
    pub async fn set_input_paused(&self, endpoint: &str, paused: bool) -> Result<()> {
        let endpoint = endpoint.to_owned();
        self.request(|reply| Request::SetInputPaused {
            endpoint,
            paused,
            reply,
        })
        .await?
    }

    /// Opens the HTTP input called `name` of the table at this position.
    ///
    /// # Errors
    /// If there is no such table, or the pipeline has ended.
    pub async fn open_http_input(&self, table: usize, name: String) -> Result<HttpInput> {
        let unknown = || Error::Config(ConfigError::new(format!("there is no table {table}")));
        let setup = self
            .shared
            .definition
            .tables
            .get(table)
            .ok_or_else(unknown)?;
        let settings = &self.shared.settings;
        let gate = Arc::new(Gate::new(
            settings.http_queued_records_max,
            settings.http_queued_bytes_max,
            false,
        ));
        let opened = self.request(|reply| Request::OpenHttpInput {
            name,
            table,
            gate,
            reply,
        });
        let endpoint = opened.await??;
        Ok(HttpInput {
            port: InputPort {
                endpoint: endpoint.id,
                gate: endpoint.gate,
                events: self.shared.events.clone(),
                append_only: setup.append_only,
                piece_rows_max: settings.step_rows_max,
            },
            table: setup.input.clone(),
        })
    }

    /// A token for everything that the HTTP input has received so far.
    ///
    /// # Errors
    /// If the pipeline has ended.
    pub async fn http_token(&self, input: &HttpInput) -> Result<String> {
        let endpoint = TokenEndpoint::Id(input.port.endpoint);
        self.request(|reply| Request::Token { endpoint, reply })
            .await?
    }

    /// A token for everything that the input `table.connector` has received so far.
    ///
    /// # Errors
    /// If there is none of that name, or the pipeline has ended.
    pub async fn connector_token(&self, endpoint: &str) -> Result<String> {
        let endpoint = TokenEndpoint::Name(endpoint.to_owned());
        self.request(|reply| Request::Token { endpoint, reply })
            .await?
    }

    /// The step that took up a token's records (none while they are queued), and whether their
    /// effects are visible to queries and delivered to all outputs.
    ///
    /// # Errors
    /// If the token is not of this run, or the pipeline has ended.
    pub async fn completion(&self, token: &str) -> Result<(Option<u64>, bool)> {
        let token = token.to_owned();
        self.inspect(move |controller, _| controller.completion(&token))
            .await?
    }

    /// Follows a relation under the name `{relation}.api-{uuid}`.
    ///
    /// # Errors
    /// If a snapshot is asked for of a relation whose contents are not kept, or the pipeline has
    /// ended.
    pub async fn follow(
        &self,
        relation: RelationRef,
        send_snapshot: bool,
        backpressure: bool,
    ) -> Result<Follower> {
        let described = self.shared.definition.relation(relation);
        let stream = described.map(|it| it.name.clone()).unwrap_or_default();
        let name = format!("{stream}.api-{}", Uuid::now_v7());
        let (sender, messages) = mpsc::unbounded_channel();
        let mut sent = self.shared.sent.clone();
        sent.mark_unchanged();
        let followed = self.request(|reply| {
            Request::Follow(FollowRequest {
                name,
                relation,
                send_snapshot,
                backpressure,
                sender,
                reply,
            })
        });
        let (id, start) = followed.await??;
        Ok(Follower {
            id,
            messages,
            sent,
            events: self.shared.events.clone(),
            start,
        })
    }

    /// All input from now to the commit becomes one step.
    ///
    /// # Errors
    /// If a transaction is in progress, or the pipeline has ended.
    pub async fn start_transaction(&self) -> Result<i64> {
        self.request(Request::StartTransaction).await?
    }

    /// Submits the transaction's step. It is done when the statistics say that there is none.
    ///
    /// # Errors
    /// If no transaction is in progress, or the pipeline has ended.
    pub async fn commit_transaction(&self) -> Result<i64> {
        self.request(Request::CommitTransaction).await?
    }

    /// Stops everything; returns when outputs have written what they were given. Stopping a stopped
    /// pipeline does nothing.
    pub async fn stop(&self) {
        // An error means that it has stopped already.
        let _ = self.request(Request::Stop).await;
        let thread = self
            .shared
            .controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A panic of that thread has been printed where it happened.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn request<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let event = Event::Request(request(reply));
        self.shared.events.send(event).map_err(|_| Error::Stopped)?;
        answer.await.map_err(|_| Error::Stopped)
    }

    async fn inspect<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Controller, Moment) -> T + Send + 'static,
    ) -> Result<T> {
        self.request(|reply| {
            Request::Inspect(Box::new(move |controller, now| {
                // Whoever asked may have left.
                let _ = reply.send(look(controller, now));
            }))
        })
        .await
    }
}

/// Starts the dataflow and makes the first step, without input.
fn first_step(
    definition: &Definition,
    settings: &Settings,
    controller: &mut Controller,
    clock: &dyn TimeSource,
) -> Result<(Dataflow, Vec<Action>)> {
    let hasher = RowHasher::new(settings.hash_seed);
    let config = DataflowConfig::in_memory(settings.workers, hasher);
    let mut dataflow = Dataflow::start(Arc::new(definition.plan_with_table_views()), config)?;
    let before = clock.now();
    let first = dataflow.step(Vec::new())?;
    let actions = controller.begin(first, clock.now().saturating_sub(before));
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

/// The transports that have not started, by endpoint.
type WaitingInputs = BTreeMap<EndpointId, (String, Box<dyn InputTransport>, InputPort)>;

fn open_inputs(
    definition: &Definition,
    settings: &Settings,
    controller: &mut Controller,
    events: &Sender<Event>,
) -> Result<WaitingInputs> {
    let mut waiting = BTreeMap::new();
    for (table, setup) in definition.tables.iter().enumerate() {
        for config in &setup.connectors {
            let name = endpoint_name(&setup.input.relation().name, config);
            let transport = open_input(config, &setup.input, None).map_err(|source| {
                let endpoint = name.clone();
                Error::Connector { endpoint, source }
            })?;
            let bytes_max = config.max_queued_bytes.unwrap_or(u64::MAX);
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
                piece_rows_max: settings.step_rows_max,
            };
            waiting.insert(endpoint, (name, transport, port));
        }
    }
    Ok(waiting)
}

type OpenedOutput = (
    EndpointId,
    String,
    OutputWriter,
    mpsc::UnboundedReceiver<OutputMessage>,
);

fn open_outputs(definition: &Definition, controller: &mut Controller) -> Result<Vec<OpenedOutput>> {
    let mut opened = Vec::new();
    for (view, setup) in definition.views.iter().enumerate() {
        for config in &setup.connectors {
            let name = endpoint_name(&setup.relation.name, config);
            let writer = open_output(config, setup, definition, view).map_err(|source| {
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

fn open_output(
    config: &ConnectorConfig,
    setup: &ViewSetup,
    definition: &Definition,
    view: usize,
) -> std::result::Result<OutputWriter, TransportError> {
    let schema = definition.schema(RelationRef::View(view));
    let schema = schema.ok_or_else(|| ConfigError::new(format!("there is no view {view}")))?;
    let connector = OutputConnector::open(config, &setup.relation, schema.clone(), None)?;
    Ok(OutputWriter { connector, schema })
}

fn endpoint_name(relation: &str, config: &ConnectorConfig) -> String {
    format!("{relation}.{}", config.name())
}

/// Performs actions.
struct Performer {
    commands: Sender<Command>,
    published: Arc<Published>,
    sent: watch::Sender<u64>,
    inputs: WaitingInputs,
    clock: Arc<dyn TimeSource>,
    /// Joined at the end: the engine and the outputs.
    threads: Vec<JoinHandle<()>>,
}

/// The waiting half.
fn run(
    mut controller: Controller,
    mut performer: Performer,
    events: &Receiver<Event>,
    clock: &dyn TimeSource,
) {
    loop {
        let event = match controller.wake_at() {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => events.recv_timeout(due.saturating_sub(clock.now())),
        };
        let event = match event {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => Event::Wake,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let actions = controller.apply(clock.moment(), event);
        if actions.into_iter().any(|action| performer.perform(action)) {
            break;
        }
    }
    drop(performer.commands);
    for thread in performer.threads {
        // A panic of that thread has been printed where it happened.
        let _ = thread.join();
    }
}

impl Performer {
    /// Returns true if nothing follows. The other ends of these channels may be gone: the engine
    /// after a failure (which it reported), a follower that has just left.
    fn perform(&mut self, action: Action) -> bool {
        match action {
            Action::Submit { inputs, .. } => {
                let _ = self.commands.send(Command::Step(inputs));
            }
            Action::Publish(contents) => self.published.publish(contents),
            Action::Send { sender, message } => {
                let _ = sender.send(message);
            }
            Action::Sent { step } => {
                self.sent.send_replace(step);
            }
            Action::Release {
                gate,
                records,
                bytes,
            } => gate.release(records, bytes),
            Action::SetPaused { gate, paused } => gate.set_paused(paused),
            Action::StartInput(endpoint) => self.start_input(endpoint),
            Action::Close(gate) => gate.close(),
            Action::StopEngine => {
                let _ = self.commands.send(Command::Stop);
            }
            Action::Finish => return true,
        }
        false
    }

    fn start_input(&mut self, endpoint: EndpointId) {
        let Some((name, transport, port)) = self.inputs.remove(&endpoint) else {
            return;
        };
        let (clock, events) = (self.clock.clone(), port.events.clone());
        let thread = spawn(&format!("input-{name}"), move || {
            input_thread::run(transport, port, &clock);
        });
        if let Err(error) = thread {
            let message = error.to_string();
            // This thread receives it itself.
            let _ = events.send(Event::InputFailed { endpoint, message });
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(Error::Thread)
}
