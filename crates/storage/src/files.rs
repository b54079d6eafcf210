//! The immutable files of a storage root: written once, read for ever, removed when nobody needs them.
//!
//! A file is made under an unfinished name (`….mut`) and gets its own name when it is complete. It
//! is not durable then: whoever wants to rely on it calls [`StoredFile::sync`], and syncs the root's
//! names once for many files ([`Files::sync_names`]).
//!
//! Invariants
//! - I1: a name is used once: a uuid is drawn for each file.
//! - I2: a file is removed when its last [`StoredFile`] is dropped, unless a checkpoint owns it. The
//!   set of owned files is told by [`Files::set_owned`], which the publication of a checkpoint calls
//!   while it still holds the handles of all of its files.
//! - I3: a file whose sync failed never counts as durable: every later sync of it fails too. The same
//!   is true of a file whose name was to be made durable by a sync of names that failed. Who needs the
//!   contents has them written to another file ([`StoredFile::rewrite`]).
//! - I4: a name is known to be in use before a file has it, so that who lists the root and asks
//!   [`Files::in_use`] then never takes a file for garbage that somebody is about to hold.
//!
//! Crash: files that no checkpoint owns are removed by the next start, as are unfinished ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::digest::{Digest, Digester};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::paths;

/// Writes are gathered up to this many bytes.
const WRITE_BUFFER_BYTES: usize = 1 << 20;

/// Makes and opens the batch files of one root.
#[derive(Debug)]
pub struct Files {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    registry: Mutex<Registry>,
}

#[derive(Debug, Default)]
struct Registry {
    /// Handles that are in use, by name.
    open: BTreeMap<String, Weak<StoredFile>>,
    /// Files that have no handle yet.
    being_written: BTreeSet<String>,
    /// Files whose names are not durable.
    unnamed: BTreeMap<String, Weak<StoredFile>>,
    /// How often a sync of names has failed.
    names_lost: u64,
    owned: Owned,
}

/// Files that stay when their handles go.
#[derive(Debug)]
enum Owned {
    /// Those of checkpoints.
    These(BTreeSet<String>),
    /// All: the root is only read.
    All,
}

impl Default for Owned {
    fn default() -> Self {
        Self::These(BTreeSet::new())
    }
}

impl Owned {
    fn contains(&self, name: &str) -> bool {
        match self {
            Self::These(names) => names.contains(name),
            Self::All => true,
        }
    }
}

impl Files {
    pub fn new(disk: Arc<dyn Disk>, root: impl Into<PathBuf>) -> Arc<Self> {
        Arc::new(Self {
            disk,
            root: root.into(),
            registry: Mutex::default(),
        })
    }

