//! One Parquet file. Its index is at its end, so it is made in memory; equal rows in equal order give
//! equal bytes.

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::Compression;
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Answer, Failure, failed};
use crate::error::ApiResult;

pub(super) fn respond(answer: Result<Answer, Failure>) -> ApiResult<Response> {
    // Nothing has been sent: an error can still be an error reply.
    let answer = answer.map_err(|Failure(error)| failed(error))?;
    let file = write(&answer).map_err(|error| failed(error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"results.parquet\"",
        ),
    ];
    Ok((headers, file).into_response())
}

fn write(answer: &Answer) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), answer.schema.clone(), Some(properties))?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}
