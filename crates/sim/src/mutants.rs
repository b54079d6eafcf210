//! Planted bugs: disks that break a promise, each as a real bug of the bug museum did.
//!
//! A harness that does not notice them proves nothing (X4). The classes are those of
//! `durability-testing.md`, part 2.4; what cannot be planted from the outside (what operators save,
//! replay, sources and sinks) is not here.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_storage::disk::{DirectoryEntry, Disk, DiskFile, EntryKind, Lock, LockGuard};
use highwater_storage::paths::{self, RootName, root_name};
use uuid::Uuid;

use crate::sim_disk::SimDisk;

/// What is wrong with a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutant {
    /// F1: nobody syncs folders.
    FolderSyncLies,
    /// F1: only the root is forgotten.
    RootSyncLies,
    /// F1: only the folders of checkpoints are forgotten.
    CheckpointFolderSyncLies,
    /// F1: the root is synced before the catalog is renamed instead of afterwards: removals overtake
    /// the catalog.
    RootSyncTooEarly,
    /// X3: nobody syncs files.
    FileSyncLies,
    CatalogSyncLies,
    BatchSyncLies,
    StateSyncLies,
    ManifestSyncLies,
    /// X3: a failed sync of a file is taken for a good one.
    SyncErrorSwallowed,
    /// X3: the same for folders.
    FolderSyncErrorSwallowed,
    /// A rename that copies and removes.
    RenameCopies,
    /// A rename that removes what is in the way first.
    RenameRemovesFirst,
    /// F6: the catalog was not written and nobody noticed.
    CatalogRenameLost,
    /// F5: a lost catalog reads as an empty one.
    LostCatalogReadsEmpty,
    /// F4: what cannot be listed is taken for empty.
    ListErrorReadsEmpty,
    /// S1: a file of equal size appears under another's name.
    FilesMixedUp,
    /// S2: what is read has a wrong bit.
    ReadsFlipABit,
    /// F13: the catalog that is read is the one before.
    CatalogIsStale,
    /// Part of what was to be written is missing and nobody noticed.
    WriteErrorSwallowed,
    /// O12: nothing is ever removed.
    RemovalsForgotten,
    /// Cleaning takes what is not ours.
    ForeignFilesRemoved,
    /// C16: everybody gets the lock.
    LockIsFree,
}

impl Mutant {
    pub const ALL: [Self; 23] = [
        Self::FolderSyncLies,
        Self::RootSyncLies,
        Self::CheckpointFolderSyncLies,
        Self::RootSyncTooEarly,
        Self::FileSyncLies,
        Self::CatalogSyncLies,
        Self::BatchSyncLies,
        Self::StateSyncLies,
        Self::ManifestSyncLies,
        Self::SyncErrorSwallowed,
        Self::FolderSyncErrorSwallowed,
        Self::RenameCopies,
        Self::RenameRemovesFirst,
        Self::CatalogRenameLost,
        Self::LostCatalogReadsEmpty,
        Self::ListErrorReadsEmpty,
        Self::FilesMixedUp,
        Self::ReadsFlipABit,
        Self::CatalogIsStale,
        Self::WriteErrorSwallowed,
        Self::RemovalsForgotten,
        Self::ForeignFilesRemoved,
        Self::LockIsFree,
    ];

    /// A disk with this bug.
    pub fn wrap(self, inner: SimDisk) -> Arc<dyn Disk> {
        Arc::new(MutantDisk {
            inner,
            mutant: self,
            memory: Arc::default(),
        })
    }

    /// Whether a sync of this file is forgotten.
    fn forgets_file(self, path: &Path) -> bool {
        match self {
            Self::FileSyncLies => true,
            Self::CatalogSyncLies => kind(path) == FileKind::Catalog,
            Self::BatchSyncLies => kind(path) == FileKind::Batch,
            Self::StateSyncLies => kind(path) == FileKind::State,
            Self::ManifestSyncLies => kind(path) == FileKind::Manifest,
            _ => false,
        }
    }

    fn forgets_folder(self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_checkpoint = matches!(root_name(&name), RootName::Checkpoint(_));
        match self {
            Self::FolderSyncLies => true,
            Self::RootSyncLies | Self::RootSyncTooEarly => !is_checkpoint,
            Self::CheckpointFolderSyncLies => is_checkpoint,
            _ => false,
        }
    }
}

/// What a file is for, by its name, finished or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    Catalog,
    Lock,
    Batch,
    Manifest,
    Marker,
    State,
}

/// What a file of a storage root is for.
pub fn kind(path: &Path) -> FileKind {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.strip_suffix(paths::UNFINISHED_SUFFIX).unwrap_or(&name);
    match root_name(name) {
        RootName::Catalog => FileKind::Catalog,
        RootName::Lock => FileKind::Lock,
        RootName::Batch { .. } => FileKind::Batch,
        _ if name == paths::MANIFEST => FileKind::Manifest,
        _ if name == paths::MARKER => FileKind::Marker,
        _ => FileKind::State,
    }
}

#[derive(Clone, Debug)]
struct MutantDisk {
    inner: SimDisk,
    mutant: Mutant,
    memory: Arc<Mutex<Memory>>,
}

/// What some of the bugs remember.
#[derive(Debug, Default)]
struct Memory {
    catalog_renames: u64,
    /// A finished batch file per size.
    by_size: BTreeMap<u64, PathBuf>,
}

