//! The handle through which others talk to a running pipeline. `start` makes one, `performer` is the
//! loop behind it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use highwater_circuit::dataflow::RelationRef;
use highwater_storage::Store;
use highwater_types::checkpoint::CheckpointStatus;
use highwater_types::connector::ConfigError;
use highwater_types::stats::{InputEndpointStatus, OutputEndpointStatus, PipelineStats};
use highwater_types::suspend::PermanentSuspendError;
use highwater_zset::StateFiles;
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use crate::checkpoint_thread::CheckpointProgress;
use crate::contents::{Contents, Published};
use crate::controller::{CheckpointCounters, Controller, InputProgress};
use crate::definition::Definition;
use crate::error::{Error, Result};
use crate::event::{Event, FollowRequest, Reply, Request, TokenEndpoint};
use crate::follower::Follower;
use crate::http_input::HttpInput;
use crate::input_thread::InputPort;
use crate::moment::{Moment, TimeSource};
use crate::process;
use crate::settings::Settings;
use crate::start;
use crate::storage::OpenedStorage;

/// A running pipeline. Clones are handles of the same one; it runs until [`Self::stop`].
#[derive(Clone)]
pub struct Pipeline {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) definition: Arc<Definition>,
    pub(crate) settings: Settings,
    pub(crate) incarnation: Uuid,
    pub(crate) events: Sender<Event>,
    pub(crate) watched: Watched,
    pub(crate) store: Option<Store>,
    pub(crate) state_files: Option<StateFiles>,
    pub(crate) controller: Mutex<Option<JoinHandle<()>>>,
}

/// What the controller's thread shows.
pub(crate) struct Watched {
    pub(crate) published: Arc<Published>,
    /// The last step that all outputs were told of.
    pub(crate) sent: watch::Receiver<u64>,
    /// True once the thread has ended.
    pub(crate) ended: watch::Receiver<bool>,
    pub(crate) checkpoint: Arc<CheckpointProgress>,
}

impl Pipeline {
    pub(crate) fn new(shared: Shared) -> Self {
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Starts the pipeline, paused, with its state in memory only. Its first step, without input, is
    /// done when this returns.
    ///
    /// # Errors
    /// If the plan or a connector's configuration cannot be used, the first step fails, or a thread
    /// cannot be started.
    pub fn start(
        definition: Definition,
        settings: Settings,
        clock: Arc<dyn TimeSource>,
    ) -> Result<Self> {
        start::start(definition, settings, clock, None)
    }

    /// Starts the pipeline, paused, where its last checkpoint was taken, or from the beginning if there
    /// is none.
    ///
    /// # Errors
    /// As [`Self::start`]; and if the program is not the one of the checkpoint, or a file of it cannot
    /// be used.
    pub fn start_on(
        definition: Definition,
        settings: Settings,
        clock: Arc<dyn TimeSource>,
        storage: OpenedStorage,
    ) -> Result<Self> {
        start::start(definition, settings, clock, Some(storage))
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
        self.shared.watched.published.latest()
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
        let stored = self.shared.state_files.as_ref();
        stats.global_metrics.storage_bytes = stored.map_or(0, |it| it.files.bytes_in_use());
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
        let gate = settings.http_gate();
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
                piece_bytes_max: settings.step_bytes_max,
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
        let mut sent = self.shared.watched.sent.clone();
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

    /// Asks for a checkpoint; its sequence number, for [`Self::checkpoint_status`].
    ///
    /// # Errors
    /// If there is no storage, or the pipeline has ended.
    pub async fn checkpoint(&self) -> Result<u64> {
        self.request(Request::Checkpoint).await?
    }

    /// How the checkpoints that were asked for went. `incarnation` is the run that was asked.
    ///
    /// # Errors
    /// If that is another run than this one.
    pub async fn checkpoint_status(&self, incarnation: Option<Uuid>) -> Result<CheckpointStatus> {
        let expected = self.shared.incarnation;
        match incarnation.filter(|requested| *requested != expected) {
            Some(requested) => Err(Error::IncarnationMismatch {
                requested,
                expected,
            }),
            None => {
                self.inspect(|controller, _| controller.checkpoint_status())
                    .await
            }
        }
    }

    /// How checkpoints went, for the metrics.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn checkpoint_counters(&self) -> Result<CheckpointCounters> {
        self.inspect(|controller, _| controller.checkpoint_counters())
            .await
    }

    /// Bytes of state that the checkpoint under way has written, and that it will.
    pub fn checkpoint_bytes(&self) -> Option<(u64, u64)> {
        self.shared.watched.checkpoint.bytes()
    }

    /// Outputs that the checkpoint under way is waiting for.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn checkpoint_waits_for(&self) -> Result<Vec<String>> {
        self.inspect(|controller, _| controller.checkpoint_waits_for())
            .await
    }

    /// Takes a checkpoint and ends; returns when it is under way. [`Self::ended`] tells the end; if
    /// the checkpoint fails, the pipeline goes on.
    ///
    /// # Errors
    /// If there is no storage, or the pipeline has ended.
    pub async fn suspend(&self) -> Result<()> {
        self.request(Request::Suspend).await?
    }

    /// Why the pipeline can never be suspended; empty if it can.
    ///
    /// # Errors
    /// If the pipeline was stopped.
    pub async fn permanent_suspend_errors(&self) -> Result<Vec<PermanentSuspendError>> {
        self.inspect(|controller, _| controller.permanent_suspend_errors())
            .await
    }

    /// Resolves when the pipeline was stopped or suspended, and everything is written.
    pub async fn ended(&self) {
        let mut ended = self.shared.watched.ended.clone();
        // An error means that the controller's thread is gone.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// The storage root, if there is one.
    pub fn store(&self) -> Option<&Store> {
        self.shared.store.as_ref()
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
