//! Reading what a checkpoint consists of, and comparing it with what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use highwater_types::checkpoint::PSpineBatches;
use uuid::Uuid;

use super::Store;
use crate::catalog::CatalogEntry;
use crate::collect::{CheckpointFacts, CollectionMoment, Facts, Retention};
use crate::contents;
use crate::disk::{DirectoryEntry, Disk, EntryKind};
use crate::error::{Error, Result};
use crate::manifest::{FileDigest, FileList, Manifest};
use crate::paths::{self, RootName};

/// The files of a folder with their sizes.
pub(super) type Listing = BTreeMap<String, u64>;

pub(super) fn list(disk: &dyn Disk, path: &Path) -> Result<Vec<DirectoryEntry>> {
    disk.list(path)
        .map_err(|error| Error::io("list", path, error))
}

pub(super) fn files_of(entries: &[DirectoryEntry]) -> Listing {
    let files = entries.iter().filter(|entry| entry.kind == EntryKind::File);
    files
        .map(|entry| (entry.name.clone(), entry.size_bytes))
        .collect()
}

/// The manifest of a checkpoint, checked against the catalog.
pub(super) fn manifest(disk: &dyn Disk, root: &Path, entry: &CatalogEntry) -> Result<Manifest> {
    let path = paths::checkpoint_file(root, entry.uuid(), paths::MANIFEST);
    let bytes = match contents::read(disk, &path) {
        Ok(bytes) => bytes,
        // Other programs once wrote none; ours are always there.
        Err(error) if error.is_damage() && entry.manifest.is_none() => {
            return manifest_of_lists(disk, root, entry.uuid(), error);
        }
        Err(error) => return Err(error),
    };
    if let Some(expected) = entry.manifest {
        expected.check(&path, FileDigest::of(&bytes))?;
    }
    Manifest::decode(&bytes, &path)
}

/// What the lists that are meant for tools say of a checkpoint without manifest.
fn manifest_of_lists(
    disk: &dyn Disk,
    root: &Path,
    uuid: Uuid,
    no_manifest: Error,
) -> Result<Manifest> {
    let folder = paths::checkpoint_dir(root, uuid);
    let files = files_of(&list(disk, &folder)?);
    let mut manifest = Manifest::default();
    let mut is_listed = false;
    for name in files.keys().filter(|name| paths::is_worker_batches(name)) {
        let path = folder.join(name);
        let bytes = contents::read(disk, &path)?;
        let batches: PSpineBatches = serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt(&path, format!("is no list of files: {error}")))?;
        if let Some(name) = batches.files.iter().find(|name| !paths::is_plain(name)) {
            return Err(Error::corrupt(
                path,
                format!("`{name}` is no name of a file"),
            ));
        }
        manifest
            .batches
            .extend(batches.files.into_iter().map(|name| (name, None)));
        is_listed = true;
    }
    if !is_listed {
        return Err(no_manifest);
    }
    let state_files = files.into_keys().filter(|name| paths::is_state_file(name));
    manifest.state_files = state_files.map(|name| (name, None)).collect();
    Ok(manifest)
}

/// Checks that all files of a checkpoint are there, and have the size that they should have.
pub(super) fn check_presence(
    root: &Path,
    uuid: Uuid,
    manifest: &Manifest,
    at_root: &Listing,
    in_folder: &Listing,
) -> Result<()> {
    let folder = paths::checkpoint_dir(root, uuid);
    if !in_folder.contains_key(paths::MARKER) {
        return Err(Error::corrupt(folder.join(paths::MARKER), "is missing"));
    }
    check_list(&folder, &manifest.state_files, in_folder)?;
    check_list(root, &manifest.batches, at_root)
}

fn check_list(folder: &Path, expected: &FileList, found: &Listing) -> Result<()> {
    // What is only for tools may be lost.
    let expected = expected
        .iter()
        .filter(|(name, _)| !paths::is_worker_batches(name));
    for (name, digest) in expected {
        match (found.get(name), digest) {
            (None, _) => return Err(Error::corrupt(folder.join(name), "is missing")),
            (Some(found_bytes), Some(expected)) if *found_bytes != expected.size_bytes => {
                return Err(expected.wrong_size(&folder.join(name), *found_bytes));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The files in a checkpoint's folder; none if it is not there.
pub(super) fn list_folder(disk: &dyn Disk, root: &Path, uuid: Uuid) -> Result<Listing> {
    match list(disk, &paths::checkpoint_dir(root, uuid)) {
        Ok(entries) => Ok(files_of(&entries)),
        Err(error) if error.is_damage() => Ok(Listing::new()),
        Err(error) => Err(error),
    }
}

/// The bytes in the folders of checkpoints among these names.
pub(super) fn folders_bytes(
    disk: &dyn Disk,
    root: &Path,
    names: &[DirectoryEntry],
) -> Result<BTreeMap<Uuid, u64>> {
    let mut folders_bytes = BTreeMap::new();
    for entry in names
        .iter()
        .filter(|entry| entry.kind == EntryKind::Directory)
    {
        if let RootName::Checkpoint(uuid) = paths::root_name(&entry.name) {
            let files = list_folder(disk, root, uuid)?;
            folders_bytes.insert(uuid, files.values().sum());
        }
    }
    Ok(folders_bytes)
}

pub(super) fn retention(entry: &CatalogEntry, is_held: bool) -> Retention {
    Retention {
        uuid: entry.uuid(),
        is_usable: entry.is_usable(),
        is_kept_on_purpose: entry.is_kept_on_purpose(),
        is_held,
    }
}

impl Store {
    /// All that is known, between two changes.
    pub(crate) fn facts_for_usage(&self) -> Result<Facts> {
        let _change = self.change();
        self.facts()
    }

    /// All that a plan depends on, while nobody changes the catalog.
    pub(super) fn facts(&self) -> Result<Facts> {
        let disk = self.shared.disk.as_ref();
        let root = &self.shared.root;
        // Whatever is listed and not in use after that is not in use (`Files`, I4).
        let names = list(disk, root)?;
        let in_use = self.shared.files.in_use();
        let folders_bytes = folders_bytes(disk, root, &names)?;
        let (entries, in_progress, held) = {
            let state = self.state();
            let held: BTreeSet<Uuid> = state.holds.keys().copied().collect();
            (state.entries.clone(), state.in_progress.clone(), held)
        };
        let mut checkpoints = Vec::with_capacity(entries.len());
        for entry in &entries {
            let manifest = match manifest(disk, root, entry) {
                // Not a fact about the checkpoint.
                Err(error) if !error.is_damage() => return Err(error),
                manifest => manifest,
            };
            checkpoints.push(CheckpointFacts {
                retention: retention(entry, held.contains(&entry.uuid())),
                batches: manifest.map(|manifest| manifest.batches.into_keys().collect()),
            });
        }
        Ok(Facts {
            checkpoints,
            root: names,
            folders_bytes,
            in_use,
            in_progress,
            moment: CollectionMoment::Running,
        })
    }
}
