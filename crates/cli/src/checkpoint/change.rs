//! `highwater checkpoint pin`, `unpin`, `name`, `rm` and `readmit`: changes of the list of checkpoints.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use highwater_storage::CatalogEntry;

use super::arguments::{ChangeOptions, NameOptions, RemoveOptions};
use super::{sources, table};

/// Pins a checkpoint or unpins it.
pub(super) fn pin(options: &ChangeOptions, is_pinned: bool) -> Result<ExitCode> {
    let store = sources::open_to_change(&options.root)?;
    let uuid = sources::find(&store, &options.checkpoint)?.uuid();
    store.pin(uuid, is_pinned)?;
    let what = if is_pinned { "pinned" } else { "unpinned" };
    say(&format!("{what} checkpoint {uuid}"))
}

/// Gives a checkpoint a name, or takes it away.
pub(super) fn name(options: &NameOptions) -> Result<ExitCode> {
    let store = sources::open_to_change(&options.root)?;
    let entry = sources::find(&store, &options.checkpoint)?;
    let uuid = entry.uuid();
    match &options.name {
        Some(name) => check_name(name)?,
        None if entry.metadata.identifier.is_none() => bail!("checkpoint {uuid} has no name"),
        None => {}
    }
    store.set_identifier(uuid, options.name.clone())?;
    match &options.name {
        Some(name) => say(&format!("named checkpoint {uuid} `{name}`")),
        None => say(&format!("checkpoint {uuid} has no name any more")),
    }
}

/// Names are written where uuids are: they must not be taken for one, nor for `latest`.
fn check_name(name: &str) -> Result<()> {
    let is_like_uuid = name.chars().all(|it| it.is_ascii_hexdigit() || it == '-');
    if is_like_uuid || name == super::arguments::LATEST {
        bail!("`{name}` could be taken for a uuid or for `latest`; choose another name");
    }
    Ok(())
}

/// Removes a checkpoint.
pub(super) fn remove(options: &RemoveOptions) -> Result<ExitCode> {
    let store = sources::open_to_change(&options.root)?;
    let uuid = sources::find(&store, &options.checkpoint)?.uuid();
    let entries = store.entries();
    let mut others = entries.iter().filter(|entry| entry.uuid() != uuid);
    if !options.force && !others.any(CatalogEntry::is_usable) {
        bail!(
            "checkpoint {uuid} is the last usable one: without it the next run begins anew; --force removes it"
        );
    }
    store.remove(uuid)?;
    let collection = store.last_collection();
    let report = collection.context("nothing was collected")?;
    let report = report.with_context(|| {
        format!("checkpoint {uuid} is removed, but its files could not be collected")
    })?;
    for failure in &report.failures {
        eprintln!("warning: {failure}; `highwater checkpoint gc` tries again");
    }
    say(&format!(
        "removed checkpoint {uuid}; {} given back",
        table::exact_size(report.freed_bytes)
    ))
}

/// Verifies a checkpoint, and takes its mark of damage away.
pub(super) fn readmit(options: &ChangeOptions) -> Result<ExitCode> {
    let store = sources::open_to_change(&options.root)?;
    let entry = sources::find(&store, &options.checkpoint)?;
    let uuid = entry.uuid();
    if entry.is_usable() {
        return say(&format!("checkpoint {uuid} is not marked unusable"));
    }
    let readmitted = store.readmit(uuid);
    readmitted.with_context(|| format!("checkpoint {uuid} is still damaged"))?;
    say(&format!("checkpoint {uuid} is whole, and usable again"))
}

fn say(text: &str) -> Result<ExitCode> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
