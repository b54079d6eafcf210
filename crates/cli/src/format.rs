//! How rows are printed: as a table, as CSV, as JSON lines.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use highwater_connectors::encode::json::JsonRows;

use crate::arguments::OutputFormat;
use crate::views::ViewRows;

/// Prints a view.
pub(crate) fn print(view: &ViewRows, format: OutputFormat, out: &mut dyn Write) -> Result<()> {
    match format {
        OutputFormat::Text => {
            let rows = view.rows.num_rows();
            let plural = if rows == 1 { "" } else { "s" };
            writeln!(out, "{} ({rows} row{plural})", view.name)?;
            writeln!(out, "{}\n", table(&view.rows)?)?;
        }
        OutputFormat::Csv => {
            writeln!(out, "# {}", view.name)?;
            csv(&view.rows, out)?;
        }
        OutputFormat::Json => json(view, out)?,
    }
    Ok(())
}

/// Rows as a grid; NULLs are shown as such.
pub(crate) fn table(rows: &RecordBatch) -> Result<String> {
    let options = FormatOptions::new().with_null("NULL");
    let grid = pretty_format_batches_with_options(std::slice::from_ref(rows), &options)?;
    Ok(grid.to_string())
}

fn csv(rows: &RecordBatch, out: &mut dyn Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    csv_header(&rows.schema(), &mut writer)?;
    csv_rows(rows, &mut writer)?;
    writer.flush()?;
    Ok(())
}

/// The names of columns.
pub(crate) fn csv_header(schema: &Schema, writer: &mut csv::Writer<impl Write>) -> Result<()> {
    let names = schema.fields().iter().map(|field| field.name());
    Ok(writer.write_record(names)?)
}

/// Rows; NULLs are empty.
pub(crate) fn csv_rows(rows: &RecordBatch, writer: &mut csv::Writer<impl Write>) -> Result<()> {
    let options = FormatOptions::new();
    let columns = rows.columns().iter();
    let columns: Vec<ArrayFormatter<'_>> = columns
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<_, _>>()?;
    for row in 0..rows.num_rows() {
        let values = columns
            .iter()
            .map(|column| column.value(row).try_to_string());
        writer.write_record(values.collect::<Result<Vec<_>, _>>()?)?;
    }
    Ok(())
}

fn json(view: &ViewRows, out: &mut dyn Write) -> Result<()> {
    let name = serde_json::to_string(&view.name)?;
    let before = format!("{{\"view\":{name},\"row\":");
    json_rows(&view.rows, &before, "}", out)
}

/// One line per row: an object, between two texts.
pub(crate) fn json_rows(
    rows: &RecordBatch,
    before: &str,
    after: &str,
    out: &mut dyn Write,
) -> Result<()> {
    let objects = JsonRows::new(rows)?;
    let mut line = Vec::new();
    for row in 0..rows.num_rows() {
        line.clear();
        line.extend_from_slice(before.as_bytes());
        objects.write_object(row, &mut line);
        line.extend_from_slice(after.as_bytes());
        line.push(b'\n');
        out.write_all(&line)?;
    }
    Ok(())
}
