//! JSON in: records of one of four shapes, one after another or in arrays.
//!
//! | `update_format` | record |
//! |---|---|
//! | `raw` | `row` |
//! | `insert_delete` | `{"insert": row}`, `{"delete": row}`, `{"update": part of a row}` |
//! | `weighted` | `{"weight": n, "data": row}` |
//! | `debezium` | `{"payload": {"op": "c", "before": null, "after": row}}` |
//!
//! A row is an object, or an array of all columns in order. With `array` each record is an array of
//! such updates, and one bad update drops its whole array.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde_json::Value;

use super::flavor::{self, Flavor};
use super::json_value::Context;
use super::rows::RowBuilder;
use super::{DecodeError, Decoded, Decoder, PIECE_BYTES_MAX, RECORD_BYTES_MAX, StreamPosition};
use super::{UnknownColumns, parse_config};
use crate::error::{ConfigError, RowError, RowErrors, shorten};
use crate::table::InputTable;

mod split;
mod update;

use split::Splitter;
use update::{ArraySeed, KeyCache, Sink, UpdateSeed};

/// `format.config` of `json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JsonConfig {
    update_format: UpdateFormat,
    json_flavor: String,
    array: bool,
    lines: Lines,
    unknown_columns: UnknownColumns,
}

impl Default for JsonConfig {
    fn default() -> Self {
        Self {
            update_format: UpdateFormat::InsertDelete,
            json_flavor: "default".to_owned(),
            array: false,
            lines: Lines::Multiple,
            unknown_columns: UnknownColumns::Error,
        }
    }
}

/// The shape of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpdateFormat {
    Raw,
    InsertDelete,
    Weighted,
    Debezium,
}

/// May a record go over several lines?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lines {
    Multiple,
    Single,
}

/// What the updates of a stream have in common.
struct Options {
    update_format: UpdateFormat,
    unknown_columns: UnknownColumns,
    flavor: Flavor,
}

/// Reads a stream of JSON records.
struct JsonDecoder {
    rows: RowBuilder,
    keys: KeyCache,
    options: Options,
    array: bool,
    splitter: Splitter,
    /// Bytes from the start of the next record on.
    buffer: Vec<u8>,
    /// Bytes of the buffer that are decoded already.
    decoded: usize,
    /// Bytes of the buffer that the splitter has looked at.
    looked_at: usize,
    finished: bool,
    /// What was dropped of a record that is too large to be kept.
    dropped: Option<Dropped>,
    position: StreamPosition,
}

/// The part of an oversized record that was seen.
#[derive(Default)]
struct Dropped {
    bytes: u64,
    lines: u64,
}

/// Makes the decoder.
pub(super) fn make(
    config: &Value,
    table: &Arc<InputTable>,
    start: StreamPosition,
) -> Result<Box<dyn Decoder>, ConfigError> {
    let config: JsonConfig = parse_config(config)?;
    Ok(Box::new(JsonDecoder {
        rows: RowBuilder::new(table)?,
        keys: KeyCache::default(),
        options: Options {
            update_format: config.update_format,
            unknown_columns: config.unknown_columns,
            flavor: flavor::find(&config.json_flavor)?,
        },
        array: config.array,
        splitter: Splitter::new(config.lines),
        buffer: Vec::new(),
        decoded: 0,
        looked_at: 0,
        finished: false,
        dropped: None,
        position: start,
    }))
}

impl Decoder for JsonDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.decoded);
        self.looked_at -= self.decoded;
        self.decoded = 0;
        self.buffer.extend_from_slice(bytes);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next(&mut self, records_max: usize) -> Result<Option<Decoded>, DecodeError> {
        let mut errors = RowErrors::default();
        let start = self.position.clone();
        let bytes_max = start.offset + PIECE_BYTES_MAX as u64;
        let records_max = start.records + records_max.max(1) as u64;
        while self.position.records < records_max && self.position.offset < bytes_max {
            let Some(end) = self.find_end() else { break };
            self.decode_record(end, &mut errors);
        }
        if self.position.records == start.records {
            return Ok(None);
        }
        let bytes = self.position.offset - start.offset;
        let changes = self.rows.take();
        Ok(Some(Decoded {
            changes,
            errors,
            bytes,
            position: self.position.clone(),
        }))
    }
}

