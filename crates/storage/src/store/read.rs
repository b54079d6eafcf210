//! Reading a checkpoint, and choosing the one to start from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use uuid::Uuid;

use super::{Hold, Store, inspect};
use crate::catalog::CatalogEntry;
use crate::contents;
use crate::error::{Error, Kind, Result};
use crate::files::StoredFile;
use crate::manifest::{FileDigest, Manifest};
use crate::paths;

/// A checkpoint that can be read. It is kept as long as this is held.
#[derive(Debug)]
pub struct SavedCheckpoint {
    entry: CatalogEntry,
    manifest: Manifest,
    hold: Hold,
}

/// The choice of a checkpoint to start from.
#[derive(Debug)]
pub struct Ladder {
    /// The newest good one; `None` if there never was one.
    pub checkpoint: Option<SavedCheckpoint>,
    /// Newer ones that are damaged, newest first.
    pub passed_over: Vec<PassedOver>,
}

/// A checkpoint that cannot be started from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    pub uuid: Uuid,
    /// Names the file.
    pub reason: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.uuid, self.reason)
    }
}

impl Store {
    /// Opens a checkpoint: its manifest and its state files are verified, and its batch files are
    /// there with the right sizes. Their contents are verified when they are read.
    ///
    /// # Errors
    /// `NotFound` if the catalog does not list it; `Corrupt` if it is damaged, or marked unusable.
    pub fn read(&self, uuid: Uuid) -> Result<SavedCheckpoint> {
        let hold = self.hold(uuid)?;
        let entry = self.entry(uuid)?;
        if let Some(unusable) = &entry.unusable {
            let folder = paths::checkpoint_dir(&self.shared.root, uuid);
            let message = format!("is marked unusable: {}", unusable.reason);
            return Err(Error::corrupt(folder, message).with_remedy("choose another checkpoint"));
        }
        let disk = self.shared.disk.as_ref();
        let root = &self.shared.root;
        let manifest = inspect::manifest(disk, root, &entry)?;
        let at_root = inspect::files_of(&inspect::list(disk, root)?);
        let in_folder = inspect::list_folder(disk, root, uuid)?;
        inspect::check_presence(root, uuid, &manifest, &at_root, &in_folder)?;
        let saved = SavedCheckpoint {
            entry,
            manifest,
            hold,
        };
        let names = saved.manifest.state_files.keys();
        for name in names.filter(|name| !paths::is_worker_batches(name)) {
            saved.state(name)?;
        }
        Ok(saved)
    }

    /// What a checkpoint consists of, usable or not.
    ///
    /// # Errors
    /// If it is not listed, or its manifest is damaged.
    pub fn manifest(&self, uuid: Uuid) -> Result<Manifest> {
        let entry = self.entry(uuid)?;
        inspect::manifest(self.shared.disk.as_ref(), &self.shared.root, &entry)
    }

    /// The newest good checkpoint. Damaged ones are marked unusable on the way, with the reason, so
    /// that nobody tries them again.
    ///
    /// # Errors
    /// If there are checkpoints, but none is good: to start from nothing would be to lose the state
    /// silently. Also if the system refuses to read one that may be good.
    pub fn newest_usable(&self) -> Result<Ladder> {
        let mut passed_over = Vec::new();
        for entry in self.entries().iter().rev() {
            let uuid = entry.uuid();
            let reason = match &entry.unusable {
                Some(unusable) => unusable.reason.clone(),
                None => match self.read(uuid) {
                    Ok(saved) => {
                        return Ok(Ladder {
                            checkpoint: Some(saved),
                            passed_over,
                        });
                    }
                    Err(error) if error.is_damage() => {
                        let reason = error.to_string();
                        if let Err(error) = self.quarantine(uuid, &reason) {
                            tracing::warn!(%uuid, %error, "cannot record that a checkpoint is damaged");
                        }
                        reason
                    }
                    Err(error) => return Err(error),
                },
            };
            passed_over.push(PassedOver { uuid, reason });
        }
        if passed_over.is_empty() {
            return Ok(Ladder {
                checkpoint: None,
                passed_over,
            });
        }
        Err(self.none_is_good(&passed_over))
    }

    fn none_is_good(&self, passed_over: &[PassedOver]) -> Error {
        let reasons: Vec<String> = passed_over.iter().map(PassedOver::to_string).collect();
        let message = format!("no checkpoint is usable: {}", reasons.join("; "));
        let error = Error::corrupt(&self.shared.root, message);
        error.with_remedy("put the files back from a copy, or begin anew in another directory")
    }
}

impl SavedCheckpoint {
    pub fn entry(&self) -> &CatalogEntry {
        &self.entry
    }

    pub fn uuid(&self) -> Uuid {
        self.entry.uuid()
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The storage root.
    pub fn root(&self) -> &Path {
        &self.hold.store.shared.root
    }

    /// A state file; its digest is checked.
    ///
    /// # Errors
    /// `NotFound` if the checkpoint has none of this name, `Corrupt` if it is damaged.
    pub fn state(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.state_path(name);
        let expected = self.manifest.state_files.get(name);
        let expected = expected.ok_or_else(|| not_part(path.clone()))?;
        let bytes = contents::read(self.hold.store.shared.disk.as_ref(), &path)?;
        if let Some(expected) = expected {
            expected.check(&path, FileDigest::of(&bytes))?;
        }
        Ok(bytes)
    }

    fn state_path(&self, name: &str) -> PathBuf {
        paths::checkpoint_file(&self.hold.store.shared.root, self.uuid(), name)
    }

    /// A batch file; its size is checked.
    ///
    /// # Errors
    /// `NotFound` if it is no part of the checkpoint; `Unsupported` if another program wrote the
    /// checkpoint, which says neither sizes nor digests.
    pub fn open_batch(&self, name: &str) -> Result<Arc<StoredFile>> {
        let store = &self.hold.store;
        let path = || store.shared.root.join(name);
        let expected = self.manifest.batches.get(name);
        let expected = expected.ok_or_else(|| not_part(path()))?;
        let expected = expected.ok_or_else(|| {
            let message = "size and digest are not known, for another program wrote the checkpoint";
            Error::new(Kind::Unsupported, path(), message)
        })?;
        store
            .shared
            .files
            .open(name, expected.size_bytes, expected.digest)
    }
}

fn not_part(path: PathBuf) -> Error {
    Error::new(Kind::NotFound, path, "is no part of the checkpoint")
}
