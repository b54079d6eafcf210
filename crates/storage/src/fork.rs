//! A new root from a checkpoint, by second names for its files.
//!
//! Files are written once and never changed, so two roots can have the same ones: nothing is copied,
//! and each root deletes its own names only. It takes as long as giving names, whatever the size. The
//! catalog comes last, so that a fork which was interrupted is a root without catalog, which is
//! refused when it is opened.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::catalog::{self, CatalogEntry};
use crate::collect;
use crate::disk::EntryKind;
use crate::error::{Error, Kind, Result};
use crate::manifest::Manifest;
use crate::paths;
use crate::store::{Store, create_root, lock, replace_catalog};

/// What a fork consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForkReport {
    pub entry: CatalogEntry,
    /// Files that have a second name now.
    pub files: usize,
    /// Their bytes, which are not copied.
    pub bytes: u64,
}

impl Store {
    /// Makes a root at `target` that has this checkpoint and nothing else. It is neither pinned nor
    /// named there.
    ///
    /// # Errors
    /// If `target` is not empty, if it is on another file system or on one without hard links, or if
    /// the checkpoint is damaged. What was made is removed then.
    pub fn fork(&self, uuid: Uuid, target: &Path) -> Result<ForkReport> {
        let saved = self.read(uuid)?;
        create_root(self.disk().as_ref(), target)?;
        let names = self.disk().list(target);
        let names = names.map_err(|error| Error::io("list", target, error))?;
        if let Some(name) = names.iter().find(|entry| entry.name != paths::LOCK) {
            let message = format!("is not empty: it holds {}", name.name);
            return Err(
                Error::new(Kind::Invalid, target, message).with_remedy("choose an empty directory")
            );
        }
        let _lock = lock(self.disk().as_ref(), target)?;
        let mut fork = Fork {
            store: self,
            target,
            linked: Vec::new(),
        };
        let forked = fork.link(saved.entry(), saved.manifest());
        if forked.is_err() {
            fork.undo(uuid);
        }
        forked
    }
}

struct Fork<'a> {
    store: &'a Store,
    target: &'a Path,
    linked: Vec<PathBuf>,
}

impl Fork<'_> {
    fn link(&mut self, entry: &CatalogEntry, manifest: &Manifest) -> Result<ForkReport> {
        let disk = self.store.disk();
        let from = paths::checkpoint_dir(self.store.root(), entry.uuid());
        let folder = paths::checkpoint_dir(self.target, entry.uuid());
        let created = disk.create_dir(&folder);
        created.map_err(|error| Error::io("create", &folder, error))?;
        for name in manifest.batches.keys() {
            self.link_file(&self.store.root().join(name), self.target.join(name))?;
        }
        // Whatever is in the folder: lists for tools may be missing, and manifests of other programs.
        let names = disk.list(&from);
        let names = names.map_err(|error| Error::io("list", &from, error))?;
        for name in names
            .into_iter()
            .filter(|entry| entry.kind == EntryKind::File)
        {
            self.link_file(&from.join(&name.name), folder.join(&name.name))?;
        }
        for path in [folder.as_path(), self.target] {
            let synced = disk.sync_dir(path);
            synced.map_err(|error| Error::io("sync", path, error))?;
        }
        let entry = self.write_catalog(entry)?;
        Ok(ForkReport {
            entry,
            files: self.linked.len(),
            bytes: manifest.size_bytes(),
        })
    }

    fn link_file(&mut self, from: &Path, to: PathBuf) -> Result<()> {
        let linked = self.store.disk().hard_link(from, &to);
        linked.map_err(|error| {
            let cannot = Error::io("link", &to, error);
            match cannot.kind() {
                Kind::NotFound => cannot.with_remedy("it was deleted meanwhile; choose a newer checkpoint"),
                Kind::Exhausted => cannot,
                _ => cannot.with_remedy("choose a directory on the same file system, one that has hard links; or copy the whole directory while no engine runs on it"),
            }
        })?;
        self.linked.push(to);
        Ok(())
    }

    fn write_catalog(&self, entry: &CatalogEntry) -> Result<CatalogEntry> {
        let mut entry = entry.clone();
        entry.pinned = false;
        entry.metadata.identifier = None;
        let bytes = catalog::encode(std::slice::from_ref(&entry))?;
        replace_catalog(self.store.disk().as_ref(), self.target, &bytes)?;
        Ok(entry)
    }

    /// Removes the names that were given, and no others.
    fn undo(&self, uuid: Uuid) {
        let disk = self.store.disk().as_ref();
        let folder = paths::checkpoint_dir(self.target, uuid);
        let catalog = self.target.join(paths::CATALOG);
        let files = std::iter::once(&catalog).chain(&self.linked);
        let removed = files.map(|path| collect::remove_file(disk, path));
        let removed: Result<()> = removed.collect();
        if let Err(error) = removed.and_then(|()| collect::remove_folder(disk, &folder)) {
            tracing::warn!(%error, "cannot remove what a failed fork has made");
        }
    }
}
