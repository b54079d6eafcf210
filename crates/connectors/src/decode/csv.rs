//! CSV in: a row per record, columns by position, or by name if there is a header.
//!
//! An empty field is NULL, unless the column holds text and is NOT NULL or `null_value` says how
//! NULL is written instead. ARRAY, MAP, ROW and BINARY are JSON text.

use std::sync::Arc;

use csv_core::ReadRecordResult;
use highwater_types::relation::SqlType;
use serde::Deserialize;
use serde_json::Value;

use super::flavor;
use super::rows::{Change, RowBuilder};
use super::{DecodeError, Decoded, Decoder, PIECE_BYTES_MAX, RECORD_BYTES_MAX, StreamPosition};
use super::{UnknownColumns, parse_config};
use crate::encode::WEIGHT_COLUMN;
use crate::error::{ConfigError, RowError, RowErrors, ValueError, shorten};
use crate::table::InputTable;

/// `format.config` of `csv`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CsvConfig {
    /// Is the first record the names of the columns?
    headers: bool,
    delimiter: char,
    /// Texts that stand for NULL.
    null_value: Texts,
    unknown_columns: UnknownColumns,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl Texts {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(text) => vec![text],
            Self::Several(texts) => texts,
        }
    }
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            headers: false,
            delimiter: ',',
            null_value: Texts::Several(Vec::new()),
            unknown_columns: UnknownColumns::Error,
        }
    }
}

/// What a field of every record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldUse {
    Column(usize),
    /// Named [`WEIGHT_COLUMN`] in the header.
    Weight,
    PassOver,
}

/// Reads a stream of CSV records.
struct CsvDecoder {
    rows: RowBuilder,
    reader: csv_core::Reader,
    null_values: Vec<String>,
    unknown_columns: UnknownColumns,
    /// Where each field goes. Empty until the header is read.
    fields: Vec<FieldUse>,
    buffer: Vec<u8>,
    /// Bytes of the buffer that the reader has taken.
    read: usize,
    finished: bool,
    record: Record,
    /// Bytes that the reader took since the last record's end.
    record_bytes: u64,
    position: StreamPosition,
}

/// The fields of the record that is being read, end to end.
struct Record {
    text: Vec<u8>,
    text_length: usize,
    ends: Vec<usize>,
    fields: usize,
}

impl Record {
    fn new() -> Self {
        Self {
            text: vec![0; 1024],
            text_length: 0,
            ends: vec![0; 64],
            fields: 0,
        }
    }

    fn clear(&mut self) {
        self.text_length = 0;
        self.fields = 0;
    }

    fn field(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }
}

/// Makes the decoder.
pub(super) fn make(
    config: &Value,
    table: &Arc<InputTable>,
    start: StreamPosition,
) -> Result<Box<dyn Decoder>, ConfigError> {
    let config: CsvConfig = parse_config(config)?;
    let delimiter = u8::try_from(config.delimiter)
        .ok()
        .filter(|byte| byte.is_ascii());
    let delimiter = delimiter.filter(|byte| !matches!(byte, b'"' | b'\n' | b'\r'));
    let delimiter = delimiter.ok_or_else(|| {
        ConfigError::new("`delimiter` must be one ASCII character, and no quote or line end")
    })?;
    let mut reader = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
    reader.set_line(start.lines + 1);
    let mut decoder = CsvDecoder {
        rows: RowBuilder::new(table)?,
        reader,
        null_values: config.null_value.into_vec(),
        unknown_columns: config.unknown_columns,
        fields: Vec::new(),
        buffer: Vec::new(),
        read: 0,
        finished: false,
        record: Record::new(),
        record_bytes: 0,
        position: start,
    };
    match decoder.position.header.clone() {
        Some(header) => decoder
            .set_header(header)
            .map_err(|error| ConfigError::new(format!("position of another stream: {error}")))?,
        None if config.headers => {}
        None => decoder.fields = (0..table.columns()).map(FieldUse::Column).collect(),
    }
    Ok(Box::new(decoder))
}

impl Decoder for CsvDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.read);
        self.read = 0;
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
            self.skip_line_ends();
            let line = self.position.lines + 1;
            if !self.read_record()? {
                break;
            }
            if self.fields.is_empty() {
                let header = self.header()?;
                self.set_header(header)?;
            } else {
                self.position.records += 1;
                self.decode_record(line, &mut errors);
            }
            self.record.clear();
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

impl CsvDecoder {
    /// Passes over what the reader would pass over, so that positions and line numbers are those of
    /// the next record.
    fn skip_line_ends(&mut self) {
        if self.record_bytes > 0 {
            return;
        }
        let rest = &self.buffer[self.read..];
        let skipped = rest.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
        let skipped = &rest[..skipped.unwrap_or(rest.len())];
        self.position.lines += memchr::memchr_iter(b'\n', skipped).count() as u64;
        self.position.offset += skipped.len() as u64;
        self.read += skipped.len();
        self.reader.set_line(self.position.lines + 1);
    }

