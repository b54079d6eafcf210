//! Formats in: bytes of a stream to changes of a table.
//!
//! A decoder is pushed bytes in pieces of any size and asked for records. It never blocks, and
//! where the pieces end makes no difference to what comes out. A record that does not fit is an
//! entry in [`RowErrors`]; only a stream that makes no sense at all is a [`DecodeError`].

use std::fs::File;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use highwater_types::connector::{Direction, FormatConfig, check_format};
use highwater_types::relation::ColumnType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::changes::ParsedChanges;
use crate::error::{ConfigError, DecodeError, RowErrors};
use crate::table::InputTable;

mod arrow_ipc;
mod batch;
mod column;
mod csv;
mod flavor;
mod json;
mod json_value;
mod parquet;
mod rows;
mod text_value;
mod validity;
pub(crate) mod value;

/// A place between two records of a stream.
///
/// Text formats go on from `offset` (in the uncompressed stream). Binary formats keep `offset` at 0,
/// are read again from the start, and pass over `records` rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamPosition {
    /// Bytes before this place that need not be read again.
    pub offset: u64,
    /// Line ends before this place.
    #[serde(default)]
    pub lines: u64,
    /// Records before this place.
    #[serde(default)]
    pub records: u64,
    /// CSV: the header, if the stream has one and it has been read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Vec<String>>,
}

/// A piece of a decoded stream.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub changes: ParsedChanges,
    pub errors: RowErrors,
    /// Bytes of the stream that this piece took.
    pub bytes: u64,
    /// The place behind the piece.
    pub position: StreamPosition,
}

/// Turns the bytes of one stream into changes of one table.
pub trait Decoder: Send {
    /// Takes the next bytes of the stream, which begins at the position the decoder was made with.
    fn push(&mut self, bytes: &[u8]);

    /// Says that no bytes follow: what is left is the last record.
    fn finish(&mut self);

    /// Decodes about `records_max` records of what was pushed; none if more bytes are needed, or
    /// after [`Self::finish`] if all is decoded. A piece may hold errors and no rows.
    fn next(&mut self, records_max: usize) -> Result<Option<Decoded>, DecodeError>;

    /// Formats that need a whole file take it here instead of through [`Self::push`], so that it
    /// need not fit in memory. Gives the file back if the format reads streams.
    fn read_file(&mut self, file: File) -> Result<Option<File>, DecodeError> {
        Ok(Some(file))
    }
}

/// A piece ends behind the record that reaches this many bytes, however few records it has.
pub(crate) const PIECE_BYTES_MAX: usize = 16 << 20;

/// Larger records are errors. Columns count their bytes in 31 bits, which holds because a piece is
/// less than `PIECE_BYTES_MAX` and one record, and no value is larger than its text.
pub(crate) const RECORD_BYTES_MAX: usize = 256 << 20;
const _: () = assert!(PIECE_BYTES_MAX + 2 * RECORD_BYTES_MAX < i32::MAX as usize);

/// What becomes of names in the data that the table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnknownColumns {
    Error,
    Ignore,
}

/// Reads a format's or transport's own options; a missing or `null` config means none.
pub(crate) fn parse_config<T: DeserializeOwned>(config: &Value) -> Result<T, ConfigError> {
    let empty = Value::Object(serde_json::Map::new());
    let config = if config.is_null() { &empty } else { config };
    T::deserialize(config).map_err(|error| ConfigError::new(format!("config: {error}")))
}

/// An array of values that are written as JSON in a configuration.
pub(crate) fn column_of_values(
    values: &[Value],
    sql: &ColumnType,
    data_type: &DataType,
) -> Result<ArrayRef, ConfigError> {
    let mut column = column::Column::new(sql, data_type)?;
    for value in values {
        let text = value.to_string();
        column
            .push_json(&text, &flavor::DEFAULT)
            .map_err(|error| ConfigError::new(format!("{text}: {}", error.reason)))?;
    }
    column
        .take()
        .map_err(|error| ConfigError::new(error.to_string()))
}

/// A format in the registry.
pub struct InputFormat {
    pub name: &'static str,
    make: fn(&Value, &Arc<InputTable>, StreamPosition) -> MadeDecoder,
}

type MadeDecoder = Result<Box<dyn Decoder>, ConfigError>;

/// All formats that can be read, by name.
pub const INPUT_FORMATS: &[InputFormat] = &[
    InputFormat {
        name: "arrow_ipc",
        make: arrow_ipc::make,
    },
    InputFormat {
        name: "csv",
        make: csv::make,
    },
    InputFormat {
        name: "json",
        make: json::make,
    },
    InputFormat {
        name: "parquet",
        make: parquet::make,
    },
];

/// Makes the decoder of a format for a stream that goes on at `start`.
pub fn decoder(
    format: &FormatConfig,
    table: &Arc<InputTable>,
    start: StreamPosition,
) -> MadeDecoder {
    check_format(&format.name, Direction::Input)?;
    let known = INPUT_FORMATS.iter().find(|known| known.name == format.name);
    let known =
        known.ok_or_else(|| ConfigError::new(format!("unknown format `{}`", format.name)))?;
    (known.make)(&format.config, table, start)
        .map_err(|error| error.within(format_args!("format `{}`", format.name)))
}
