//! What a caller of a pipeline can be told.

use std::fmt::Write as _;

use highwater_circuit::bootstrap::NotStored;
use highwater_circuit::error::Error as CircuitError;
use highwater_connectors::error::{ConfigError, TransportError};
use highwater_storage::Error as StorageError;
use highwater_types::difference::PipelineDiff;
use uuid::Uuid;

/// Errors of this crate. The HTTP status of each is the server's business.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pipeline was stopped on request.
    #[error("the pipeline has stopped")]
    Stopped,
    /// A step failed; the pipeline does nothing more, but still tells its statistics.
    #[error("the pipeline was terminated by an error: {message}")]
    Terminated { message: String },
    #[error("there is no endpoint `{name}`{}", known_names(.known))]
    UnknownEndpoint { name: String, known: Vec<String> },
    #[error(
        "`{relation}` is not materialized, so its present contents are not kept; declare it MATERIALIZED or do not ask for a snapshot"
    )]
    NotMaterialized { relation: String },
    #[error("transaction {transaction_id} is in progress; commit it first")]
    TransactionInProgress { transaction_id: i64 },
    #[error("no transaction is in progress")]
    NoTransaction,
    /// Not a token that any pipeline gave.
    #[error("the completion token cannot be read: {reason}")]
    InvalidToken { reason: String },
    /// A token of an earlier run of the pipeline.
    #[error("the completion token was given before the pipeline was restarted")]
    OtherIncarnation,
    #[error("the endpoint of the completion token is gone")]
    UnknownTokenEndpoint,
    #[error("connector `{endpoint}`: {source}")]
    Connector {
        endpoint: String,
        source: TransportError,
    },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Circuit(#[from] CircuitError),
    #[error("cannot restore: {0}")]
    State(#[from] highwater_zset::Error),
    /// What was asked for needs a place on disk.
    #[error(
        "the pipeline keeps its state in memory only, so there are no checkpoints; start it with --storage DIRECTORY"
    )]
    StorageRequired,
    /// A status was asked for with the incarnation of another run.
    #[error(
        "asked for incarnation {requested}, but this is {expected}: the pipeline was restarted"
    )]
    IncarnationMismatch { requested: Uuid, expected: Uuid },
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The program is not the one that the checkpoint was taken of, and that is to be refused.
    #[error("the program has changed since the checkpoint, and --bootstrap reject refuses that: {}", summary(.0))]
    BootstrapRejected(Box<PipelineDiff>),
    #[error(transparent)]
    NotStored(#[from] NotStored),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

/// The message with those of its causes that it does not repeat.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            // Writing to a string cannot fail.
            let _ = write!(message, ": {text}");
        }
        source = cause.source();
    }
    message
}

/// What has changed, in one line.
pub fn summary(diff: &PipelineDiff) -> String {
    let program = diff.program_diff.clone().unwrap_or_default();
    let lists = [
        ("new tables", &program.added_tables),
        ("changed tables", &program.modified_tables),
        ("tables gone", &program.removed_tables),
        ("new views", &program.added_views),
        ("changed views", &program.modified_views),
        ("views gone", &program.removed_views),
        ("new inputs", &diff.added_input_connectors),
        ("changed inputs", &diff.modified_input_connectors),
        ("inputs gone", &diff.removed_input_connectors),
        ("new outputs", &diff.added_output_connectors),
        ("changed outputs", &diff.modified_output_connectors),
        ("outputs gone", &diff.removed_output_connectors),
    ];
    let filled = lists.into_iter().filter(|(_, names)| !names.is_empty());
    let texts: Vec<String> = filled
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect();
    if texts.is_empty() {
        return "nothing".to_owned();
    }
    texts.join("; ")
}

fn known_names(names: &[String]) -> String {
    match names {
        [] => String::new(),
        names => format!("; there are `{}`", names.join("`, `")),
    }
}

pub type Result<T> = std::result::Result<T, Error>;
