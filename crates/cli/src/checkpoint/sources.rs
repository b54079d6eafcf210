//! Opening a storage directory, and finding the checkpoint that somebody means.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use highwater_pipeline::SavedPipeline;
use highwater_storage::store::PassedOver;
use highwater_storage::{CatalogEntry, Kind, LocalDisk, Store};
use uuid::Uuid;

use super::arguments::LATEST;

/// Opens a directory to look at it; somebody may be using it.
pub(super) fn open(root: &Path) -> Result<Store> {
    let store = Store::open_read_only(Arc::new(LocalDisk), root)?;
    if store.opening().unusable.is_empty() {
        return Ok(store);
    }
    // An engine may have dropped a checkpoint while its files were looked for.
    Ok(Store::open_read_only(Arc::new(LocalDisk), root)?)
}

/// Opens a directory to change which checkpoints it has.
pub(super) fn open_to_change(root: &Path) -> Result<Store> {
    Ok(Store::open_existing(Arc::new(LocalDisk), root)?)
}

/// A checkpoint that can be read, and newer ones that cannot: `latest` is not the newest then.
pub(super) struct Chosen {
    pub(super) saved: SavedPipeline,
    pub(super) passed_over: Vec<PassedOver>,
}

impl Chosen {
    /// Says on stderr why `latest` is not the newest.
    pub(super) fn warn(self) -> SavedPipeline {
        for passed_over in &self.passed_over {
            eprintln!("warning: checkpoint {passed_over}; the one before it is used");
        }
        self.saved
    }
}

/// Reads the small files of the checkpoint that somebody means.
pub(super) fn read(store: &Store, wanted: &str) -> Result<Chosen> {
    if wanted != LATEST {
        let uuid = find(store, wanted)?.uuid();
        return Ok(Chosen {
            saved: read_one(store, uuid)?,
            passed_over: Vec::new(),
        });
    }
    let mut passed_over = Vec::new();
    loop {
        let ladder = store.newest_usable()?;
        for passed in ladder.passed_over {
            let is_known = |known: &PassedOver| known.uuid == passed.uuid;
            if !passed_over.iter().any(is_known) {
                passed_over.push(passed);
            }
        }
        let Some(checkpoint) = ladder.checkpoint else {
            return Err(no_checkpoint(store));
        };
        let uuid = checkpoint.uuid();
        match SavedPipeline::read(checkpoint) {
            Ok(saved) => return Ok(Chosen { saved, passed_over }),
            // In memory only, if somebody else owns the directory.
            Err(error) if error.kind() == Kind::Corrupt => {
                store.quarantine(uuid, &error.to_string())?;
            }
            Err(error) => return Err(error).with_context(|| format!("checkpoint {uuid}")),
        }
    }
}

/// Reads the small files of a checkpoint.
pub(super) fn read_one(store: &Store, uuid: Uuid) -> Result<SavedPipeline> {
    let saved = SavedPipeline::read(store.read(uuid)?);
    saved.with_context(|| format!("checkpoint {uuid} cannot be read"))
}

/// The checkpoint that somebody means, whole or not; `latest` is the newest usable one.
pub(super) fn find(store: &Store, wanted: &str) -> Result<CatalogEntry> {
    let entries = store.entries();
    if entries.is_empty() {
        return Err(no_checkpoint(store));
    }
    if wanted == LATEST {
        let newest = entries.iter().rev().find(|entry| entry.is_usable());
        return newest.cloned().with_context(|| {
            let root = store.root().display();
            format!("{root}: no checkpoint is usable; `highwater checkpoint ls {root}` says why")
        });
    }
    let has_name = |entry: &&CatalogEntry| entry.metadata.identifier.as_deref() == Some(wanted);
    if let Some(named) = entries.iter().find(has_name) {
        return Ok(named.clone());
    }
    let prefix = wanted.to_lowercase();
    let matches = |entry: &&CatalogEntry| {
        let uuid = entry.uuid();
        let is_prefix = uuid.hyphenated().to_string().starts_with(&prefix)
            || uuid.simple().to_string().starts_with(&prefix);
        is_prefix && !prefix.is_empty()
    };
    let found: Vec<&CatalogEntry> = entries.iter().filter(matches).collect();
    let root = store.root().display();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => bail!(
            "{root}: there is no checkpoint `{wanted}`; `highwater checkpoint ls {root}` lists those that there are"
        ),
        several => {
            let uuids: Vec<String> = several
                .iter()
                .map(|entry| entry.uuid().to_string())
                .collect();
            bail!(
                "{root}: `{wanted}` may be {}; give more of the uuid",
                uuids.join(" or ")
            )
        }
    }
}

fn no_checkpoint(store: &Store) -> anyhow::Error {
    let root = store.root().display();
    anyhow::anyhow!(
        "{root}: there is no checkpoint yet; `highwater run --storage {root}` takes them"
    )
}
