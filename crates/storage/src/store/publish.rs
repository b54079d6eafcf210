//! Writing a checkpoint.
//!
//! Order: state files → `CHECKPOINT` → sync of all of them and of the batch files → manifest, synced →
//! names in the folder, synced → names at the root, synced → the catalog (`store/commit.rs`). A crash
//! before the last of these leaves files that nobody lists, which the next start removes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use highwater_types::checkpoint::CheckpointMetadata;
use uuid::Uuid;

use super::{Store, inspect};
use crate::catalog::CatalogEntry;
use crate::collect;
use crate::contents;
use crate::disk::DiskFile;
use crate::error::{Error, Kind, Result};
use crate::files::StoredFile;
use crate::manifest::{FileDigest, Manifest};
use crate::paths;

/// What the catalog says of a new checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointDetails {
    /// A name. Named checkpoints are kept until they are renamed or removed.
    pub identifier: Option<String>,
    /// Of the circuit.
    pub fingerprint: u64,
    pub steps: Option<u64>,
    pub processed_records: Option<u64>,
    /// How many of the newest usable checkpoints are kept, this one included; at least one is.
    pub retain: usize,
}

/// A checkpoint that is being written. Dropped before it is published, it leaves nothing behind.
#[derive(Debug)]
pub struct NewCheckpoint {
    store: Store,
    uuid: Uuid,
    folder: PathBuf,
    state_files: BTreeMap<String, FileDigest>,
    /// Written, not synced.
    unsynced: Vec<(PathBuf, Arc<dyn DiskFile>)>,
    batches: BTreeMap<String, Arc<StoredFile>>,
    /// What [`Files::names_lost`](crate::Files) was before the folder had its name.
    names_lost: u64,
    /// A write failed: it cannot be published.
    failure: Option<Error>,
    /// The folder belongs to the catalog, or may.
    is_settled: bool,
}

impl Store {
    /// Begins a checkpoint.
    ///
    /// # Errors
    /// If the system refuses, or the root is only read.
    pub fn begin(&self) -> Result<NewCheckpoint> {
        self.check_writable()?;
        let uuid = self.shared.disk.draw_uuid();
        let folder = paths::checkpoint_dir(&self.shared.root, uuid);
        // Before the folder is there, so that no collection takes it for garbage.
        self.state().in_progress.insert(uuid);
        let checkpoint = NewCheckpoint {
            store: self.clone(),
            uuid,
            folder,
            state_files: BTreeMap::new(),
            unsynced: Vec::new(),
            batches: BTreeMap::new(),
            names_lost: self.shared.files.names_lost(),
            failure: None,
            is_settled: false,
        };
        let created = self.shared.disk.create_dir(&checkpoint.folder);
        created.map_err(|error| Error::io("create", &checkpoint.folder, error))?;
        Ok(checkpoint)
    }
}

impl NewCheckpoint {
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Bytes of all files so far.
    pub fn size_bytes(&self) -> u64 {
        let state_files = self.state_files.values().map(|file| file.size_bytes);
        let batches = self.batches.values().map(|file| file.size_bytes());
        state_files.chain(batches).sum()
    }

    /// Writes a file into the checkpoint's folder.
    ///
    /// # Errors
    /// If the name is not one for a state file or is taken, or if the system refuses; in that case
    /// the checkpoint cannot be published any more.
    pub fn write_state(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        if !paths::is_state_file(name) {
            return Err(Error::new(
                Kind::Invalid,
                path,
                "is no name of a state file",
            ));
        }
        if self.state_files.contains_key(name) {
            return Err(Error::new(Kind::Invalid, path, "is written already"));
        }
        self.write(name, bytes)
            .inspect_err(|error| self.failure = Some(error.clone()))?;
        self.state_files
            .insert(name.to_owned(), FileDigest::of(bytes));
        Ok(())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        let file = contents::write(self.store.shared.disk.as_ref(), &path, bytes)?;
        self.unsynced.push((path, file));
        Ok(())
    }

    /// Makes a batch file part of the checkpoint.
    pub fn refer(&mut self, file: Arc<StoredFile>) {
        self.batches.insert(file.name().to_owned(), file);
    }

