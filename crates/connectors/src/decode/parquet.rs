//! Parquet in: a whole file, since its directory is at its end.
//!
//! A local file is read where it lies, row group by row group; a file that comes as a stream is
//! collected first.

use std::fs::File;
use std::sync::Arc;

use ::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use ::parquet::file::reader::ChunkReader;
use arrow::array::RecordBatch;
use bytes::Bytes;
use serde_json::Value;

use super::batch::{BatchConfig, Mapping, catch_panics};
use super::{DecodeError, Decoded, Decoder, StreamPosition, parse_config};
use crate::error::ConfigError;
use crate::table::InputTable;

/// Rows that are decoded at once.
const BATCH_ROWS: usize = 8192;

/// Reads one Parquet file.
struct ParquetDecoder {
    table: Arc<InputTable>,
    config: BatchConfig,
    /// The file as far as it has come.
    collected: Vec<u8>,
    file: Option<OpenFile>,
    finished: bool,
    position: StreamPosition,
}

struct OpenFile {
    batches: ParquetRecordBatchReader,
    mapping: Mapping,
    batch: Option<(RecordBatch, usize)>,
    bytes_per_row: f64,
}

/// Makes the decoder.
pub(super) fn make(
    config: &Value,
    table: &Arc<InputTable>,
    start: StreamPosition,
) -> Result<Box<dyn Decoder>, ConfigError> {
    Ok(Box::new(ParquetDecoder {
        table: Arc::clone(table),
        config: parse_config(config)?,
        collected: Vec::new(),
        file: None,
        finished: false,
        position: start,
    }))
}

impl Decoder for ParquetDecoder {
    fn push(&mut self, bytes: &[u8]) {
        self.collected.extend_from_slice(bytes);
    }

    fn finish(&mut self) {
        self.finished = true;
    }

    fn read_file(&mut self, file: File) -> Result<Option<File>, DecodeError> {
        catch_panics("Parquet", || self.open(file))?;
        Ok(None)
    }

    fn next(&mut self, records_max: usize) -> Result<Option<Decoded>, DecodeError> {
        catch_panics("Parquet", || {
            if self.file.is_none() {
                if !self.finished {
                    return Ok(None);
                }
                let bytes = Bytes::from(std::mem::take(&mut self.collected));
                self.open(bytes)?;
            }
            self.next_piece(records_max)
        })
    }
}

impl ParquetDecoder {
    fn open(&mut self, file: impl ChunkReader + 'static) -> Result<(), DecodeError> {
        let bytes = file.len();
        // The types in the file's own words; an Arrow schema inside it may hold odd ones.
        let options = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(corrupt)?;
        let rows = metadata.metadata().file_metadata().num_rows().max(1);
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let unknown = self.config.unknown_columns;
        let mapping = Mapping::new(&self.table, builder.schema(), unknown)?;
        let skipped = usize::try_from(self.position.records).unwrap_or(usize::MAX);
        let batches = builder
            .with_batch_size(BATCH_ROWS)
            .with_offset(skipped)
            .build();
        self.file = Some(OpenFile {
            batches: batches.map_err(corrupt)?,
            mapping,
            batch: None,
            bytes_per_row: bytes as f64 / rows as f64,
        });
        Ok(())
    }

    fn next_piece(&mut self, records_max: usize) -> Result<Option<Decoded>, DecodeError> {
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        let (batch, from) = match file.batch.take() {
            Some(rest) => rest,
            None => match file.batches.next().transpose().map_err(corrupt)? {
                Some(batch) => (batch, 0),
                None => return Ok(None),
            },
        };
        let rows = records_max.max(1).min(batch.num_rows() - from);
        let piece = batch.slice(from, rows);
        let (changes, errors) = file.mapping.changes(&piece, self.position.records + 1)?;
        if from + rows < batch.num_rows() {
            file.batch = Some((batch, from + rows));
        }
        self.position.records += rows as u64;
        let bytes = (rows as f64 * file.bytes_per_row) as u64;
        Ok(Some(Decoded {
            changes,
            errors,
            bytes,
            position: self.position.clone(),
        }))
    }
}

fn corrupt(error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Corrupt {
        format: "Parquet",
        reason: error.to_string(),
    }
}