    /// For a root that is only read: no file of it is ever removed.
    pub(crate) fn read_only(disk: Arc<dyn Disk>, root: impl Into<PathBuf>) -> Arc<Self> {
        let files = Self::new(disk, root);
        files.registry().owned = Owned::All;
        files
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Begins a batch file of a worker.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn create(self: &Arc<Self>, worker: usize) -> Result<FileWriter> {
        let name = paths::batch_file(worker, self.disk.draw_uuid());
        let path = self.root.join(paths::unfinished(&name));
        let file = self.disk.create(&path);
        let file = file.map_err(|error| Error::io("create", &path, error))?;
        self.registry().being_written.insert(name.clone());
        Ok(FileWriter {
            files: Arc::clone(self),
            name,
            path,
            file,
            buffer: Vec::new(),
            written_bytes: 0,
            digester: Digester::default(),
            is_finished: false,
        })
    }

    /// The batch file of this name, which a checkpoint owns. Its contents are not read; it must have
    /// the size that the checkpoint says.
    ///
    /// # Errors
    /// If it is not there, cannot be opened, or has another size.
    pub fn open(
        self: &Arc<Self>,
        name: &str,
        size_bytes: u64,
        digest: Digest,
    ) -> Result<Arc<StoredFile>> {
        let mut registry = self.registry();
        if let Some(file) = registry.open.get(name).and_then(Weak::upgrade) {
            return Ok(file);
        }
        let path = self.root.join(name);
        let file = self.disk.open(&path);
        let file = file.map_err(|error| Error::io("open", &path, error))?;
        let found = file
            .len()
            .map_err(|error| Error::io("measure", &path, error))?;
        if found != size_bytes {
            let message = format!("has {found} bytes where a checkpoint says {size_bytes}");
            return Err(Error::corrupt(path, message));
        }
        let stored = Arc::new(StoredFile {
            files: Arc::clone(self),
            name: name.to_owned(),
            path,
            file,
            size_bytes,
            digest,
            is_durable: Mutex::new(true),
            sync_failure: OnceLock::new(),
            rewritten: OnceLock::new(),
        });
        registry
            .open
            .insert(name.to_owned(), Arc::downgrade(&stored));
        Ok(stored)
    }

    /// Makes the names of all finished files durable.
    ///
    /// # Errors
    /// If the system refuses. The files whose names it was about count as lost then.
    pub fn sync_names(&self) -> Result<()> {
        let pending = std::mem::take(&mut self.registry().unnamed);
        let synced = self.disk.sync_dir(&self.root);
        synced.map_err(|error| {
            let error = Error::io("sync", &self.root, error);
            self.registry().names_lost += 1;
            for file in pending.values().filter_map(Weak::upgrade) {
                file.poison(&error);
            }
            error
        })
    }

    /// How often [`Self::sync_names`] has failed: a name that was given before the last failure, and
    /// was not durable by then, never is.
    pub(crate) fn names_lost(&self) -> u64 {
        self.registry().names_lost
    }

    /// Says which files belong to checkpoints: these, and no others.
    pub fn set_owned(&self, names: BTreeSet<String>) {
        let mut registry = self.registry();
        if let Owned::These(owned) = &mut registry.owned {
            *owned = names;
        }
    }

    /// Files that somebody holds or writes, whether a checkpoint owns them or not.
    pub fn in_use(&self) -> BTreeSet<String> {
        let registry = self.registry();
        let held = registry.open.iter();
        let held = held.filter(|(_, file)| file.strong_count() > 0);
        let held = held.map(|(name, _)| name);
        held.chain(&registry.being_written).cloned().collect()
    }

    /// What the files take that are open.
    pub fn bytes_in_use(&self) -> u64 {
        let open: Vec<Arc<StoredFile>> = self
            .registry()
            .open
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        open.iter().map(|file| file.size_bytes).sum()
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last handle of a file is gone.
    fn release(&self, name: &str, path: &Path) {
        let mut registry = self.registry();
        // It may have been opened anew between the drop of the last handle and here.
        if registry
            .open
            .get(name)
            .is_some_and(|file| file.strong_count() > 0)
        {
            return;
        }
        registry.open.remove(name);
        registry.unnamed.remove(name);
        if registry.owned.contains(name) {
            return;
        }
        if let Err(error) = self.disk.remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file that is no longer needed; the next start will");
        }
    }
}

/// A file that is being written, from start to end.
#[derive(Debug)]
pub struct FileWriter {
    files: Arc<Files>,
    name: String,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    buffer: Vec<u8>,
    written_bytes: u64,
    digester: Digester,
    is_finished: bool,
}

impl FileWriter {
    /// Appends.
    ///
    /// # Errors
    /// If the system refuses: there is no room. Nothing more can be written then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.digester.update(bytes);
        self.written_bytes += bytes.len() as u64;
        if self.buffer.is_empty() && bytes.len() >= WRITE_BUFFER_BYTES {
            return self.append(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BUFFER_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.written_bytes
    }

    pub fn is_empty(&self) -> bool {
        self.written_bytes == 0
    }

    fn flush(&mut self) -> Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.append(&buffer)?;
        self.buffer = buffer;
        self.buffer.clear();
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        let appended = self.file.append(bytes);
        appended.map_err(|error| Error::io("write", &self.path, error))
    }

