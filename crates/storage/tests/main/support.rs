//! A directory with a store in it, and short ways to fill it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use highwater_storage::{
    CatalogEntry, CheckpointDetails, LocalDisk, Result, Store, StoreOptions, StoredFile,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Always the same time.
pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        clock: Arc::new(now),
    }
}

pub(crate) fn now() -> DateTime<Utc> {
    "2026-11-22T10:20:30Z".parse().unwrap()
}

/// A directory of this machine.
pub(crate) struct Root {
    _directory: TempDir,
    pub(crate) path: PathBuf,
}

impl Root {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        Self {
            _directory: directory,
            path,
        }
    }

    pub(crate) fn open(&self) -> Store {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<Store> {
        Store::open_with(Arc::new(LocalDisk), &self.path, options())
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Every file below the root with its contents.
    pub(crate) fn contents(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut contents = Vec::new();
        gather(&self.path, &mut contents);
        contents.sort();
        contents
    }
}

fn gather(folder: &Path, contents: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, contents);
        } else {
            let bytes = fs::read(&path).unwrap();
            contents.push((path, bytes));
        }
    }
}

/// The files below a root.
pub(crate) fn names(root: &Root) -> Vec<String> {
    let names = root.contents().into_iter();
    names
        .map(|(path, _)| path.strip_prefix(&root.path).unwrap().display().to_string())
        .collect()
}

pub(crate) fn uuids(store: &Store) -> Vec<Uuid> {
    store.entries().iter().map(CatalogEntry::uuid).collect()
}

/// A batch file of this many bytes.
pub(crate) fn batch(store: &Store, size_bytes: usize) -> Result<Arc<StoredFile>> {
    let mut writer = store.files().create(0)?;
    let bytes: Vec<u8> = (0..=255).cycle().take(size_bytes).collect();
    writer.write(&bytes)?;
    writer.finish()
}

pub(crate) fn details(retain: usize) -> CheckpointDetails {
    CheckpointDetails {
        fingerprint: u64::MAX - 1,
        steps: Some(7),
        processed_records: Some(70),
        retain,
        ..CheckpointDetails::default()
    }
}

/// A checkpoint of these batch files and of two state files.
pub(crate) fn checkpoint(
    store: &Store,
    batches: &[Arc<StoredFile>],
    retain: usize,
) -> Result<CatalogEntry> {
    let mut new = store.begin()?;
    new.write_state("state.json", b"{\"step\": 7}")?;
    new.write_state("pspine-0.dat", &[7; 100])?;
    for batch in batches {
        new.refer(Arc::clone(batch));
    }
    new.publish(details(retain))
}
