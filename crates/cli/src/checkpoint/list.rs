//! `highwater checkpoint ls`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use chrono::{DateTime, Utc};
use highwater_pipeline::SavedPipeline;
use highwater_storage::{CatalogEntry, Store};
use serde_json::{Value, json};

use super::arguments::{ReportFormat, ReportOptions};
use super::sources;
use super::table::{self, Table, or_unknown};

/// Lists the checkpoints.
pub(super) fn list(options: &ReportOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let entries = store.entries();
    let mut out = std::io::stdout().lock();
    match options.format {
        ReportFormat::Json => {
            let entries: Vec<Value> = entries
                .iter()
                .map(|entry| describe(&store, entry))
                .collect();
            writeln!(out, "{:#}", json!({ "checkpoints": entries }))?;
        }
        ReportFormat::Text if entries.is_empty() => {
            let root = options.root.display();
            writeln!(out, "there is no checkpoint in {root} yet")?;
        }
        ReportFormat::Text => write!(out, "{}", text(&store, &entries))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn text(store: &Store, entries: &[CatalogEntry]) -> Table {
    let headers = [
        "UUID", "TAKEN AT", "STEP", "RECORDS", "SIZE", "NAME", "PINNED", "STATE",
    ];
    let mut table = Table::new(headers, &[2, 3, 4]);
    for entry in entries {
        let metadata = &entry.metadata;
        let name = metadata.identifier.clone();
        table.push([
            entry.uuid().to_string(),
            or_unknown(taken_at(store, entry).map(table::time)),
            or_unknown(metadata.steps.map(table::count)),
            or_unknown(metadata.processed_records.map(table::count)),
            or_unknown(metadata.size.map(table::size)),
            name.unwrap_or_else(|| "-".to_owned()),
            yes_or_no(entry.pinned).to_owned(),
            state(entry),
        ]);
    }
    table
}

pub(super) fn yes_or_no(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// `ok`, or why it cannot be used.
pub(super) fn state(entry: &CatalogEntry) -> String {
    match &entry.unusable {
        None => "ok".to_owned(),
        Some(unusable) => format!("unusable: {}", unusable.reason),
    }
}

/// What the catalog says of a checkpoint, for programs.
pub(super) fn describe(store: &Store, entry: &CatalogEntry) -> Value {
    let metadata = &entry.metadata;
    json!({
        "uuid": entry.uuid().to_string(),
        "name": metadata.identifier,
        "taken_at": taken_at(store, entry).map(|time| time.to_rfc3339()),
        "steps": metadata.steps,
        "processed_records": metadata.processed_records,
        "size_bytes": metadata.size,
        "fingerprint": metadata.fingerprint,
        "pinned": entry.pinned,
        "usable": entry.is_usable(),
        "reason": entry.unusable.as_ref().map(|unusable| &unusable.reason),
    })
}

/// As its record says; of one that cannot be read, when its uuid was drawn, which is a moment later.
fn taken_at(store: &Store, entry: &CatalogEntry) -> Option<DateTime<Utc>> {
    let saved = store.read(entry.uuid()).ok();
    let saved = saved.and_then(|checkpoint| SavedPipeline::read(checkpoint).ok());
    let recorded = saved.map(|saved| saved.record().taken_at);
    recorded.or_else(|| table::time_of(entry.uuid()))
}
