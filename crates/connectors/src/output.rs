//! Transports out: where encoded changes go.

use highwater_types::connector::{ConnectorConfig, Direction, known_transport};
use highwater_types::relation::Relation;
use highwater_zset::Delta;
use serde_json::Value;

use arrow::datatypes::SchemaRef;

use crate::encode::{Encoder, OutputRelation, StreamStart, encoder};
use crate::error::{ConfigError, TransportError};

mod file;
mod null;

/// A sink of encoded changes.
pub trait OutputTransport: Send {
    /// Writes a piece of the output of `step`.
    fn write(&mut self, step: u64, piece: &[u8]) -> Result<(), TransportError>;

    /// Makes everything up to `step` visible to readers.
    fn step_done(&mut self, step: u64) -> Result<(), TransportError>;

    /// Makes everything up to the last step that is done survive a loss of power.
    fn sync(&mut self) -> Result<(), TransportError>;

    /// The place behind the last step that is done; opening there discards what was written later.
    fn position(&self) -> Value;

    /// Does the stream begin here, or does it go on behind what is there?
    fn start(&self) -> StreamStart;
}

/// A transport in the registry.
pub struct OutputTransportKind {
    pub name: &'static str,
    open: fn(&ConnectorConfig, Option<Value>) -> Opened,
}

type Opened = Result<Box<dyn OutputTransport>, TransportError>;

/// All output transports, by name.
pub const OUTPUT_TRANSPORTS: &[OutputTransportKind] = &[
    OutputTransportKind {
        name: "file_output",
        open: file::open,
    },
    OutputTransportKind {
        name: "null_output",
        open: null::open,
    },
];

/// Makes the transport of a connector. Without a position an existing file is replaced; with one it
/// is cut back to there.
pub fn open_transport(config: &ConnectorConfig, start: Option<Value>) -> Opened {
    let name = &config.transport.name;
    known_transport(name, Direction::Output)?;
    let known = OUTPUT_TRANSPORTS.iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| ConfigError::new(format!("unknown transport `{name}`")))?;
    (known.open)(config, start)
}

/// An output connector: a format on a transport.
pub struct OutputConnector {
    /// None if the transport takes no bytes.
    encoder: Option<Box<dyn Encoder>>,
    transport: Box<dyn OutputTransport>,
}

/// What a delta amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transmitted {
    pub records: u64,
    pub bytes: u64,
}

impl OutputConnector {
    /// Opens the connector of a relation whose deltas have the columns of `schema`; `start` is the
    /// position to go on from, none for a new pipeline.
    pub fn open(
        config: &ConnectorConfig,
        relation: &Relation,
        schema: SchemaRef,
        start: Option<Value>,
    ) -> Result<Self, TransportError> {
        let transport = open_transport(config, start)?;
        let relation = OutputRelation::new(relation, schema);
        let kind = known_transport(&config.transport.name, Direction::Output)?;
        let encoder = match &config.format {
            Some(format) if kind.needs_format => {
                Some(encoder(format, relation, transport.start())?)
            }
            None if kind.needs_format => {
                let name = kind.name;
                return Err(ConfigError::new(format!("transport `{name}` needs a format")).into());
            }
            _ => None,
        };
        Ok(Self { encoder, transport })
    }

    /// Writes the whole change of a step, or a part of it (the content, before the first step).
    pub fn write(&mut self, step: u64, delta: &Delta) -> Result<Transmitted, TransportError> {
        let Some(encoder) = &mut self.encoder else {
            let records = delta
                .weights()
                .iter()
                .map(|weight| weight.unsigned_abs())
                .sum();
            return Ok(Transmitted { records, bytes: 0 });
        };
        let encoded = encoder.encode(delta)?;
        let mut bytes = 0;
        for piece in encoded.pieces {
            bytes += piece.len() as u64;
            self.transport.write(step, &piece)?;
        }
        Ok(Transmitted {
            records: encoded.records,
            bytes,
        })
    }

    /// Makes everything up to `step` visible to readers.
    pub fn step_done(&mut self, step: u64) -> Result<(), TransportError> {
        self.transport.step_done(step)
    }

    /// Makes everything up to `step` survive a loss of power; the place behind it.
    pub fn sync(&mut self, step: u64) -> Result<Value, TransportError> {
        self.transport.step_done(step)?;
        self.transport.sync()?;
        Ok(self.transport.position())
    }

    /// The place behind the last step that is done.
    pub fn position(&self) -> Value {
        self.transport.position()
    }
}
