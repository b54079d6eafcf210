//! CSV out: the columns, then the weight. NULL is an empty field unless `null_value` names it.

use std::sync::Arc;

use ::csv::{ByteRecord, Writer, WriterBuilder};
use arrow::array::ArrayRef;
use highwater_zset::Delta;
use serde::Deserialize;
use serde_json::Value;

use super::order::{Change, ordered_changes, records};
use super::value::ValueWriter;
use super::{Encoded, Encoder, OutputRelation, PIECE_BYTES_TARGET, StreamStart, WEIGHT_COLUMN};
use crate::decode::parse_config;
use crate::error::{ConfigError, EncodeError};

/// `format.config` of `csv` for outputs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CsvConfig {
    headers: bool,
    delimiter: char,
    null_value: String,
}

impl Default for CsvConfig {
    fn default() -> Self {
        Self {
            headers: false,
            delimiter: ',',
            null_value: String::new(),
        }
    }
}

struct CsvEncoder {
    delimiter: u8,
    null_value: String,
    relation: Arc<OutputRelation>,
    /// True if the next piece begins with the header.
    header_is_due: bool,
}

/// Makes the encoder.
pub(super) fn make(
    config: &Value,
    relation: Arc<OutputRelation>,
    start: StreamStart,
) -> Result<Box<dyn Encoder>, ConfigError> {
    let config: CsvConfig = parse_config(config)?;
    let delimiter = u8::try_from(config.delimiter).ok().filter(u8::is_ascii);
    let delimiter =
        delimiter.ok_or_else(|| ConfigError::new("`delimiter` must be one ASCII character"))?;
    Ok(Box::new(CsvEncoder {
        delimiter,
        null_value: config.null_value,
        relation,
        header_is_due: config.headers && start == StreamStart::Beginning,
    }))
}

impl Encoder for CsvEncoder {
    fn encode<'a>(&'a mut self, delta: &Delta) -> Result<Encoded<'a>, EncodeError> {
        let changes = ordered_changes(delta, &self.relation.key)?;
        let records = records(&changes);
        let columns = delta
            .rows()
            .columns()
            .iter()
            .map(|column: &ArrayRef| ValueWriter::new(column));
        let columns = columns.collect::<Result<_, _>>()?;
        let pieces = CsvPieces {
            encoder: self,
            columns,
            changes,
            next: 0,
        };
        Ok(Encoded {
            records,
            pieces: Box::new(pieces),
        })
    }
}

struct CsvPieces<'a> {
    encoder: &'a mut CsvEncoder,
    columns: Vec<ValueWriter>,
    changes: Vec<Change>,
    next: usize,
}

impl Iterator for CsvPieces<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.next == self.changes.len() {
            return None;
        }
        let mut writer = WriterBuilder::new()
            .delimiter(self.encoder.delimiter)
            .from_writer(Vec::new());
        let mut bytes = 0;
        if std::mem::take(&mut self.encoder.header_is_due) {
            let names = self
                .encoder
                .relation
                .schema
                .fields()
                .iter()
                .map(|field| field.name());
            let header: ByteRecord = names
                .map(String::as_str)
                .chain([WEIGHT_COLUMN])
                .collect::<Vec<_>>()
                .into();
            bytes += write(&mut writer, &header);
        }
        let (mut record, mut field) = (ByteRecord::new(), Vec::new());
        while bytes < PIECE_BYTES_TARGET && self.next < self.changes.len() {
            self.fill(self.changes[self.next], &mut record, &mut field);
            bytes += write(&mut writer, &record);
            self.next += 1;
        }
        Some(writer.into_inner().expect("writing to memory cannot fail"))
    }
}

impl CsvPieces<'_> {
    fn fill(&self, change: Change, record: &mut ByteRecord, field: &mut Vec<u8>) {
        record.clear();
        for column in &self.columns {
            field.clear();
            if column.is_null(change.row) {
                field.extend_from_slice(self.encoder.null_value.as_bytes());
            } else {
                column.write_text(change.row, field);
            }
            record.push_field(field);
        }
        record.push_field(change.weight.to_string().as_bytes());
    }
}

/// Writes a record and gives its size without quotes.
fn write(writer: &mut Writer<Vec<u8>>, record: &ByteRecord) -> usize {
    writer
        .write_byte_record(record)
        .expect("writing to memory cannot fail");
    record.as_slice().len() + record.len()
}
