//! A disk in memory whose calls fail when they are told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use highwater_storage::Disk;
use highwater_storage::disk::{DirectoryEntry, DiskFile, EntryKind, Lock, LockGuard};
use uuid::Uuid;

/// What is wrong with the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This call fails and has no effect.
    Before(usize),
    /// This call fails, but has its effect.
    After(usize),
    /// From this call on, whatever needs room fails.
    Full(usize),
    /// From this call on nothing works: the process is gone.
    Dead(usize),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    files: BTreeMap<PathBuf, Contents>,
    locked: BTreeSet<PathBuf>,
    calls: usize,
    fault: Option<Fault>,
    /// The calls that failed.
    fired: Vec<&'static str>,
}

type Contents = Arc<Mutex<Vec<u8>>>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    Room,
    Nothing,
}

impl MemoryDisk {
    /// With a root folder `/`.
    pub(crate) fn new() -> Self {
        let disk = Self::default();
        disk.lock_state().folders.insert(PathBuf::from("/"));
        disk
    }

    pub(crate) fn with_fault(fault: Fault) -> Self {
        let disk = Self::new();
        disk.lock_state().fault = Some(fault);
        disk
    }

    pub(crate) fn set_fault(&self, fault: Option<Fault>) {
        self.lock_state().fault = fault;
    }

    /// Another disk with the same contents, which nobody has locked.
    pub(crate) fn copy(&self) -> Self {
        let state = self.lock_state();
        let files = state.files.iter().map(|(path, contents)| {
            let bytes = contents.lock().unwrap().clone();
            (path.clone(), Arc::new(Mutex::new(bytes)))
        });
        let copy = State {
            folders: state.folders.clone(),
            files: files.collect(),
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(copy)),
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.lock_state().calls
    }

    pub(crate) fn fired(&self) -> Vec<&'static str> {
        self.lock_state().fired.clone()
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let state = self.lock_state();
        state.files.keys().cloned().collect()
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        self.lock_state().files[path].lock().unwrap().clone()
    }

    pub(crate) fn set_bytes(&self, path: &Path, bytes: Vec<u8>) {
        *self.lock_state().files[path].lock().unwrap() = bytes;
    }

    fn lock_state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn call<T>(
        &self,
        what: &'static str,
        need: Need,
        action: impl FnOnce(&mut State) -> Result<T>,
    ) -> Result<T> {
        let mut state = self.lock_state();
        let number = state.calls;
        state.calls += 1;
        let before = match state.fault {
            Some(Fault::Before(at)) if at == number => Some(ErrorKind::Other),
            Some(Fault::Full(from)) if number >= from && need == Need::Room => {
                Some(ErrorKind::StorageFull)
            }
            Some(Fault::Dead(from)) if number >= from => Some(ErrorKind::Other),
            _ => None,
        };
        if let Some(kind) = before {
            state.fired.push(what);
            return Err(Error::from(kind));
        }
        let result = action(&mut state);
        if state.fault == Some(Fault::After(number)) {
            state.fired.push(what);
            return Err(Error::from(ErrorKind::Other));
        }
        result
    }
}

