//! Formats out: deltas of a table or view to bytes.
//!
//! Within one delta all deletions come before all insertions, both sorted by the relation's key
//! (else by the whole row), and changes that cancel are left out. Pieces are made one at a time and
//! bounded in bytes, however large a weight is.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::SchemaRef;
use highwater_types::connector::{Direction, FormatConfig, check_format};
use highwater_types::relation::Relation;
use highwater_zset::Delta;
use serde_json::Value;

use crate::error::{ConfigError, EncodeError};

mod arrow_ipc;
mod csv;
pub mod egress;
pub mod json;
mod order;
mod value;

/// Bytes after which a piece is closed.
pub const PIECE_BYTES_TARGET: usize = 1 << 20;

/// The name of the column of weights, where a format has names.
pub const WEIGHT_COLUMN: &str = "__weight";

/// A delta's bytes, in pieces that each end between two records.
pub struct Encoded<'a> {
    /// Insertions and deletions; a row of weight 3 counts three times.
    pub records: u64,
    pub pieces: Box<dyn Iterator<Item = Vec<u8>> + Send + 'a>,
}

/// Turns the deltas of one relation into a stream of bytes.
pub trait Encoder: Send {
    /// Encodes the next delta of the stream; all pieces must be taken.
    fn encode<'a>(&'a mut self, delta: &Delta) -> Result<Encoded<'a>, EncodeError>;
}

/// The text of each value of an array without NULLs.
pub(crate) fn value_texts(array: &ArrayRef) -> Result<Vec<Vec<u8>>, EncodeError> {
    let writer = value::ValueWriter::new(array)?;
    let text = |row| {
        let mut text = Vec::new();
        writer.write_text(row, &mut text);
        text
    };
    Ok((0..array.len()).map(text).collect())
}

/// What an encoder is made for.
#[derive(Clone, Debug)]
pub struct OutputRelation {
    pub schema: SchemaRef,
    /// Columns to sort by first.
    pub key: Vec<usize>,
}

impl OutputRelation {
    /// `schema` has the relation's columns in order.
    pub fn new(relation: &Relation, schema: SchemaRef) -> Self {
        let names = relation.primary_key.iter().flatten();
        let position = |name: &String| relation.fields.iter().position(|field| field.name == *name);
        Self {
            schema,
            key: names.filter_map(position).collect(),
        }
    }
}

/// Does the stream begin with the encoder, or was its beginning written before a restart?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamStart {
    Beginning,
    Continued,
}

/// A format in the registry.
pub struct OutputFormat {
    pub name: &'static str,
    make: fn(&Value, Arc<OutputRelation>, StreamStart) -> MadeEncoder,
}

type MadeEncoder = Result<Box<dyn Encoder>, ConfigError>;

/// All formats that can be written, by name.
pub const OUTPUT_FORMATS: &[OutputFormat] = &[
    OutputFormat {
        name: "arrow_ipc",
        make: arrow_ipc::make,
    },
    OutputFormat {
        name: "csv",
        make: csv::make,
    },
    OutputFormat {
        name: "json",
        make: json::make,
    },
];

/// Makes the encoder of a format.
pub fn encoder(format: &FormatConfig, relation: OutputRelation, start: StreamStart) -> MadeEncoder {
    check_format(&format.name, Direction::Output)?;
    let known = OUTPUT_FORMATS
        .iter()
        .find(|known| known.name == format.name);
    let known =
        known.ok_or_else(|| ConfigError::new(format!("unknown format `{}`", format.name)))?;
    (known.make)(&format.config, Arc::new(relation), start)
        .map_err(|error| error.within(format_args!("format `{}`", format.name)))
}
