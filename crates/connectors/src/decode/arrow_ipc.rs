//! Arrow IPC in: the stream format, and the file format, whose body is the stream format behind a
//! magic of eight bytes and padding.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::ipc::reader::StreamDecoder;
use serde_json::Value;

use super::batch::{BatchConfig, Mapping, catch_panics};
use super::{DecodeError, Decoded, Decoder, StreamPosition, parse_config};
use crate::changes::ParsedChanges;
use crate::error::{ConfigError, RowErrors};
use crate::table::InputTable;

const FILE_MAGIC: &[u8; 8] = b"ARROW1\0\0";

/// Where the decoder is before the first message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// A file or a stream?
    Unknown,
    /// A file, behind its magic, where zeros may follow.
    Padding,
    Behind,
}

/// Reads a stream of record batches.
struct ArrowDecoder {
    table: Arc<InputTable>,
    config: BatchConfig,
    mapping: Option<Mapping>,
    /// None once the end of the stream's messages was reached.
    reader: Option<StreamDecoder>,
    beginning: Beginning,
    /// Pushed, and not yet given to the reader.
    pending: Vec<u8>,
    /// What the reader is at.
    reading: Buffer,
    /// The batch that is being handed over and how many of its rows are.
    batch: Option<(RecordBatch, usize)>,
    /// Rows that were handed over before the stream was opened again.
    skip: u64,
    bytes: u64,
    finished: bool,
    position: StreamPosition,
}

/// Makes the decoder.
pub(super) fn make(
    config: &Value,
    table: &Arc<InputTable>,
    start: StreamPosition,
) -> Result<Box<dyn Decoder>, ConfigError> {
    Ok(Box::new(ArrowDecoder {
        table: Arc::clone(table),
        config: parse_config(config)?,
        mapping: None,
        reader: Some(StreamDecoder::new()),
        beginning: Beginning::Unknown,
        pending: Vec::new(),
        reading: Buffer::from_vec(Vec::<u8>::new()),
        batch: None,
        skip: start.records,
        bytes: 0,
        finished: false,
        position: start,
    }))
}

impl Decoder for ArrowDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.reader.is_some() {
            self.pending.extend_from_slice(bytes);
        }
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn next(&mut self, records_max: usize) -> Result<Option<Decoded>, DecodeError> {
        catch_panics("Arrow IPC", || {
            while self.batch.is_none() {
                match self.read_batch()? {
                    Some(batch) => self.accept(batch),
                    None => return Ok(None),
                }
            }
            self.hand_over(records_max).map(Some)
        })
    }
}

impl ArrowDecoder {
    fn read_batch(&mut self) -> Result<Option<RecordBatch>, DecodeError> {
        if self.beginning != Beginning::Behind && !self.pass_beginning() {
            return Ok(None);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        loop {
            if self.reading.is_empty() {
                self.reading = Buffer::from_vec(std::mem::take(&mut self.pending));
            }
            match reader.decode(&mut self.reading) {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) if !self.pending.is_empty() => {}
                Ok(None) if self.finished => {
                    return reader
                        .finish()
                        .map(|()| None)
                        .map_err(|error| corrupt(&error));
                }
                Ok(None) => return Ok(None),
                // Behind the end of the messages, where a file has its footer.
                Err(_) if reader.finish().is_ok() && reader.schema().is_some() => {
                    self.reader = None;
                    self.reading = Buffer::from_vec(Vec::<u8>::new());
                    self.pending.clear();
                    return Ok(None);
                }
                Err(error) => return Err(corrupt(&error)),
            }
        }
    }

    /// False if more bytes are needed to see whether this is a file and where its messages begin.
    fn pass_beginning(&mut self) -> bool {
        if self.beginning == Beginning::Unknown {
            if self.pending.len() < FILE_MAGIC.len() && !self.finished {
                return false;
            }
            self.beginning = Beginning::Behind;
            if self.pending.starts_with(FILE_MAGIC) {
                self.pending.drain(..FILE_MAGIC.len());
                self.beginning = Beginning::Padding;
            }
        }
        if self.beginning == Beginning::Padding {
            // Messages begin with a marker of ones.
            let zeros = self.pending.iter().position(|byte| *byte != 0);
            self.pending.drain(..zeros.unwrap_or(self.pending.len()));
            if self.pending.is_empty() && !self.finished {
                return false;
            }
            self.beginning = Beginning::Behind;
        }
        true
    }

    /// Takes a batch, but for the rows that were handed over before.
    fn accept(&mut self, batch: RecordBatch) {
        let skipped = self.skip.min(batch.num_rows() as u64);
        self.skip -= skipped;
        if (skipped as usize) < batch.num_rows() {
            self.batch = Some((batch, skipped as usize));
        }
    }

    fn hand_over(&mut self, records_max: usize) -> Result<Decoded, DecodeError> {
        let Some((batch, from)) = self.batch.take() else {
            let changes = ParsedChanges::empty(Arc::clone(self.table.schema()));
            let errors = RowErrors::default();
            return Ok(Decoded {
                changes,
                errors,
                bytes: 0,
                position: self.position.clone(),
            });
        };
        if self.mapping.is_none() {
            let unknown = self.config.unknown_columns;
            self.mapping = Some(Mapping::new(&self.table, &batch.schema(), unknown)?);
        }
        let rows = records_max.max(1).min(batch.num_rows() - from);
        let piece = batch.slice(from, rows);
        let first_record = self.position.records + 1;
        let mapping = self.mapping.as_ref().expect("made above");
        let (changes, errors) = mapping.changes(&piece, first_record)?;
        self.position.records += rows as u64;
        if from + rows < batch.num_rows() {
            self.batch = Some((batch, from + rows));
        }
        let bytes = std::mem::take(&mut self.bytes);
        Ok(Decoded {
            changes,
            errors,
            bytes,
            position: self.position.clone(),
        })
    }
}

fn corrupt(error: &arrow::error::ArrowError) -> DecodeError {
    DecodeError::Corrupt {
        format: "Arrow IPC",
        reason: error.to_string(),
    }
}