    /// Makes the checkpoint exist, drops those that retention no longer keeps, and collects what
    /// nobody needs then ([`Store::last_collection`] tells how that went).
    ///
    /// # Errors
    /// If the system refuses: the checkpoint does not exist, and its folder is gone. If the error is
    /// [indeterminate](Error::is_indeterminate), it is not known whether it exists; see
    /// [`Store::entries`] for what the disk shows.
    pub fn publish(mut self, details: CheckpointDetails) -> Result<CatalogEntry> {
        self.check()?;
        let manifest = self.manifest();
        let entry = self.write_rest(&manifest, details.clone())?;
        let store = self.store.clone();
        let mut change = store.change();
        if let Some(identifier) = &entry.metadata.identifier {
            store.check_identifier(self.uuid, identifier)?;
        }
        // Those of the batch files, and that of the folder.
        store.shared.files.sync_names()?;
        self.check_name()?;
        let entries = store.retained_entries(&entry, details.retain);
        let batches: BTreeSet<String> = manifest.batches.into_keys().collect();
        let committed = store.commit(&mut change, entries, &batches);
        self.is_settled = match &committed {
            Ok(()) => true,
            Err(error) => error.is_indeterminate(),
        };
        store.state().in_progress.remove(&self.uuid);
        committed?;
        store.settle(&mut change);
        Ok(entry)
    }

    fn check(&self) -> Result<()> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let files = self.store.files();
        let foreign = self
            .batches
            .values()
            .find(|file| !Arc::ptr_eq(file.files(), files));
        match foreign {
            Some(file) => Err(Error::new(
                Kind::Invalid,
                file.path(),
                "belongs to another root",
            )),
            None => Ok(()),
        }
    }

    /// # Errors
    /// If a sync of names failed since the folder was made, on behalf of whomever: that a later one
    /// succeeded proves nothing.
    fn check_name(&self) -> Result<()> {
        if self.store.shared.files.names_lost() == self.names_lost {
            return Ok(());
        }
        let message =
            "cannot be relied on: a sync of the directory above failed while it was written";
        let error = Error::new(Kind::Unavailable, &self.folder, message);
        Err(error.with_remedy("make another checkpoint"))
    }

    fn manifest(&self) -> Manifest {
        let state_files = self.state_files.iter();
        let batches = self.batches.iter().map(|(name, file)| {
            let digest = FileDigest {
                size_bytes: file.size_bytes(),
                digest: file.digest(),
            };
            (name.clone(), Some(digest))
        });
        Manifest {
            batches: batches.collect(),
            state_files: state_files
                .map(|(name, digest)| (name.clone(), Some(*digest)))
                .collect(),
        }
    }

    /// Writes and syncs everything but the names at the root.
    fn write_rest(
        &mut self,
        manifest: &Manifest,
        details: CheckpointDetails,
    ) -> Result<CatalogEntry> {
        for file in self.batches.values() {
            file.sync()?;
        }
        self.write(paths::MARKER, &[])?;
        self.sync_written()?;
        let bytes = manifest.encode()?;
        self.write(paths::MANIFEST, &bytes)?;
        self.sync_written()?;
        let synced = self.store.shared.disk.sync_dir(&self.folder);
        synced.map_err(|error| Error::io("sync", &self.folder, error))?;
        Ok(CatalogEntry {
            metadata: CheckpointMetadata {
                uuid: self.uuid,
                identifier: details.identifier,
                fingerprint: details.fingerprint,
                size: Some(manifest.size_bytes()),
                steps: details.steps,
                processed_records: details.processed_records,
            },
            pinned: false,
            unusable: None,
            manifest: Some(FileDigest::of(&bytes)),
        })
    }

    fn sync_written(&mut self) -> Result<()> {
        for (path, file) in self.unsynced.drain(..) {
            contents::sync(file.as_ref(), &path)?;
        }
        Ok(())
    }
}

impl Store {
    /// The catalog with a new entry, without those that are too old.
    fn retained_entries(&self, new: &CatalogEntry, retain: usize) -> Vec<CatalogEntry> {
        let state = self.state();
        let mut entries = state.entries.clone();
        entries.push(new.clone());
        let retention: Vec<_> = entries
            .iter()
            .map(|entry| inspect::retention(entry, state.holds.contains_key(&entry.uuid())))
            .collect();
        let decisions = collect::retained(&retention, retain);
        let kept = entries.into_iter().zip(decisions);
        kept.filter(|(_, decision)| decision.is_some())
            .map(|(entry, _)| entry)
            .collect()
    }
}

/// A failed attempt gives its room back at once.
impl Drop for NewCheckpoint {
    fn drop(&mut self) {
        if !self.is_settled {
            let disk = self.store.shared.disk.as_ref();
            if let Err(error) = collect::remove_folder(disk, &self.folder) {
                tracing::warn!(%error, "cannot remove a checkpoint that was not published; the next start will");
            }
        }
        self.store.state().in_progress.remove(&self.uuid);
    }
}