fn check_parent(state: &State, path: &Path) -> Result<()> {
    let has_parent = path
        .parent()
        .is_some_and(|parent| state.folders.contains(parent));
    if has_parent {
        Ok(())
    } else {
        Err(ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let contents = self.call("create", Need::Room, |state| {
            check_parent(state, path)?;
            if state.files.contains_key(path) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let contents = Contents::default();
            state.files.insert(path.to_owned(), Arc::clone(&contents));
            Ok(contents)
        })?;
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            contents,
        }))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn DiskFile>> {
        let contents = self.call("open", Need::Nothing, |state| {
            let contents = state.files.get(path).cloned();
            contents.ok_or_else(|| ErrorKind::NotFound.into())
        })?;
        Ok(Arc::new(MemoryFile {
            disk: self.clone(),
            contents,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.call("rename", Need::Room, |state| {
            check_parent(state, to)?;
            let contents = state.files.remove(from);
            let contents = contents.ok_or(ErrorKind::NotFound)?;
            state.files.insert(to.to_owned(), contents);
            Ok(())
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.call("hard_link", Need::Room, |state| {
            check_parent(state, to)?;
            let contents = state.files.get(from).cloned();
            state
                .files
                .insert(to.to_owned(), contents.ok_or(ErrorKind::NotFound)?);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        self.call("remove_file", Need::Nothing, |state| {
            let removed = state.files.remove(path);
            removed.map(drop).ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    fn create_dir(&self, path: &Path) -> Result<()> {
        self.call("create_dir", Need::Room, |state| {
            check_parent(state, path)?;
            match state.folders.insert(path.to_owned()) {
                true => Ok(()),
                false => Err(ErrorKind::AlreadyExists.into()),
            }
        })
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.call("remove_dir", Need::Nothing, |state| {
            if state.files.keys().any(|file| file.parent() == Some(path)) {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            match state.folders.remove(path) {
                true => Ok(()),
                false => Err(ErrorKind::NotFound.into()),
            }
        })
    }

    fn list(&self, path: &Path) -> Result<Vec<DirectoryEntry>> {
        self.call("list", Need::Nothing, |state| {
            if !state.folders.contains(path) {
                return Err(ErrorKind::NotFound.into());
            }
            let entry = |path: &Path, kind, size_bytes| DirectoryEntry {
                name: path.file_name().unwrap().to_str().unwrap().to_owned(),
                kind,
                size_bytes,
            };
            let is_within = |inner: &&PathBuf| inner.parent() == Some(path);
            let folders = state.folders.iter().filter(is_within);
            let folders = folders.map(|path| entry(path, EntryKind::Directory, 0));
            let files = state.files.iter().filter(|(path, _)| is_within(path));
            let files = files.map(|(path, contents)| {
                entry(path, EntryKind::File, contents.lock().unwrap().len() as u64)
            });
            let mut entries: Vec<_> = folders.chain(files).collect();
            entries.sort_by(|left, right| left.name.cmp(&right.name));
            Ok(entries)
        })
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.call("sync_dir", Need::Room, |state| {
            if state.folders.contains(path) {
                Ok(())
            } else {
                Err(ErrorKind::NotFound.into())
            }
        })
    }

    fn lock(&self, path: &Path) -> Result<Lock> {
        let locked = self.call("lock", Need::Room, |state| {
            check_parent(state, path)?;
            state.files.entry(path.to_owned()).or_default();
            Ok(state.locked.insert(path.to_owned()))
        });
        let guard = || MemoryLock {
            disk: self.clone(),
            path: path.to_owned(),
        };
        match locked {
            Ok(true) => Ok(Lock::Held(Box::new(guard()))),
            Ok(false) => Ok(Lock::Taken { holder: Some(4711) }),
            Err(error) => {
                drop(guard());
                Err(error)
            }
        }
    }

    fn free_bytes(&self, _path: &Path) -> Result<u64> {
        Ok(u64::MAX)
    }

    fn draw_uuid(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    contents: Contents,
}

impl DiskFile for MemoryFile {
    fn len(&self) -> Result<u64> {
        self.disk.call("len", Need::Nothing, |_| {
            Ok(self.contents.lock().unwrap().len() as u64)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.disk.call("read_at", Need::Nothing, |_| {
            let contents = self.contents.lock().unwrap();
            let start = usize::try_from(offset).unwrap();
            let bytes = contents.get(start..start + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn append(&self, bytes: &[u8]) -> Result<()> {
        self.disk.call("append", Need::Room, |_| {
            self.contents.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.disk.call("sync", Need::Room, |_| Ok(()))
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl LockGuard for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.lock_state().locked.remove(&self.path);
    }
}