impl JsonDecoder {
    /// The end, in the buffer, of the next record.
    fn find_end(&mut self) -> Option<usize> {
        self.pass_byte_order_mark()?;
        let found = self.splitter.find_end(&self.buffer, self.looked_at);
        self.looked_at = found.unwrap_or(self.buffer.len());
        if found.is_some() || !self.splitter.is_inside() {
            return found;
        }
        if self.buffer.len() - self.decoded > RECORD_BYTES_MAX {
            let dropped = self.dropped.get_or_insert_default();
            let bytes = &self.buffer[self.decoded..];
            dropped.lines += count_lines(bytes);
            dropped.bytes += bytes.len() as u64;
            self.decoded = self.buffer.len();
        }
        if self.finished {
            self.splitter.reset();
            return Some(self.buffer.len());
        }
        None
    }

    /// None if it cannot be told yet whether the stream begins with a byte order mark.
    fn pass_byte_order_mark(&mut self) -> Option<()> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.position.offset == 0 && self.decoded == 0 {
            let seen = self.buffer.len().min(MARK.len());
            if self.buffer[..seen] == MARK[..seen] {
                if seen < MARK.len() && !self.finished {
                    return None;
                }
                self.pass(seen);
                self.looked_at = self.decoded;
            }
        }
        Some(())
    }

    /// Counts the bytes up to `end` as decoded.
    fn pass(&mut self, end: usize) {
        let bytes = &self.buffer[self.decoded..end];
        self.position.lines += count_lines(bytes);
        self.position.offset += bytes.len() as u64;
        self.decoded = end;
    }

    fn decode_record(&mut self, end: usize, errors: &mut RowErrors) {
        let blanks = self.buffer[self.decoded..end]
            .iter()
            .position(|b| !b.is_ascii_whitespace());
        self.pass(self.decoded + blanks.unwrap_or_default());
        let start = self.decoded;
        let line = self.position.lines + 1;
        self.position.records += 1;
        self.pass(end);
        let mut error = RowError {
            record: self.position.records,
            line: Some(line),
            column: None,
            value: None,
            reason: String::new(),
        };
        if let Some(dropped) = self.dropped.take() {
            self.position.offset += dropped.bytes;
            self.position.lines += dropped.lines;
            error.reason = format!("larger than {RECORD_BYTES_MAX} bytes");
            return errors.push(error);
        }
        let rows_before = self.rows.rows();
        let record = &self.buffer[start..end];
        let mut sink = Sink {
            rows: &mut self.rows,
            keys: &mut self.keys,
            options: &self.options,
            context: Context::new(&self.options.flavor),
            element: None,
        };
        let mut deserializer = serde_json::Deserializer::from_slice(record);
        let parsed = if self.array {
            ArraySeed(&mut sink).deserialize(&mut deserializer)
        } else {
            UpdateSeed(&mut sink).deserialize(&mut deserializer)
        };
        if let Err(cause) = parsed.and_then(|()| deserializer.end()) {
            let element = sink.element;
            let failure = sink.context.explain(&cause, record);
            self.rows.truncate(rows_before);
            let table = self.rows.table();
            error.column = failure
                .column
                .map(|column| table.column_name(column).to_owned());
            error.value = failure.error.value.map(|value| shorten(&value));
            error.reason = match element {
                Some(element) => {
                    format!("element {element} of the array: {}", failure.error.reason)
                }
                None => failure.error.reason,
            };
            errors.push(error);
        }
    }
}

fn count_lines(bytes: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', bytes).count() as u64
}
