//! A grid of text, with its header even if there are no rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_schema;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::{Answer, Failure, failed};
use crate::error::ApiResult;

/// Longer cells are cut to this many characters.
const CELL_CHARS_MAX: usize = 64;

/// What a cut cell ends with.
const CUT: &str = "...";

pub(super) fn respond(answer: Result<Answer, Failure>) -> ApiResult<Response> {
    let text = match answer {
        Ok(answer) => grid(&answer).map_err(|error| failed(error.to_string()))?,
        Err(Failure(error)) => format!("ERROR: {error}\n"),
    };
    Ok(([(header::CONTENT_TYPE, "text/plain")], text).into_response())
}

fn grid(answer: &Answer) -> Result<String, ArrowError> {
    let cells = answer.batches.iter().map(cut_cells);
    let cells = cells.collect::<Result<Vec<_>, _>>()?;
    let grid = pretty_format_batches_with_schema(text_schema(&answer.schema), &cells)?;
    Ok(format!("{grid}\n"))
}

fn text_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| Field::new(field.name(), DataType::Utf8, false));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn cut_cells(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = batch.columns().iter().map(|column| {
        let formatter = ArrayFormatter::try_new(column, &options)?;
        let cells = (0..column.len()).map(|row| Ok(cut(formatter.value(row).try_to_string()?)));
        let cells = cells.collect::<Result<Vec<String>, ArrowError>>()?;
        Ok(Arc::new(StringArray::from(cells)) as ArrayRef)
    });
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    RecordBatch::try_new(text_schema(&batch.schema()), columns)
}

fn cut(cell: String) -> String {
    if cell.chars().count() <= CELL_CHARS_MAX {
        return cell;
    }
    let kept = cell.chars().take(CELL_CHARS_MAX - CUT.len());
    kept.chain(CUT.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_by_characters() {
        let exact = "ü".repeat(64);
        assert_eq!(cut(exact.clone()), exact);
        let long = cut("ü".repeat(65));
        assert_eq!(long.chars().count(), 64);
        assert!(long.ends_with("ü..."));
    }
}