    /// Reads one record; false if its end is not there yet.
    fn read_record(&mut self) -> Result<bool, DecodeError> {
        if self.position.offset == 0 && self.record_bytes == 0 && !self.finished {
            // The reader looks for a byte order mark in the first bytes it is given, only.
            if self.buffer.len() < 3 {
                return Ok(false);
            }
        }
        loop {
            let input = &self.buffer[self.read..];
            if input.is_empty() && !self.finished {
                return Ok(false);
            }
            let record = &mut self.record;
            let (result, read, written, ends) = self.reader.read_record(
                input,
                &mut record.text[record.text_length..],
                &mut record.ends[record.fields..],
            );
            self.read += read;
            self.record_bytes += read as u64;
            record.text_length += written;
            record.fields += ends;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => self.grow_text()?,
                ReadRecordResult::OutputEndsFull => {
                    let fields = record.ends.len();
                    record.ends.resize(fields * 2, 0);
                }
                ReadRecordResult::Record => {
                    self.position.offset += std::mem::take(&mut self.record_bytes);
                    self.position.lines = self.reader.line() - 1;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    fn grow_text(&mut self) -> Result<(), DecodeError> {
        let length = self.record.text.len();
        if length > RECORD_BYTES_MAX {
            let line = self.position.lines + 1;
            return Err(DecodeError::Corrupt {
                format: "CSV",
                reason: format!(
                    "the record at line {line} is larger than {RECORD_BYTES_MAX} bytes; is a closing quote missing?"
                ),
            });
        }
        self.record.text.resize(length * 2, 0);
        Ok(())
    }

    fn header(&self) -> Result<Vec<String>, DecodeError> {
        let name = |index| match std::str::from_utf8(self.record.field(index)) {
            Ok(name) => Ok(name.trim().to_owned()),
            Err(_) => Err(DecodeError::Columns(
                "the CSV header is not UTF-8".to_owned(),
            )),
        };
        (0..self.record.fields).map(name).collect()
    }

    /// Finds the columns of a header's names.
    fn set_header(&mut self, header: Vec<String>) -> Result<(), DecodeError> {
        let table = self.rows.table();
        let mut fields = Vec::with_capacity(header.len());
        for name in &header {
            let field = match table.names().find(name) {
                Some(column) => FieldUse::Column(column),
                None if name == WEIGHT_COLUMN => FieldUse::Weight,
                None if self.unknown_columns == UnknownColumns::Ignore => FieldUse::PassOver,
                None => {
                    return Err(DecodeError::Columns(format!(
                        "the CSV header names `{}`, which table `{}` does not have; \
                         set \"unknown_columns\": \"ignore\" to pass over such columns",
                        shorten(name),
                        table.relation().name
                    )));
                }
            };
            if field != FieldUse::PassOver && fields.contains(&field) {
                let name = shorten(name);
                return Err(DecodeError::Columns(format!(
                    "the CSV header names `{name}` twice"
                )));
            }
            fields.push(field);
        }
        self.fields = fields;
        self.position.header = Some(header);
        Ok(())
    }

    fn decode_record(&mut self, line: u64, errors: &mut RowErrors) {
        if let Err((column, cause)) = self.push_row() {
            self.rows.abandon();
            let table = self.rows.table();
            errors.push(RowError {
                record: self.position.records,
                line: Some(line),
                column: column.map(|column| table.column_name(column).to_owned()),
                value: cause.value,
                reason: cause.reason,
            });
        }
    }

    fn push_row(&mut self) -> Result<(), (Option<usize>, ValueError)> {
        if self.record.fields != self.fields.len() {
            let text = String::from_utf8_lossy(&self.record.text[..self.record.text_length]);
            let reason = format!(
                "{} fields instead of {}",
                self.record.fields,
                self.fields.len()
            );
            return Err((None, ValueError::of(&text, reason)));
        }
        let mut weight = 1;
        for (field, field_use) in self.fields.iter().enumerate() {
            let bytes = self.record.field(field);
            match *field_use {
                FieldUse::PassOver => {}
                FieldUse::Weight => weight = parse_weight(bytes).map_err(|error| (None, error))?,
                FieldUse::Column(column) => {
                    let text = utf8(bytes).map_err(|error| (Some(column), error))?;
                    let is_null = self.is_null(text, column);
                    let target = self.rows.column(column);
                    if is_null {
                        target.push_null();
                    } else {
                        let pushed = target.push_text(text, &flavor::DEFAULT);
                        pushed.map_err(|error| (Some(column), error))?;
                    }
                }
            }
        }
        let completed = self.rows.complete(Change::Weight(weight));
        completed.map_err(|(column, error)| (Some(column), error))
    }

    fn is_null(&self, text: &str, column: usize) -> bool {
        if !text.is_empty() {
            return self.null_values.iter().any(|null| null == text);
        }
        let sql_type = self.rows.table().column_type(column);
        let holds_text = matches!(sql_type.sql_type, SqlType::Char | SqlType::Varchar);
        if holds_text && !self.null_values.is_empty() {
            return self.null_values.iter().any(String::is_empty);
        }
        !holds_text || (sql_type.nullable && !self.rows.table().is_key_column(column))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes)
        .map_err(|_| ValueError::of(&String::from_utf8_lossy(bytes), "not UTF-8"))
}

fn parse_weight(bytes: &[u8]) -> Result<i64, ValueError> {
    let text = utf8(bytes)?;
    text.trim()
        .parse()
        .map_err(|_| ValueError::of(text, "not a weight"))
}
