//! Where rows go, batch after batch: CSV, JSON lines, Arrow IPC, Parquet.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::arguments::ExportFormat;
use crate::format::{csv_header, csv_rows, json_rows};

/// Writes rows in one format. What it keeps of them does not grow with their number, but for the index
/// of Parquet.
pub(super) enum Sink<W: Write + Send> {
    Csv(Box<csv::Writer<W>>),
    Json(W),
    Arrow(Box<FileWriter<W>>),
    Parquet(Box<ArrowWriter<W>>),
}

impl<W: Write + Send> Sink<W> {
    /// # Errors
    /// If the format has no place for one of the types.
    pub(super) fn new(format: ExportFormat, schema: &SchemaRef, out: W) -> Result<Self> {
        Ok(match format {
            ExportFormat::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                csv_header(schema, &mut writer)?;
                Self::Csv(Box::new(writer))
            }
            ExportFormat::Json => Self::Json(out),
            ExportFormat::Arrow => Self::Arrow(Box::new(FileWriter::try_new(out, schema)?)),
            ExportFormat::Parquet => {
                let properties = WriterProperties::builder();
                let properties = properties.set_compression(Compression::SNAPPY).build();
                let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties))?;
                Self::Parquet(Box::new(writer))
            }
        })
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        match self {
            Self::Csv(writer) => csv_rows(rows, writer),
            Self::Json(out) => json_rows(rows, "", "", out),
            Self::Arrow(writer) => Ok(writer.write(rows)?),
            Self::Parquet(writer) => Ok(writer.write(rows)?),
        }
    }

    /// Ends the file; what was written through.
    pub(super) fn finish(self) -> Result<W> {
        let mut out = match self {
            Self::Csv(writer) => writer.into_inner().map_err(|error| error.into_error())?,
            Self::Json(out) => out,
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Self::Parquet(writer) => writer.into_inner()?,
        };
        out.flush()?;
        Ok(out)
    }
}
