//! What can happen to a pipeline, and what it can decide to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use highwater_circuit::dataflow::{CircuitState, RelationRef, StepOutput};
use highwater_circuit::error::Error as CircuitError;
use highwater_circuit::table_input::TableInput;
use highwater_connectors::error::RowErrors;
use highwater_connectors::input::Progress;
use highwater_types::checkpoint::CheckpointMetadata;
use highwater_types::record::PipelineRecord;
use highwater_zset::{Delta, Snapshot};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::contents::Contents;
use crate::controller::{Controller, Written};
use crate::error::Result;
use crate::gate::Gate;
use crate::moment::Moment;

/// Names an input or an output of a pipeline while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u64);

/// An answer goes here; whoever asked may have left.
pub type Reply<T> = oneshot::Sender<T>;

/// Where an output takes its messages from.
pub type OutputSender = mpsc::UnboundedSender<OutputMessage>;

/// Rows that an input has read.
#[derive(Clone, Debug)]
pub struct InputPiece {
    pub endpoint: EndpointId,
    /// No rows if the piece holds errors only.
    pub changes: TableInput,
    pub errors: RowErrors,
    /// Bytes of input that the rows and errors were read from.
    pub bytes: u64,
    /// The transport's position behind the piece; `null` for HTTP inputs.
    pub position: Value,
    pub progress: Progress,
}

/// What an output is told.
#[derive(Clone, Debug)]
pub enum OutputMessage {
    /// The contents after `step`; the first message, if it was asked for.
    Snapshot { step: u64, contents: Vec<Snapshot> },
    /// The changes of `step`.
    Changes { step: u64, deltas: Vec<Delta> },
    /// Make everything up to `step` durable, and say so. Only for connectors.
    Sync { step: u64 },
    /// Nothing follows; the reason, unless the pipeline was stopped.
    End { error: Option<String> },
}

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    Input(InputPiece),
    /// A transport met a failure that it will try again.
    InputWarning {
        endpoint: EndpointId,
        message: String,
    },
    EndOfInput {
        endpoint: EndpointId,
    },
    /// A transport cannot go on.
    InputFailed {
        endpoint: EndpointId,
        message: String,
    },
    StepDone {
        output: StepOutput,
        /// Since the step was submitted or the step before it was done, whichever is later.
        busy: Duration,
    },
    StepFailed(CircuitError),
    /// The circuit's state behind all steps that were submitted before it was asked for.
    SnapshotTaken(CircuitState),
    /// No gate that was asked to hold has anything on its way.
    InputsHeld,
    /// All batches of a snapshot are in files; or why not.
    CheckpointWritten(std::result::Result<Written, String>),
    /// A checkpoint exists; or why not.
    CheckpointPublished(std::result::Result<CheckpointMetadata, String>),
    /// An output has written everything of this step.
    Delivered {
        output: EndpointId,
        step: u64,
        records: u64,
        bytes: u64,
    },
    /// An output has made everything that it was sent before durable.
    OutputSynced {
        output: EndpointId,
        /// Opening the output there goes on behind it.
        position: Value,
    },
    /// An output lost rows that it could not encode.
    EncodeFailed {
        output: EndpointId,
        message: String,
    },
    /// An output cannot go on.
    OutputFailed {
        output: EndpointId,
        message: String,
    },
    /// A follower has left.
    FollowerLeft {
        output: EndpointId,
    },
    Request(Request),
    /// The time that the controller asked for has come.
    Wake,
}

/// Something that a client wants. The answer goes into the request's [`Reply`].
pub enum Request {
    /// Run or pause.
    SetRunning(bool, Reply<Result<()>>),
    /// Pause an input connector, or let it run.
    SetInputPaused {
        endpoint: String,
        paused: bool,
        reply: Reply<Result<()>>,
    },
    /// Find or make the HTTP input of this name. The gate is used if it is new.
    OpenHttpInput {
        name: String,
        table: usize,
        gate: Arc<Gate>,
        reply: Reply<Result<HttpEndpoint>>,
    },
    /// A token for everything that an endpoint has received.
    Token {
        endpoint: TokenEndpoint,
        reply: Reply<Result<String>>,
    },
    Follow(FollowRequest),
    StartTransaction(Reply<Result<i64>>),
    CommitTransaction(Reply<Result<i64>>),
    /// Take a checkpoint; answers with its sequence number.
    Checkpoint(Reply<Result<u64>>),
    /// Take a checkpoint and end; answers when it is under way.
    Suspend(Reply<Result<()>>),
    /// Look at the state.
    Inspect(Inspection),
    Stop(Reply<()>),
}

/// Reads what it wants of the state and answers by itself.
pub type Inspection = Box<dyn FnOnce(&Controller, Moment) + Send>;

/// Which endpoint a token is for.
#[derive(Clone, Debug)]
pub enum TokenEndpoint {
    Id(EndpointId),
    Name(String),
}

/// An HTTP input, shared by all requests of one table and format.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    pub id: EndpointId,
    pub gate: Arc<Gate>,
}

/// Asks to follow the changes of a relation.
#[derive(Debug)]
pub struct FollowRequest {
    pub name: String,
    pub relation: RelationRef,
    /// Begin with the present contents.
    pub send_snapshot: bool,
    /// Steps wait for this follower; without, it is cut off when it is too slow.
    pub backpressure: bool,
    pub sender: OutputSender,
    /// The follower's id and the step it starts behind.
    pub reply: Reply<Result<(EndpointId, u64)>>,
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::SetRunning(true, _) => "run",
            Self::SetRunning(false, _) => "pause",
            Self::SetInputPaused { .. } => "set input paused",
            Self::OpenHttpInput { .. } => "open HTTP input",
            Self::Token { .. } => "token",
            Self::Follow(_) => "follow",
            Self::StartTransaction(_) => "start transaction",
            Self::CommitTransaction(_) => "commit transaction",
            Self::Checkpoint(_) => "checkpoint",
            Self::Suspend(_) => "suspend",
            Self::Inspect(_) => "inspect",
            Self::Stop(_) => "stop",
        })
    }
}

/// Something to do now. Actions are performed in order.
#[derive(Debug)]
pub enum Action {
    /// Give the step to the dataflow.
    Submit {
        step: u64,
        inputs: Vec<(usize, TableInput)>,
    },
    /// Let queries see these contents.
    Publish(Arc<Contents>),
    Send {
        sender: OutputSender,
        message: OutputMessage,
    },
    /// Everything up to this step has been sent to all outputs that it concerns.
    Sent {
        step: u64,
    },
    /// Records have left the queue of an input.
    Release {
        gate: Arc<Gate>,
        records: u64,
        bytes: u64,
    },
    SetPaused {
        gate: Arc<Gate>,
        paused: bool,
    },
    /// Start the transport of an input connector.
    StartInput(EndpointId),
    /// Nothing passes this gate any more.
    Close(Arc<Gate>),
    /// Let nothing pass these gates, and say when nothing is on its way; or let them go.
    Hold {
        gates: Vec<Arc<Gate>>,
        held: bool,
    },
    /// Ask the dataflow for its state behind the steps that were submitted.
    Snapshot,
    /// Write what is only in memory, in the background.
    WriteCheckpoint(Box<CircuitState>),
    /// Make the checkpoint that was written exist.
    PublishCheckpoint(Box<PipelineRecord>),
    /// Forget the checkpoint that is being written.
    AbandonCheckpoint,
    /// Stop the dataflow.
    StopEngine,
    /// Nothing more will be done: the controller's thread ends.
    Finish,
}
