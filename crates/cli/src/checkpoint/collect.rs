//! `highwater checkpoint gc`.
//!
//! The plan is a value: what is printed is what is executed, and nothing is deleted before.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use highwater_storage::{CollectionPlan, CollectionReport};
use serde_json::{Value, json};

use super::arguments::{CollectOptions, ReportFormat};
use super::{sources, table};

/// Prints what nobody needs, and deletes it.
pub(super) fn collect(options: &CollectOptions) -> Result<ExitCode> {
    let store = sources::open_to_change(&options.root)?;
    let plan = store.plan_collection_alone(options.retain.map(usize::from))?;
    let mut out = std::io::stdout().lock();
    if options.format == ReportFormat::Text {
        writeln!(out, "{plan}")?;
        out.flush()?;
    }
    let report = match options.dry_run || plan.is_empty() {
        true => None,
        false => Some(store.collect(&plan)?),
    };
    match options.format {
        ReportFormat::Json => {
            let report = report.as_ref().map(report_json);
            let document = json!({ "plan": plan_json(&plan), "executed": report });
            writeln!(out, "{document:#}")?;
        }
        ReportFormat::Text => match &report {
            Some(report) => writeln!(out, "{}", report_text(report))?,
            None if options.dry_run => writeln!(out, "nothing was deleted: --dry-run")?,
            None => writeln!(out, "nothing to delete")?,
        },
    }
    let failures = report.map(|report| report.failures).unwrap_or_default();
    for failure in &failures {
        eprintln!("warning: {failure}; the next collection tries again");
    }
    Ok(match failures.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn report_text(report: &CollectionReport) -> String {
    format!(
        "deleted {}, {}, {}; {} given back",
        table::plural(report.folders, "folder"),
        table::plural(report.batches, "batch file"),
        table::plural(report.unfinished, "unfinished file"),
        table::exact_size(report.freed_bytes)
    )
}

fn report_json(report: &CollectionReport) -> Value {
    let failures = report.failures.iter().map(ToString::to_string);
    json!({
        "folders": report.folders,
        "batches": report.batches,
        "unfinished": report.unfinished,
        "freed_bytes": report.freed_bytes,
        "failures": failures.collect::<Vec<_>>(),
    })
}

fn plan_json(plan: &CollectionPlan) -> Value {
    let file = |(name, bytes): &(String, u64)| json!({ "name": name, "bytes": bytes });
    let files = |files: &[(String, u64)]| files.iter().map(file).collect::<Vec<_>>();
    let kept = plan.kept.iter();
    let kept = kept
        .map(|(uuid, because)| json!({ "uuid": uuid.to_string(), "because": because.to_string() }));
    let folders = plan.folders.iter();
    let folders = folders.map(|(uuid, bytes)| json!({ "uuid": uuid.to_string(), "bytes": bytes }));
    let dropped = plan.dropped.iter().map(ToString::to_string);
    json!({
        "keep": kept.collect::<Vec<_>>(),
        "drop": dropped.collect::<Vec<_>>(),
        "delete_folders": folders.collect::<Vec<_>>(),
        "delete_batches": files(&plan.batches),
        "delete_unfinished": files(&plan.unfinished),
        "leave_in_use": files(&plan.in_use),
        "leave_foreign": plan.foreign,
        "freed_bytes": plan.freed_bytes(),
    })
}
