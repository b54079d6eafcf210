//! The commit point: the rename that replaces the catalog.
//!
//! Everything that the new catalog refers to is durable before [`replace`] is called. It writes the
//! catalog aside, makes it durable, and renames it. Before the rename nothing has happened; after it,
//! and after the sync of the root's names that follows, everything has. Between the two a loss of
//! power leaves the old catalog or the new one: that is why nothing which either of them needs is
//! deleted before the sync has succeeded.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Change, Store};
use crate::catalog::{self, CatalogEntry};
use crate::collect;
use crate::contents;
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::paths;

/// What became of a replacement.
#[derive(Debug)]
enum Replaced {
    Durably,
    /// The old catalog is there.
    Not(Error),
    /// The new catalog is there, or nobody knows; a loss of power may bring the old one back.
    Perhaps(Error),
}

/// Replaces the catalog by these bytes. `sync_names` makes the names at the root durable.
fn replace(
    disk: &dyn Disk,
    root: &Path,
    bytes: &[u8],
    sync_names: impl FnOnce() -> Result<()>,
) -> Replaced {
    let path = root.join(paths::CATALOG);
    let aside = root.join(paths::unfinished(paths::CATALOG));
    if let Err(error) = write_aside(disk, &aside, bytes) {
        // It gives its room back at once, and if that fails, at the next try.
        let _ = collect::remove_file(disk, &aside);
        return Replaced::Not(error);
    }
    if let Err(error) = disk.rename(&aside, &path) {
        let error = Error::io("replace", &path, error);
        // A system that reports a failure may still have renamed: the disk is the truth.
        return match contents::read(disk, &path) {
            Ok(found) if found == bytes => Replaced::Perhaps(error),
            Ok(_) => {
                let _ = collect::remove_file(disk, &aside);
                Replaced::Not(error)
            }
            Err(unreadable) if unreadable.is_damage() => Replaced::Not(error),
            Err(_) => Replaced::Perhaps(error),
        };
    }
    match sync_names() {
        Ok(()) => Replaced::Durably,
        Err(error) => Replaced::Perhaps(error),
    }
}

/// As [`replace`] in a root where nobody writes files yet; anything but success is an error.
pub(crate) fn replace_catalog(disk: &dyn Disk, root: &Path, bytes: &[u8]) -> Result<()> {
    let sync_names = || {
        let synced = disk.sync_dir(root);
        synced.map_err(|error| Error::io("sync", root, error))
    };
    match replace(disk, root, bytes, sync_names) {
        Replaced::Durably => Ok(()),
        Replaced::Not(error) => Err(error),
        Replaced::Perhaps(error) => Err(error.indeterminate()),
    }
}

fn write_aside(disk: &dyn Disk, aside: &Path, bytes: &[u8]) -> Result<()> {
    // Left over from an attempt that could not clean up.
    collect::remove_file(disk, aside)?;
    let file = contents::write(disk, aside, bytes)?;
    contents::sync(file.as_ref(), aside)
}

impl Store {
    /// Replaces the catalog, in which `batches` are needed besides those that are owned already.
    ///
    /// # Errors
    /// If it was not replaced: then nothing has changed. If the error is indeterminate, the list in
    /// memory is what the disk shows, and nothing is deleted until a later replacement succeeds.
    pub(super) fn commit(
        &self,
        change: &mut Change,
        entries: Vec<CatalogEntry>,
        batches: &BTreeSet<String>,
    ) -> Result<()> {
        let shared = &self.shared;
        let bytes = catalog::encode(&entries)?;
        let owned_before = change.owned.clone();
        change.owned.extend(batches.iter().cloned());
        shared.files.set_owned(change.owned.clone());
        // Names that others are giving at this moment are concerned if the sync fails.
        let sync_names = || shared.files.sync_names();
        match replace(shared.disk.as_ref(), &shared.root, &bytes, sync_names) {
            Replaced::Durably => {
                change.is_uncertain = false;
                change.is_only_read = false;
                self.set_entries(entries);
                Ok(())
            }
            Replaced::Not(error) => {
                change.owned = owned_before;
                shared.files.set_owned(change.owned.clone());
                Err(error.with_context("the catalog stays as it was"))
            }
            Replaced::Perhaps(error) => {
                change.is_uncertain = true;
                // Without an answer the old list stays: the error says that the new one failed.
                if let Ok(found) = self.entries_on_disk() {
                    self.set_entries(found);
                }
                let context = "the catalog was replaced, but may change back if power is lost";
                Err(error.with_context(context).indeterminate())
            }
        }
    }

    pub(super) fn set_entries(&self, entries: Vec<CatalogEntry>) {
        let mut state = self.state();
        state.entries = entries;
        state.generation += 1;
    }

    fn entries_on_disk(&self) -> Result<Vec<CatalogEntry>> {
        let path = self.shared.root.join(paths::CATALOG);
        let bytes = contents::read(self.shared.disk.as_ref(), &path)?;
        catalog::decode(&bytes, &path)
    }
}
