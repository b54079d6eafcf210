//! JSON out: rows as objects with every column, NULLs included.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use highwater_zset::Delta;
use serde::Deserialize;
use serde_json::Value;

use super::order::{Change, ordered_changes, records};
use super::value::{ValueWriter, object_key};
use super::{Encoded, Encoder, OutputRelation, PIECE_BYTES_TARGET, StreamStart};
use crate::decode::parse_config;
use crate::error::{ConfigError, EncodeError};

/// Writes the rows of a batch as JSON objects.
pub struct JsonRows {
    columns: Vec<(Vec<u8>, ValueWriter)>,
}

impl JsonRows {
    pub fn new(rows: &RecordBatch) -> Result<Self, EncodeError> {
        let schema = rows.schema();
        let parts = schema.fields().iter().zip(rows.columns());
        let column = |(field, column): (&Arc<_>, &ArrayRef)| {
            Ok((object_key(field), ValueWriter::new(column)?))
        };
        Ok(Self {
            columns: parts.map(column).collect::<Result<_, EncodeError>>()?,
        })
    }

    /// Appends row `row` as one object.
    pub fn write_object(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        for (i, (key, column)) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(key);
            column.write_json(row, out);
        }
        out.push(b'}');
    }
}

/// The JSON of an array's first value.
pub(crate) fn value_text(array: &ArrayRef) -> Result<String, EncodeError> {
    let mut text = Vec::new();
    ValueWriter::new(array)?.write_json(0, &mut text);
    String::from_utf8(text).map_err(|error| EncodeError::Arrow(error.to_string()))
}

/// `format.config` of `json` for outputs.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JsonConfig {
    update_format: UpdateFormat,
    /// Pieces are arrays, not lines.
    array: bool,
}

/// The shape of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpdateFormat {
    #[default]
    InsertDelete,
    Weighted,
}

struct JsonEncoder {
    config: JsonConfig,
    relation: Arc<OutputRelation>,
}

/// Makes the encoder.
pub(super) fn make(
    config: &Value,
    relation: Arc<OutputRelation>,
    _: StreamStart,
) -> Result<Box<dyn Encoder>, ConfigError> {
    Ok(Box::new(JsonEncoder {
        config: parse_config(config)?,
        relation,
    }))
}

impl Encoder for JsonEncoder {
    fn encode<'a>(&'a mut self, delta: &Delta) -> Result<Encoded<'a>, EncodeError> {
        let changes = ordered_changes(delta, &self.relation.key)?;
        let records = records(&changes);
        let rows = JsonRows::new(delta.rows())?;
        let pieces = JsonPieces {
            config: self.config,
            rows,
            changes,
            next: 0,
            repeated: 0,
        };
        Ok(Encoded {
            records,
            pieces: Box::new(pieces),
        })
    }
}

/// Writes changes until a piece is full, then stops until the next one is asked for.
struct JsonPieces {
    config: JsonConfig,
    rows: JsonRows,
    changes: Vec<Change>,
    next: usize,
    /// How often the next change has been written.
    repeated: u64,
}

impl Iterator for JsonPieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.next == self.changes.len() {
            return None;
        }
        let mut piece = Vec::new();
        let (open, separator, close): (&[u8], &[u8], &[u8]) = if self.config.array {
            (b"[", b",", b"]\n")
        } else {
            (b"", b"\n", b"\n")
        };
        piece.extend_from_slice(open);
        let mut is_first = true;
        while piece.len() < PIECE_BYTES_TARGET {
            let Some(&change) = self.changes.get(self.next) else {
                break;
            };
            if !std::mem::take(&mut is_first) {
                piece.extend_from_slice(separator);
            }
            self.write_change(change, &mut piece);
        }
        piece.extend_from_slice(close);
        Some(piece)
    }
}

impl JsonPieces {
    /// Writes one record and steps on.
    fn write_change(&mut self, change: Change, piece: &mut Vec<u8>) {
        let repetitions = match self.config.update_format {
            UpdateFormat::InsertDelete => {
                let is_insert = change.weight > 0;
                piece.extend_from_slice(if is_insert {
                    b"{\"insert\":"
                } else {
                    b"{\"delete\":"
                });
                change.weight.unsigned_abs()
            }
            UpdateFormat::Weighted => {
                piece.extend_from_slice(
                    format!("{{\"weight\":{},\"data\":", change.weight).as_bytes(),
                );
                1
            }
        };
        self.rows.write_object(change.row, piece);
        piece.push(b'}');
        self.repeated += 1;
        if self.repeated == repetitions {
            self.repeated = 0;
            self.next += 1;
        }
    }
}
