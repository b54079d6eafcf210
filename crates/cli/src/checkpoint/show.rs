//! `highwater checkpoint show`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use highwater_pipeline::{SavedPipeline, SavedRelation, with_causes};
use highwater_sql::{relation_schema, sql_text};
use highwater_storage::manifest::FileList;
use highwater_storage::{CatalogEntry, Manifest, Store};
use highwater_types::record::{PipelineRecord, RecordedInput};
use highwater_types::relation::Field;
use serde_json::{Value, json};

use super::arguments::{ReportFormat, ShowOptions};
use super::table::{self, Table};
use super::{list, sources};

/// Relations of more stored rows are counted only if asked for: it takes seconds.
const COUNTED_ROWS_MAX: u64 = 1_000_000;

/// Prints everything about a checkpoint.
pub(super) fn show(options: &ShowOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let entry = sources::find(&store, &options.checkpoint)?;
    // Of one that is damaged, whatever can be told.
    let manifest = store.manifest(entry.uuid());
    let saved = sources::read_one(&store, entry.uuid());
    let mut out = std::io::stdout().lock();
    let mut relations = Vec::new();
    if let Ok(saved) = &saved {
        let described = saved.relations().map(|it| describe(it, options.count));
        relations = described.collect();
    }
    match options.format {
        ReportFormat::Json => {
            let mut document = list::describe(&store, &entry);
            document["record"] = match &saved {
                Ok(saved) => record_json(saved)?,
                Err(_) => Value::Null,
            };
            document["relations"] = relations.iter().map(Described::json).collect();
            document["files"] = match &manifest {
                Ok(manifest) => files_json(manifest),
                Err(_) => Value::Null,
            };
            writeln!(out, "{document:#}")?;
        }
        ReportFormat::Text => {
            let manifest = manifest.as_ref().ok();
            write!(out, "{}", head(&store, &entry, manifest))?;
            match &saved {
                Ok(saved) => write!(out, "{}{}", pipeline(saved), sections(saved, &relations))?,
                Err(error) => writeln!(
                    out,
                    "\nits record cannot be read: {}",
                    with_causes(error.as_ref())
                )?,
            }
            if let Some(manifest) = manifest {
                write!(out, "\n{}", files(manifest))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(label: &str, value: &str) -> String {
    format!("{label:<12}{value}\n")
}

fn head(store: &Store, entry: &CatalogEntry, manifest: Option<&Manifest>) -> String {
    let metadata = &entry.metadata;
    let mut text = line("checkpoint", &entry.uuid().to_string());
    if let Some(name) = &metadata.identifier {
        text += &line("name", name);
    }
    text += &line("root", &store.root().display().to_string());
    text += &line("state", &list::state(entry));
    text += &line("pinned", list::yes_or_no(entry.pinned));
    if let Some(manifest) = manifest {
        let number = manifest.batches.len() + manifest.state_files.len();
        let size = table::exact_size(manifest.size_bytes());
        text += &line(
            "size",
            &format!("{size} in {}", table::plural(number, "file")),
        );
    }
    text + &line("fingerprint", &metadata.fingerprint.to_string())
}

fn pipeline(saved: &SavedPipeline) -> String {
    let record = saved.record();
    let (operators, batches) = saved.state_counts();
    let counters = record.counters;
    let mut text = line("taken at", &table::time(record.taken_at));
    text += &line("step", &table::count(record.steps));
    text += &line(
        "records",
        &format!(
            "{}, {}",
            table::count(counters.processed_records),
            table::exact_size(counters.processed_bytes)
        ),
    );
    text += &line("pipeline", &record.name);
    text += &line("begun at", &table::time(record.initial_start_time));
    text += &line("workers", &record.workers.to_string());
    let batches = table::plural(batches, "batch");
    text + &line(
        "operators",
        &format!("{} with {batches}", table::count(operators as u64)),
    )
}

fn sections(saved: &SavedPipeline, relations: &[Described<'_>]) -> String {
    let record = saved.record();
    let tables = [
        inputs(record),
        outputs(record),
        relations_table(relations),
        columns(relations),
    ];
    let filled = tables.iter().filter(|table| !table.is_empty());
    filled.map(|table| format!("\n{table}")).collect()
}

fn inputs(record: &PipelineRecord) -> Table {
    let headers = [
        "INPUT", "TABLE", "RECORDS", "BYTES", "ERRORS", "STATE", "POSITION",
    ];
    let mut table = Table::new(headers, &[2, 3, 4]);
    for (name, input) in &record.inputs {
        let errors = input.parse_errors.total + input.transport_errors.total;
        table.push([
            name.clone(),
            input.table.clone(),
            table::count(input.total_records),
            table::count(input.total_bytes),
            table::count(errors),
            input_state(input).to_owned(),
            position(&input.position),
        ]);
    }
    table
}

fn input_state(input: &RecordedInput) -> &'static str {
    if input.is_http {
        "HTTP"
    } else if input.end_of_input {
        "at its end"
    } else if input.paused {
        "paused"
    } else {
        "reading"
    }
}

pub(super) fn position(position: &Value) -> String {
    match position {
        Value::Null => "-".to_owned(),
        position => position.to_string(),
    }
}

fn outputs(record: &PipelineRecord) -> Table {
    let headers = ["OUTPUT", "RECORDS", "BYTES", "ERRORS", "POSITION"];
    let mut table = Table::new(headers, &[1, 2, 3]);
    for (name, output) in &record.outputs {
        let errors = output.encode_errors.total + output.transport_errors.total;
        table.push([
            name.clone(),
            table::count(output.transmitted_records),
            table::count(output.transmitted_bytes),
            table::count(errors),
            position(&output.position),
        ]);
    }
    table
}

/// A relation and how many rows it has.
struct Described<'a> {
    relation: SavedRelation<'a>,
    rows: Rows,
}

enum Rows {
    Counted(u64),
    /// Not counted; there are as many or fewer.
    Stored(u64),
    NotMaterialized,
    /// With the reason.
    Unreadable(String),
}

fn describe(relation: SavedRelation<'_>, is_counted: bool) -> Described<'_> {
    let stored_rows = relation.stored_rows();
    let rows = if !relation.is_materialized() {
        Rows::NotMaterialized
    } else if !is_counted && stored_rows > COUNTED_ROWS_MAX {
        Rows::Stored(stored_rows)
    } else {
        let schema = relation_schema(&relation.recorded().relation);
        let counted = relation.open(&schema).and_then(|rows| rows.count());
        counted.map_or_else(|error| Rows::Unreadable(error.to_string()), Rows::Counted)
    };
    Described { relation, rows }
}

impl Described<'_> {
    fn kind(&self) -> &'static str {
        if self.relation.is_table() {
            "table"
        } else {
            "view"
        }
    }

    fn json(&self) -> Value {
        let recorded = self.relation.recorded();
        let (rows, reason) = match &self.rows {
            Rows::Counted(rows) => (Some(*rows), None),
            Rows::Unreadable(reason) => (None, Some(reason)),
            Rows::Stored(_) | Rows::NotMaterialized => (None, None),
        };
        let is_materialized = self.relation.is_materialized();
        json!({
            "name": self.relation.name(),
            "kind": self.kind(),
            "materialized": is_materialized,
            "rows": rows,
            "stored_rows": is_materialized.then(|| self.relation.stored_rows()),
            "unreadable": reason,
            "operator": recorded.operator,
            "fields": recorded.relation.fields,
            "primary_key": recorded.relation.primary_key,
            "connectors": recorded.connectors.keys().collect::<Vec<_>>(),
        })
    }
}

fn relations_table(relations: &[Described<'_>]) -> Table {
    let mut table = Table::new(["RELATION", "KIND", "ROWS", "CONNECTORS"], &[2]);
    for described in relations {
        let rows = match &described.rows {
            Rows::Counted(rows) => table::count(*rows),
            Rows::Stored(rows) => format!("up to {}", table::count(*rows)),
            Rows::NotMaterialized => "not kept".to_owned(),
            Rows::Unreadable(reason) => format!("unreadable: {reason}"),
        };
        let connectors = described.relation.recorded().connectors.keys();
        let connectors: Vec<&str> = connectors.map(String::as_str).collect();
        table.push([
            described.relation.name().to_owned(),
            described.kind().to_owned(),
            rows,
            connectors.join(", "),
        ]);
    }
    table
}

fn columns(relations: &[Described<'_>]) -> Table {
    let mut table = Table::new(["RELATION", "COLUMNS"], &[]);
    for described in relations {
        let relation = &described.relation.recorded().relation;
        let columns: Vec<String> = relation.fields.iter().map(column).collect();
        let mut columns = columns.join(", ");
        if let Some(key) = &relation.primary_key {
            columns += &format!(", PRIMARY KEY ({})", key.join(", "));
        }
        table.push([described.relation.name().to_owned(), columns]);
    }
    table
}

fn column(field: &Field) -> String {
    let not_null = if field.columntype.nullable {
        ""
    } else {
        " NOT NULL"
    };
    format!("{} {}{not_null}", field.name, sql_text(&field.columntype))
}

fn files(manifest: &Manifest) -> Table {
    let mut table = Table::new(["FILE", "BYTES", "DIGEST"], &[1]);
    for (name, digest) in manifest.batches.iter().chain(&manifest.state_files) {
        let bytes = digest.map(|digest| table::count(digest.size_bytes));
        let digest = digest.map(|digest| digest.digest.to_string());
        table.push([
            name.clone(),
            table::or_unknown(bytes),
            table::or_unknown(digest),
        ]);
    }
    table
}

fn files_json(manifest: &Manifest) -> Value {
    let list = |files: &FileList| -> Vec<Value> {
        let files = files.iter();
        let files = files.map(|(name, digest)| {
            json!({
                "name": name,
                "size_bytes": digest.map(|digest| digest.size_bytes),
                "digest": digest.map(|digest| digest.digest.to_string()),
            })
        });
        files.collect()
    };
    json!({
        "size_bytes": manifest.size_bytes(),
        "batches": list(&manifest.batches),
        "state_files": list(&manifest.state_files),
    })
}

/// The record without its program, which is under `relations`.
fn record_json(saved: &SavedPipeline) -> Result<Value> {
    let mut record = serde_json::to_value(saved.record())?;
    if let Value::Object(fields) = &mut record {
        fields.shift_remove("program");
    }
    let (operators, batches) = saved.state_counts();
    record["operators"] = operators.into();
    record["batches"] = batches.into();
    Ok(record)
}
