//! `highwater diff`: what a new program would change.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use highwater_pipeline::difference::{bootstrapped_views, difference};
use highwater_pipeline::storage::SavedPipeline;
use highwater_pipeline::summary;
use highwater_storage::{LocalDisk, Store};
use highwater_types::difference::{BootstrappedView, PipelineDiff};
use highwater_zset::RowHasher;

use crate::arguments::DiffOptions;
use crate::program::{Compiled, read, report};

/// Prints the difference; exit code 1 if a program has errors.
pub(crate) fn diff(options: &DiffOptions) -> Result<ExitCode> {
    let saved = match options.old.is_dir() {
        true => Some(newest(&options.old)?),
        false => None,
    };
    let hash_seed = saved.as_ref().map_or(0, |saved| saved.record().hash_seed);
    let Some(new) = compiled(&options.new, hash_seed)? else {
        return Ok(ExitCode::FAILURE);
    };
    let program = new.definition.recorded_program();
    let diff = match &saved {
        Some(saved) => {
            let old = &saved.record().program;
            let hasher = RowHasher::new(hash_seed);
            let mut diff = difference(old, &program);
            diff.bootstrapped_views =
                bootstrapped_views(&new.definition, hasher, old, saved.workers());
            diff
        }
        None => {
            let Some(old) = compiled(&options.old, hash_seed)? else {
                return Ok(ExitCode::FAILURE);
            };
            difference(&old.definition.recorded_program(), &program)
        }
    };
    if options.json {
        println!("{}", serde_json::to_string_pretty(&diff)?);
    } else {
        print!("{}", text(&diff));
    }
    Ok(ExitCode::SUCCESS)
}

/// The newest checkpoint; the directory may be in use.
fn newest(root: &Path) -> Result<SavedPipeline> {
    let store = Store::open_read_only(Arc::new(LocalDisk), root)?;
    let checkpoint = store.newest_usable()?.checkpoint;
    let checkpoint = checkpoint
        .with_context(|| format!("there is no checkpoint in `{}` yet", root.display()))?;
    Ok(SavedPipeline::read(checkpoint)?)
}

fn compiled(file: &Path, hash_seed: u64) -> Result<Option<Compiled>> {
    Ok(match read(file, hash_seed)? {
        Ok(compiled) => Some(compiled),
        Err(diagnostics) => {
            report(file, &diagnostics);
            None
        }
    })
}

/// For people.
pub(crate) fn text(diff: &PipelineDiff) -> String {
    let mut text = format!("{}\n", summary(diff).replace("; ", "\n"));
    for view in &diff.bootstrapped_views {
        text.push_str(&describe(view));
    }
    text
}

fn describe(view: &BootstrappedView) -> String {
    let name = &view.view;
    if !view.tables_not_stored.is_empty() {
        let tables = view.tables_not_stored.join(", ");
        return format!(
            "view {name} cannot be computed: the rows of {tables} were not kept (declare it 'materialized' = 'true', or give it a primary key, and load it anew)\n"
        );
    }
    match view.rows {
        Some(rows) => format!("view {name} is computed from {rows} stored rows\n"),
        None => format!("view {name} is computed from stored rows\n"),
    }
}
