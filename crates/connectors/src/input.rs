//! Transports in: where bytes or rows come from.
//!
//! A transport runs on a thread of its own and blocks as it likes: on its file or connection, and
//! in [`InputSink::push`] while the pipeline has enough. Stopping it is asking the sink: a transport
//! looks at [`InputSink::should_stop`] at least ten times a second, and pushing into a closed sink
//! fails.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::connector::{ConnectorConfig, Direction, FormatConfig, known_transport};
use serde_json::Value;

use crate::changes::ParsedChanges;
use crate::clock::Clock;
use crate::decode::StreamPosition;
use crate::error::{ConfigError, RowErrors, TransportError};
use crate::table::InputTable;

mod datagen;
mod empty;
mod file;
mod stream;
mod url;

/// Rows per event unless `max_batch_size` says otherwise.
pub const BATCH_ROWS_DEFAULT: usize = 10_000;

/// How often a waiting transport asks whether it should stop.
pub const WAIT_STEP: Duration = Duration::from_millis(20);

/// What a transport tells the pipeline.
#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all events are changes, of thousands of rows each"
)]
pub enum InputEvent {
    Changes(InputChunk),
    /// Something failed that the transport will try again; shown in the connector's errors.
    Warning(String),
    /// Nothing follows, ever. The last event.
    EndOfInput,
}

/// Rows in order, with the position behind them.
#[derive(Clone, Debug)]
pub struct InputChunk {
    pub changes: ParsedChanges,
    pub errors: RowErrors,
    /// Bytes of input that the rows and errors were read from, uncompressed.
    pub bytes: u64,
    /// Opening the transport at this position gives what follows these rows.
    pub position: Value,
    pub progress: Progress,
}

/// How far a transport is, for progress bars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub done: u64,
    /// None if there is no end or nobody knows it.
    pub total: Option<u64>,
    pub unit: ProgressUnit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProgressUnit {
    /// Bytes as stored, hence compressed if the file is.
    #[default]
    Bytes,
    Rows,
}

/// The sink takes no more: the pipeline stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline takes no more input")]
pub struct Closed;

/// The pipeline's end of an input connector.
pub trait InputSink: Send + Sync {
    /// Hands over an event; blocks while the queue is full.
    fn push(&self, event: InputEvent) -> Result<(), Closed>;

    /// True once the transport should return.
    fn should_stop(&self) -> bool;

    /// True while the transport should not read: by the user, or because the pipeline is paused.
    fn is_paused(&self) -> bool;
}

/// Why a transport returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// It has pushed [`InputEvent::EndOfInput`].
    EndOfInput,
    /// The sink was closed or asked it to stop.
    Stopped,
}

/// A source of changes.
pub trait InputTransport: Send {
    /// Reads until the end of input, a stop, or an error that ends the connector.
    fn run(
        self: Box<Self>,
        sink: &dyn InputSink,
        clock: &dyn Clock,
    ) -> Result<Finished, TransportError>;
}

/// A transport in the registry.
pub struct InputTransportKind {
    pub name: &'static str,
    open: fn(&ConnectorConfig, &Arc<InputTable>, Option<Value>) -> Opened,
}

type Opened = Result<Box<dyn InputTransport>, TransportError>;

/// All input transports, by name.
pub const INPUT_TRANSPORTS: &[InputTransportKind] = &[
    InputTransportKind {
        name: "datagen",
        open: datagen::open,
    },
    InputTransportKind {
        name: "empty_input",
        open: empty::open,
    },
    InputTransportKind {
        name: "file_input",
        open: file::open,
    },
    InputTransportKind {
        name: "url_input",
        open: url::open,
    },
];

/// Makes the transport of a connector; `start` is the position of the last event that counts, none
/// for the beginning. Checks the configuration; files and connections are opened by `run`.
pub fn open_input(
    config: &ConnectorConfig,
    table: &Arc<InputTable>,
    start: Option<Value>,
) -> Opened {
    let name = &config.transport.name;
    known_transport(name, Direction::Input)?;
    let known = INPUT_TRANSPORTS.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| ConfigError::new(format!("unknown transport `{name}`")))?;
    (known.open)(config, table, start)
}

/// Blocks while the sink is paused, telling `idle` how long it has been; false if the transport
/// should stop.
fn wait_while_paused(
    sink: &dyn InputSink,
    clock: &dyn Clock,
    mut idle: impl FnMut(Duration),
) -> bool {
    let mut began = None;
    while !sink.should_stop() {
        if !sink.is_paused() {
            return true;
        }
        let began = *began.get_or_insert_with(|| clock.now());
        clock.sleep(WAIT_STEP);
        idle(clock.now().saturating_sub(began));
    }
    false
}

fn batch_rows(config: &ConnectorConfig) -> usize {
    let rows = config
        .max_batch_size
        .and_then(|rows| usize::try_from(rows).ok());
    rows.unwrap_or(BATCH_ROWS_DEFAULT).max(1)
}

fn required_format(config: &ConnectorConfig) -> Result<&FormatConfig, ConfigError> {
    let missing = || {
        ConfigError::new(format!(
            "transport `{}` needs a format",
            config.transport.name
        ))
    };
    config.format.as_ref().ok_or_else(missing)
}

/// The position to start a byte stream at.
fn stream_position(start: Option<Value>) -> Result<StreamPosition, TransportError> {
    let Some(position) = start else {
        return Ok(StreamPosition::default());
    };
    serde_json::from_value(position).map_err(|error| TransportError::Position(error.to_string()))
}
