//! `highwater checkpoint du`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use highwater_storage::Store;
use highwater_storage::usage::{CheckpointUsage, Usage};
use serde_json::{Value, json};

use super::arguments::{ReportFormat, ReportOptions};
use super::sources;
use super::table::{self, Table};

/// Prints where the bytes are.
pub(super) fn usage(options: &ReportOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let usage = store.usage().with_context(|| {
        "the bytes of a checkpoint whose list of files is damaged are not known (remove it with `highwater checkpoint rm`, or put the file back)"
    })?;
    let mut out = std::io::stdout().lock();
    match options.format {
        ReportFormat::Json => writeln!(out, "{:#}", describe(&store, &usage))?,
        ReportFormat::Text => write!(out, "{}{}", checkpoints(&store, &usage), totals(&usage))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn name(store: &Store, usage: &CheckpointUsage) -> Option<String> {
    let entry = store.entry(usage.uuid).ok()?;
    entry.metadata.identifier
}

fn checkpoints(store: &Store, usage: &Usage) -> Table {
    let headers = ["UUID", "NAME", "UNIQUE", "SHARED", "TOTAL", "PINNED"];
    let mut table = Table::new(headers, &[2, 3, 4, 5]);
    for checkpoint in &usage.checkpoints {
        table.push([
            checkpoint.uuid.to_string(),
            name(store, checkpoint).unwrap_or_else(|| "-".to_owned()),
            table::count(checkpoint.unique_bytes),
            table::count(checkpoint.shared_bytes),
            table::count(checkpoint.total_bytes),
            table::count(checkpoint.pinned_bytes),
        ]);
    }
    table
}

/// The parts of the total, all of them: `checkpoints` counts what is shared once.
fn parts(usage: &Usage) -> [(&'static str, u64); 5] {
    let Usage {
        checkpoints: _,
        checkpoints_bytes,
        pinned_only_bytes: _,
        in_use_bytes,
        garbage_bytes,
        catalog_bytes,
        foreign_bytes,
        total_bytes: _,
    } = usage;
    [
        ("checkpoints", *checkpoints_bytes),
        ("catalog and lock", *catalog_bytes),
        ("in use by this process", *in_use_bytes),
        ("needed by no checkpoint", *garbage_bytes),
        ("not ours", *foreign_bytes),
    ]
}

fn totals(usage: &Usage) -> String {
    let mut table = Table::new(["BYTES", "SIZE", ""], &[0, 1]);
    let mut push = |bytes: u64, what: &str| {
        table.push([table::count(bytes), table::size(bytes), what.to_owned()]);
    };
    for (what, bytes) in parts(usage) {
        if bytes > 0 {
            push(bytes, what);
        }
    }
    push(usage.total_bytes, "total");
    if usage.pinned_only_bytes > 0 {
        push(
            usage.pinned_only_bytes,
            "of it kept by pins and names alone",
        );
    }
    format!("\n{table}")
}

fn describe(store: &Store, usage: &Usage) -> Value {
    let checkpoints = usage.checkpoints.iter().map(|checkpoint| {
        json!({
            "uuid": checkpoint.uuid.to_string(),
            "name": name(store, checkpoint),
            "unique_bytes": checkpoint.unique_bytes,
            "shared_bytes": checkpoint.shared_bytes,
            "total_bytes": checkpoint.total_bytes,
            "pinned_bytes": checkpoint.pinned_bytes,
        })
    });
    json!({
        "checkpoints": checkpoints.collect::<Vec<_>>(),
        "checkpoints_bytes": usage.checkpoints_bytes,
        "pinned_only_bytes": usage.pinned_only_bytes,
        "in_use_bytes": usage.in_use_bytes,
        "garbage_bytes": usage.garbage_bytes,
        "catalog_bytes": usage.catalog_bytes,
        "foreign_bytes": usage.foreign_bytes,
        "total_bytes": usage.total_bytes,
    })
}
