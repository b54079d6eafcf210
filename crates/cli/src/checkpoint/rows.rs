//! `highwater checkpoint cat` and `sql`: rows out of a checkpoint's files.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use highwater_pipeline::{SavedPipeline, SavedRelation, SavedRows};
use highwater_sql::{DescribedRelation, QueryEngine, relation_schema};
use highwater_zset::Error;

use super::arguments::{CatOptions, ExportFormat, RowsFormat, SqlOptions};
use super::sink::Sink;
use super::{sources, table};
use crate::arguments::OutputFormat;
use crate::format;
use crate::views::{ViewRows, sorted};

/// Prints the rows of a relation.
pub(super) fn cat(options: &CatOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let saved = sources::read(&store, &options.checkpoint)?.warn();
    let relation = relation(&saved, &options.relation)?;
    let rows = open(&relation, &saved)?;
    let name = relation.name();
    let reading = || unreadable(&relation, &saved);
    let mut out = BufWriter::new(std::io::stdout());
    if let Some(format) = streamed(options.format) {
        let mut sink = Sink::new(format, &rows.schema, out)?;
        for batch in rows.rows() {
            sink.write(&batch.with_context(reading)?)?;
        }
        sink.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let batches: Vec<RecordBatch> = rows
        .rows()
        .collect::<Result<_, _>>()
        .with_context(reading)?;
    let all = concat_batches(&rows.schema, &batches).with_context(reading)?;
    let view = ViewRows {
        name: name.to_owned(),
        rows: sorted(&all).with_context(|| format!("cannot sort `{name}`"))?,
    };
    format::print(&view, OutputFormat::Text, &mut out)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The relation of this name, or those that there are.
pub(super) fn relation<'a>(saved: &'a SavedPipeline, name: &str) -> Result<SavedRelation<'a>> {
    saved.relation(name).with_context(|| {
        let uuid = saved.checkpoint().uuid();
        let names: Vec<&str> = saved.relations().map(|relation| relation.name()).collect();
        format!(
            "checkpoint {uuid} has no table or view `{name}`; it has {}",
            names.join(", ")
        )
    })
}

/// What to do about rows that cannot be read.
pub(super) fn unreadable(relation: &SavedRelation<'_>, saved: &SavedPipeline) -> String {
    let (name, uuid) = (relation.name(), saved.checkpoint().uuid());
    format!(
        "cannot read `{name}` of checkpoint {uuid} (`highwater checkpoint verify` says what is wrong with it, `--checkpoint` chooses another one)"
    )
}

/// Opens a relation; its rows are read later.
pub(super) fn open(relation: &SavedRelation<'_>, saved: &SavedPipeline) -> Result<SavedRows> {
    let schema = relation_schema(&relation.recorded().relation);
    match relation.open(&schema) {
        Err(Error::Storage(error)) if error.is_damage() => {
            Err(error).with_context(|| unreadable(relation, saved))
        }
        opened => Ok(opened?),
    }
}

/// Answers a query.
pub(super) fn sql(options: &SqlOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let saved = sources::read(&store, &options.checkpoint)?.warn();
    let (schema, batches) = answer(&saved, &options.query)?;
    let mut out = BufWriter::new(std::io::stdout());
    match streamed(options.format) {
        Some(format) => {
            let mut sink = Sink::new(format, &schema, out)?;
            for batch in &batches {
                sink.write(batch)?;
            }
            sink.finish()?;
        }
        None => {
            let all = concat_batches(&schema, &batches)?;
            writeln!(out, "{}", format::table(&all)?)?;
            writeln!(out, "{}", table::plural(all.num_rows(), "row"))?;
            out.flush()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `None` for what needs all rows at once.
fn streamed(format: RowsFormat) -> Option<ExportFormat> {
    match format {
        RowsFormat::Text => None,
        RowsFormat::Csv => Some(ExportFormat::Csv),
        RowsFormat::Json => Some(ExportFormat::Json),
    }
}

fn answer(saved: &SavedPipeline, query: &str) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    // Opened all, for the types of their columns; only what the query names is read.
    let opened: BTreeMap<&str, Result<SavedRows, Error>> = saved
        .relations()
        .filter(SavedRelation::is_materialized)
        .map(|relation| {
            let schema = relation_schema(&relation.recorded().relation);
            (relation.name(), relation.open(&schema))
        })
        .collect();
    let described: Vec<DescribedRelation> = saved
        .relations()
        .map(|relation| DescribedRelation {
            name: relation.name().to_owned(),
            schema: match opened.get(relation.name()) {
                Some(Ok(rows)) => rows.schema.clone(),
                _ => relation_schema(&relation.recorded().relation),
            },
            is_table: relation.is_table(),
            is_materialized: relation.is_materialized(),
        })
        .collect();
    let failure: RefCell<Option<(SavedRelation<'_>, Error)>> = RefCell::default();
    let contents = |name: &str| match opened.get(name)? {
        Ok(rows) => Some(rows.snapshots.clone()),
        Err(error) => {
            failure.replace(saved.relation(name).zip(Some(error.clone())));
            None
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .build()
        .context("cannot start the runtime")?;
    let engine = QueryEngine::for_relations(&described);
    let answer = runtime.block_on(engine.query(query, &contents));
    if let Some((relation, error)) = failure.take() {
        return Err(error).context(unreadable(&relation, saved));
    }
    match answer {
        Ok(answer) => Ok(answer),
        // Its first line says that it is an error already.
        Err(error) => bail!(
            "{}",
            error
                .message
                .strip_prefix("error: ")
                .unwrap_or(&error.message)
        ),
    }
}
