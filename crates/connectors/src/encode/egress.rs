//! Chunks of the HTTP egress: JSON objects, one per line, numbered, each with some changes.

use highwater_types::connector::FormatConfig;
use highwater_zset::Delta;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Encoder, OutputRelation, StreamStart, encoder};
use crate::error::{ConfigError, EncodeError};

/// One follower's stream of chunks.
pub struct HttpEgress {
    encoder: Box<dyn Encoder>,
    data: DataField,
    sequence_number: u64,
}

/// Which field of a chunk holds the changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum DataField {
    Json,
    Text,
}

#[derive(Serialize)]
struct Chunk<'a> {
    sequence_number: u64,
    snapshot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    json_data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text_data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processed_steps: Option<u64>,
}

impl HttpEgress {
    /// `json` (always arrays, whatever `array` says) or `csv`.
    pub fn new(format: &FormatConfig, relation: OutputRelation) -> Result<Self, ConfigError> {
        let mut format = format.clone();
        let data = match format.name.as_str() {
            "json" => {
                if format.config.is_null() {
                    format.config = json!({});
                }
                if let Value::Object(config) = &mut format.config {
                    config.insert("array".to_owned(), Value::Bool(true));
                }
                DataField::Json
            }
            "csv" => DataField::Text,
            other => {
                return Err(ConfigError::new(format!(
                    "unknown egress format `{other}`; known are `json`, `csv`"
                )));
            }
        };
        let encoder = encoder(&format, relation, StreamStart::Beginning)?;
        Ok(Self {
            encoder,
            data,
            sequence_number: 0,
        })
    }

    /// A chunk without data, which shows the client that the stream lives.
    pub fn keep_alive(&mut self) -> Vec<u8> {
        next_chunk(&mut self.sequence_number, Kind::default(), self.data, None)
    }

    /// Part of the present content.
    pub fn snapshot(&mut self, rows: &Delta) -> Result<EgressChunks<'_>, EncodeError> {
        self.chunks(
            rows,
            Kind {
                snapshot: true,
                processed_steps: None,
            },
        )
    }

    /// The changes of a step; `processed_steps` closes it, on the last chunk, which is there even
    /// if the delta is empty.
    pub fn step(
        &mut self,
        delta: &Delta,
        processed_steps: u64,
    ) -> Result<EgressChunks<'_>, EncodeError> {
        self.chunks(
            delta,
            Kind {
                snapshot: false,
                processed_steps: Some(processed_steps),
            },
        )
    }

    fn chunks(&mut self, delta: &Delta, kind: Kind) -> Result<EgressChunks<'_>, EncodeError> {
        let encoded = self.encoder.encode(delta)?;
        Ok(EgressChunks {
            records: encoded.records,
            pieces: encoded.pieces.peekable(),
            sequence_number: &mut self.sequence_number,
            data: self.data,
            kind,
        })
    }
}

#[derive(Clone, Copy, Default)]
struct Kind {
    snapshot: bool,
    /// Until it is sent.
    processed_steps: Option<u64>,
}

/// The chunks of one delta, made as they are asked for; all must be taken.
pub struct EgressChunks<'a> {
    pub records: u64,
    pieces: std::iter::Peekable<Box<dyn Iterator<Item = Vec<u8>> + Send + 'a>>,
    sequence_number: &'a mut u64,
    data: DataField,
    kind: Kind,
}

impl Iterator for EgressChunks<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let piece = self.pieces.next();
        if piece.is_none() && self.kind.processed_steps.is_none() {
            return None;
        }
        let is_last = self.pieces.peek().is_none();
        let mut kind = self.kind;
        if is_last {
            self.kind.processed_steps = None;
        } else {
            kind.processed_steps = None;
        }
        Some(next_chunk(
            self.sequence_number,
            kind,
            self.data,
            piece.as_deref(),
        ))
    }
}

fn next_chunk(
    sequence_number: &mut u64,
    kind: Kind,
    data: DataField,
    piece: Option<&[u8]>,
) -> Vec<u8> {
    let text = piece.map(|piece| std::str::from_utf8(piece).expect("JSON and CSV are text"));
    let (json, text) = match data {
        DataField::Json => (text, None),
        DataField::Text => (None, text),
    };
    let chunk = Chunk {
        sequence_number: *sequence_number,
        snapshot: kind.snapshot,
        json_data: json.map(|json| serde_json::from_str(json).expect("the encoder writes JSON")),
        text_data: text,
        processed_steps: kind.processed_steps,
    };
    *sequence_number += 1;
    let mut line = serde_json::to_vec(&chunk).expect("writing to memory cannot fail");
    line.extend_from_slice(b"\r\n");
    line
}
