//! How rows are printed: as a table, as CSV, as JSON lines.

use std::io::Write;

use anyhow::Result;
use arrow::array::RecordBatch;
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
    let schema = rows.schema();
    writer.write_record(schema.fields().iter().map(|field| field.name()))?;
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
    writer.flush()?;
    Ok(())
}

fn json(view: &ViewRows, out: &mut dyn Write) -> Result<()> {
    let rows = JsonRows::new(&view.rows)?;
    let name = serde_json::to_string(&view.name)?;
    let mut line = Vec::new();
    for row in 0..view.rows.num_rows() {
        line.clear();
        write!(line, "{{\"view\":{name},\"row\":")?;
        rows.write_object(row, &mut line);
        line.extend_from_slice(b"}\n");
        out.write_all(&line)?;
    }
    Ok(())
}