impl MutantDisk {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, inner: Arc<dyn DiskFile>, path: &Path) -> Arc<dyn DiskFile> {
        Arc::new(MutantFile {
            inner,
            mutant: self.mutant,
            path: path.to_owned(),
        })
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let source = self.inner.open(from)?;
        let mut bytes = vec![0; source.len()? as usize];
        source.read_at(0, &mut bytes)?;
        match self.inner.remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let target = self.inner.create(to)?;
        target.append(&bytes)?;
        target.sync()?;
        self.inner.remove_file(from)
    }

    /// Another file of this size takes the place of the one that is finished.
    fn mix_up(&self, from: &Path, to: &Path) -> io::Result<bool> {
        let size_bytes = self.inner.open(from)?.len()?;
        let twin = self.memory().by_size.insert(size_bytes, to.to_owned());
        match twin {
            Some(twin) if self.inner.hard_link(&twin, to).is_ok() => {
                self.inner.remove_file(from)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl Disk for MutantDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.inner.create(path)?, path))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        if self.mutant == Mutant::CatalogIsStale && kind(path) == FileKind::Catalog {
            let bytes = without_last(self.inner.open(path)?.as_ref())?;
            return Ok(Arc::new(Text(bytes)));
        }
        match self.inner.open(path) {
            Err(error)
                if self.mutant == Mutant::LostCatalogReadsEmpty
                    && kind(path) == FileKind::Catalog
                    && error.kind() == io::ErrorKind::NotFound =>
            {
                Ok(Arc::new(Text(b"[]".to_vec())))
            }
            opened => Ok(self.file(opened?, path)),
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let kind = kind(to);
        match self.mutant {
            Mutant::RenameCopies => return self.copy(from, to),
            Mutant::RenameRemovesFirst => match self.inner.remove_file(to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Mutant::CatalogRenameLost if kind == FileKind::Catalog => {
                let mut memory = self.memory();
                memory.catalog_renames += 1;
                if memory.catalog_renames > 1 {
                    return self.inner.remove_file(from);
                }
            }
            Mutant::RootSyncTooEarly if kind == FileKind::Catalog => {
                self.inner.sync_dir(to.parent().unwrap_or(to))?;
            }
            Mutant::FilesMixedUp if kind == FileKind::Batch && self.mix_up(from, to)? => {
                return Ok(());
            }
            _ => {}
        }
        self.inner.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        match self.mutant {
            Mutant::RemovalsForgotten => Ok(()),
            Mutant::ForeignFilesRemoved => {
                let foreign = path.with_file_name("notes.txt");
                // It may be gone already.
                let _ = self.inner.remove_file(&foreign);
                self.inner.remove_file(path)
            }
            _ => self.inner.remove_file(path),
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        match self.mutant {
            Mutant::RemovalsForgotten => Ok(()),
            _ => self.inner.remove_dir(path),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = match self.inner.list(path) {
            Err(error) if self.mutant == Mutant::ListErrorReadsEmpty && is_system_error(&error) => {
                return Ok(Vec::new());
            }
            listed => listed?,
        };
        let is_root = entries.iter().any(|entry| entry.name == paths::LOCK);
        let has_catalog = entries.iter().any(|entry| entry.name == paths::CATALOG);
        if self.mutant == Mutant::LostCatalogReadsEmpty && is_root && !has_catalog {
            entries.push(DirectoryEntry {
                name: paths::CATALOG.to_owned(),
                kind: EntryKind::File,
                size_bytes: 2,
            });
            entries.sort_by(|left, right| left.name.cmp(&right.name));
        }
        Ok(entries)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        if self.mutant.forgets_folder(path) {
            return Ok(());
        }
        match self.inner.sync_dir(path) {
            Err(error)
                if self.mutant == Mutant::FolderSyncErrorSwallowed && is_system_error(&error) =>
            {
                Ok(())
            }
            synced => synced,
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        match self.inner.lock(path)? {
            Lock::Taken { .. } if self.mutant == Mutant::LockIsFree => {
                Ok(Lock::Held(Box::new(NoGuard)))
            }
            lock => Ok(lock),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }

    fn draw_uuid(&self) -> Uuid {
        self.inner.draw_uuid()
    }
}

/// Neither an answer, such as absence, nor the end of the process.
fn is_system_error(error: &io::Error) -> bool {
    error.raw_os_error().is_some()
}

/// A catalog without its last entry, if it has more than one.
fn without_last(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; file.len()? as usize];
    file.read_at(0, &mut bytes)?;
    match serde_json::from_slice(&bytes) {
        Ok(serde_json::Value::Array(mut entries)) if entries.len() > 1 => {
            entries.pop();
            Ok(serde_json::to_vec(&entries)?)
        }
        _ => Ok(bytes),
    }
}

#[derive(Debug)]
struct NoGuard;

impl LockGuard for NoGuard {}

/// A file that is not on the disk.
#[derive(Debug)]
struct Text(Vec<u8>);

impl DiskFile for Text {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.0.get(start..start.saturating_add(buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn append(&self, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct MutantFile {
    inner: Arc<dyn DiskFile>,
    mutant: Mutant,
    path: PathBuf,
}

impl DiskFile for MutantFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)?;
        if self.mutant == Mutant::ReadsFlipABit
            && matches!(kind(&self.path), FileKind::Batch | FileKind::State)
            && let Some(last) = buffer.last_mut()
        {
            *last ^= 1;
        }
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        match self.inner.append(bytes) {
            Err(error) if self.mutant == Mutant::WriteErrorSwallowed && is_system_error(&error) => {
                Ok(())
            }
            appended => appended,
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.mutant.forgets_file(&self.path) {
            return Ok(());
        }
        match self.inner.sync() {
            Err(error) if self.mutant == Mutant::SyncErrorSwallowed && is_system_error(&error) => {
                Ok(())
            }
            synced => synced,
        }
    }
}