    /// Gives the file its name. It can be read from now on; it is durable after [`StoredFile::sync`]
    /// and [`Files::sync_names`].
    ///
    /// # Errors
    /// If the system refuses.
    pub fn finish(mut self) -> Result<Arc<StoredFile>> {
        self.flush()?;
        let path = self.files.root.join(&self.name);
        let renamed = self.files.disk.rename(&self.path, &path);
        renamed.map_err(|error| Error::io("name", &path, error))?;
        self.is_finished = true;
        let stored = Arc::new(StoredFile {
            files: Arc::clone(&self.files),
            name: self.name.clone(),
            path,
            file: Arc::clone(&self.file),
            size_bytes: self.written_bytes,
            digest: self.digester.finish(),
            is_durable: Mutex::new(false),
            sync_failure: OnceLock::new(),
            rewritten: OnceLock::new(),
        });
        let handle = Arc::downgrade(&stored);
        let mut registry = self.files.registry();
        registry.being_written.remove(&self.name);
        registry.unnamed.insert(self.name.clone(), handle.clone());
        registry.open.insert(self.name.clone(), handle);
        drop(registry);
        Ok(stored)
    }
}

/// A file that was not finished gives its room back at once.
impl Drop for FileWriter {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        self.files.registry().being_written.remove(&self.name);
        if let Err(error) = self.files.disk.remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove an unfinished file; the next start will");
        }
    }
}

/// A complete file. Dropping the last handle removes it, unless a checkpoint owns it.
#[derive(Debug)]
pub struct StoredFile {
    files: Arc<Files>,
    name: String,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    size_bytes: u64,
    digest: Digest,
    /// Held while a sync runs.
    is_durable: Mutex<bool>,
    /// A sync failed: what is on disk is unknown, whatever a later sync says. Not behind the mutex,
    /// because who only asks must not wait for the disk.
    sync_failure: OnceLock<Error>,
    /// Where the contents are instead.
    rewritten: OnceLock<Arc<StoredFile>>,
}

impl StoredFile {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub fn digest(&self) -> Digest {
        self.digest
    }

    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// Bytes from an offset on.
    ///
    /// # Errors
    /// If the file ends before, or the system refuses.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        let read = self.file.read_at(offset, &mut bytes);
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                let end = offset.saturating_add(length as u64);
                Error::corrupt(&self.path, format!("ends before byte {end}"))
            }
            _ => Error::io("read", &self.path, error),
        })?;
        Ok(bytes)
    }

    /// Makes the contents durable; costs nothing the second time.
    ///
    /// # Errors
    /// If the system refuses, now or at an earlier try.
    pub fn sync(&self) -> Result<()> {
        let mut is_durable = self
            .is_durable
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = self.sync_failure.get() {
            return Err(error.clone());
        }
        if !*is_durable {
            let synced = self.file.sync();
            synced.map_err(|error| {
                let error = Error::io("sync", &self.path, error);
                self.poison(&error);
                error
            })?;
            *is_durable = true;
        }
        Ok(())
    }

    fn poison(&self, error: &Error) {
        // The first reason stays.
        let _ = self.sync_failure.set(error.clone());
    }

    /// A sync failed: what is to last must be in another file.
    pub fn is_poisoned(&self) -> bool {
        self.sync_failure.get().is_some()
    }

    /// The file that [`Self::rewrite`] made.
    pub fn rewritten(&self) -> Option<&Arc<StoredFile>> {
        self.rewritten.get()
    }

    /// Copies the contents to a new file of a worker, for a file that is poisoned: the system may
    /// still have in memory what the disk has not. Whoever holds this file finds the new one in
    /// [`Self::rewritten`], and should let this one go.
    ///
    /// # Errors
    /// If the contents are lost, which their digest shows, or the system refuses.
    pub fn rewrite(&self, worker: usize) -> Result<Arc<StoredFile>> {
        let mut copy = self.files.create(worker)?;
        let mut offset = 0;
        while offset < self.size_bytes {
            let length = (self.size_bytes - offset).min(WRITE_BUFFER_BYTES as u64);
            copy.write(&self.read(offset, length as usize)?)?;
            offset += length;
        }
        let copy = copy.finish()?;
        if copy.digest != self.digest {
            let message = "has lost what was written to it: a sync of it failed";
            return Err(Error::corrupt(&self.path, message));
        }
        Ok(Arc::clone(self.rewritten.get_or_init(|| copy)))
    }
}

impl Drop for StoredFile {
    fn drop(&mut self) {
        self.files.release(&self.name, &self.path);
    }
}
