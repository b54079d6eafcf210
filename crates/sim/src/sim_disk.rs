//! A disk in memory that keeps [`highwater_storage::disk`]'s promises and no more.
//!
//! It is deterministic: the same calls with the same plan have the same outcomes. Several handles
//! ([`SimDisk::clone`]) are one disk. The processes that use it end with [`SimDisk::kill`], which
//! keeps everything that was written, or with [`SimDisk::crash`], a loss of power.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_storage::disk::{DirectoryEntry, Disk, DiskFile, EntryKind, Lock, LockGuard};
use uuid::Uuid;

use crate::crash::Crash;
use crate::faults::{Fault, FaultPlan, Faults, not_writable};
use crate::trace::{Call, CallKind};
use crate::world::{NodeId, World};

/// Process ids begin here, so that they are told from other numbers.
const FIRST_PROCESS_ID: u32 = 4001;

/// A disk in memory.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Mutex<Shared>>,
    process_id: u32,
}

pub(crate) struct Shared {
    pub(crate) world: World,
    faults: Faults,
    calls: Vec<Call>,
    is_stopped: bool,
    space_bytes: Option<u64>,
    open_files_max: Option<usize>,
    /// Cloned into every open file: the count of clones is the count of open files.
    open_files: Arc<()>,
    locks: BTreeMap<NodeId, LockHolder>,
    /// Their calls fail, and are not counted.
    dead_processes: BTreeSet<u32>,
    guards: u64,
    next_process_id: u32,
}

struct LockHolder {
    process_id: u32,
    guard: u64,
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimDisk of process {}", self.process_id)
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

/// Beginning and end of a call.
impl SimDisk {
    /// An empty disk: only `/` is there.
    pub fn new() -> Self {
        Self::with_world(World::default())
    }

    pub(crate) fn with_world(world: World) -> Self {
        let shared = Shared {
            world,
            faults: Faults::default(),
            calls: Vec::new(),
            is_stopped: false,
            space_bytes: None,
            open_files_max: None,
            open_files: Arc::default(),
            locks: BTreeMap::new(),
            dead_processes: BTreeSet::new(),
            guards: 0,
            next_process_id: FIRST_PROCESS_ID + 1,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            process_id: FIRST_PROCESS_ID,
        }
    }

    pub(crate) fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong from now on.
    pub fn set_plan(&self, plan: FaultPlan) {
        self.shared().faults.set_plan(plan);
    }

    /// Writes fail when the files would take more than this.
    pub fn set_space_bytes(&self, limit: Option<u64>) {
        self.shared().space_bytes = limit;
    }

    /// Opening fails when so many files are open.
    pub fn set_open_files_max(&self, limit: Option<usize>) {
        self.shared().open_files_max = limit;
    }

    /// Another process on the same running system.
    #[must_use]
    pub fn other_process(&self) -> Self {
        let mut shared = self.shared();
        let process_id = shared.next_process_id;
        shared.next_process_id += 1;
        Self {
            shared: Arc::clone(&self.shared),
            process_id,
        }
    }

    /// This process is killed, and another one starts on the same disk: everything that was written
    /// is there, and no more durable than before. The plan and the numbers of the calls go on.
    #[must_use]
    pub fn restart(&self) -> Self {
        let mut shared = self.shared();
        shared.dead_processes.insert(self.process_id);
        shared
            .locks
            .retain(|_, holder| holder.process_id != self.process_id);
        drop(shared);
        self.other_process()
    }

    /// A copy of this disk as another process finds it when this one was killed: everything that was
    /// written is there, and no more durable than before. Calls count from 1 again.
    #[must_use]
    pub fn kill(&self) -> Self {
        let shared = self.shared();
        let copy = Self::with_world(shared.world.clone());
        copy.shared().space_bytes = shared.space_bytes;
        copy
    }

    /// What a loss of power may leave.
    pub fn crash(&self) -> Crash {
        Crash::of(self.shared().world.clone())
    }

    pub fn process_id(&self) -> u32 {
        self.process_id
    }

    pub fn is_stopped(&self) -> bool {
        self.shared().is_stopped
    }

    /// How many calls there were.
    pub fn call_count(&self) -> u64 {
        self.shared().calls.len() as u64
    }

    pub fn calls(&self) -> Vec<Call> {
        self.shared().calls.clone()
    }

    /// Faults that happened, by kind.
    pub fn fired(&self) -> BTreeMap<Fault, u64> {
        self.shared().faults.fired().clone()
    }

    /// Faults that the plan has for calls that never came or were of another kind.
    pub fn unfired(&self) -> Vec<(u64, Fault)> {
        self.shared().faults.unfired()
    }

    pub fn open_files(&self) -> usize {
        Arc::strong_count(&self.shared().open_files) - 1
    }

    /// Files that exist, with their sizes.
    pub fn files(&self) -> BTreeMap<PathBuf, u64> {
        let shared = self.shared();
        let walked = shared.world.walk().into_iter();
        let files = walked.filter(|(_, id)| shared.world.is_file(*id));
        files
            .map(|(path, id)| (PathBuf::from(path), shared.world.content(id).len() as u64))
            .collect()
    }

    /// Folders that exist.
    pub fn folders(&self) -> BTreeSet<PathBuf> {
        let shared = self.shared();
        let walked = shared.world.walk().into_iter();
        let folders = walked.filter(|(_, id)| !shared.world.is_file(*id));
        folders.map(|(path, _)| PathBuf::from(path)).collect()
    }

    /// How many of the calls may have changed something.
    pub fn changing_calls(&self) -> usize {
        let shared = self.shared();
        let changing = shared.calls.iter().filter(|call| call.kind.is_changing());
        changing.count()
    }

    /// One call: its number, its fault, its place in the trace.
    fn call<T>(
        &self,
        question: Question<'_>,
        act: impl FnOnce(&mut Shared) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut shared = self.shared();
        if shared.dead_processes.contains(&self.process_id) {
            return Err(Fault::Stop.error());
        }
        let number = shared.calls.len() as u64 + 1;
        let fault = if shared.is_stopped {
            Some(Fault::Stop)
        } else {
            shared.faults.of(number, question.kind)
        };
        let outcome = match fault {
            Some(Fault::Stop) => {
                shared.is_stopped = true;
                Err(Fault::Stop.error())
            }
            Some(fault) => {
                shared.spoil(&question, fault, act);
                Err(fault.error())
            }
            None => act(&mut shared),
        };
        shared.calls.push(Call {
            number,
            kind: question.kind,
            path: question.path.to_owned(),
            to: question.to.map(Path::to_owned),
            bytes: question.bytes.len(),
            fault,
            is_ok: outcome.is_ok(),
        });
        outcome
    }

    fn handle(
        &self,
        shared: &Shared,
        node: NodeId,
        path: &Path,
        is_writable: bool,
    ) -> Arc<dyn DiskFile> {
        Arc::new(SimFile {
            disk: self.clone(),
            node,
            path: path.to_owned(),
            is_writable,
            _open: Arc::clone(&shared.open_files),
        })
    }
}

/// What is asked in a call.
struct Question<'a> {
    kind: CallKind,
    path: &'a Path,
    to: Option<&'a Path>,
    /// To be written; of a read only the length counts.
    bytes: &'a [u8],
    node: Option<NodeId>,
}

impl<'a> Question<'a> {
    fn new(kind: CallKind, path: &'a Path) -> Self {
        Self {
            kind,
            path,
            to: None,
            bytes: &[],
            node: None,
        }
    }

    fn to(mut self, to: &'a Path) -> Self {
        self.to = Some(to);
        self
    }
}

impl Shared {
    /// What a failing call leaves behind.
    fn spoil<T>(
        &mut self,
        question: &Question<'_>,
        fault: Fault,
        act: impl FnOnce(&mut Self) -> io::Result<T>,
    ) {
        match (fault, question.node) {
            (Fault::NoSpace | Fault::ShortWrite, Some(node)) => {
                let half = &question.bytes[..question.bytes.len() / 2];
                self.world.content_mut(node).append(half);
            }
            (Fault::DoneButRefused, _) => {
                // That it would have failed anyway makes no difference.
                let _ = act(self);
            }
            (Fault::SyncFailed, Some(node)) => self.world.content_mut(node).fail_sync(),
            (Fault::SyncFailed, None) => {
                // A folder that is not there has no names to doubt.
                let _ = self.world.fail_sync_dir(question.path);
            }
            _ => {}
        }
    }

    fn check_open_files(&mut self) -> io::Result<()> {
        let open = Arc::strong_count(&self.open_files) - 1;
        if self.open_files_max.is_some_and(|limit| open >= limit) {
            self.faults.count(Fault::TooManyFiles);
            return Err(Fault::TooManyFiles.error());
        }
        Ok(())
    }

    /// Writes what there is room for.
    fn append(&mut self, node: NodeId, bytes: &[u8]) -> io::Result<()> {
        let room = self.free_bytes().min(bytes.len() as u64) as usize;
        self.world.content_mut(node).append(&bytes[..room]);
        if room < bytes.len() {
            self.faults.count(Fault::NoSpace);
            return Err(Fault::NoSpace.error());
        }
        Ok(())
    }

    fn free_bytes(&self) -> u64 {
        match self.space_bytes {
            Some(limit) => limit.saturating_sub(self.world.used_bytes()),
            None => u64::from(u32::MAX),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let names = self.world.names(self.world.find(path)?)?;
        let entries = names.current.iter().map(|(name, id)| {
            let is_file = self.world.is_file(*id);
            DirectoryEntry {
                name: name.clone(),
                kind: if is_file {
                    EntryKind::File
                } else {
                    EntryKind::Directory
                },
                size_bytes: if is_file {
                    self.world.content(*id).len() as u64
                } else {
                    0
                },
            }
        });
        Ok(entries.collect())
    }

    /// The holder's id, or nothing if the lock is free.
    fn lock_holder(&self, node: NodeId) -> Option<u32> {
        self.locks.get(&node)?;
        let text = String::from_utf8_lossy(self.world.content(node).bytes()).into_owned();
        Some(text.trim().parse().unwrap_or(0))
    }
}

impl Disk for SimDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.call(Question::new(CallKind::Create, path), |shared| {
            shared.check_open_files()?;
            let node = shared.world.create(path)?;
            Ok(self.handle(shared, node, path, true))
        })
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.call(Question::new(CallKind::Open, path), |shared| {
            shared.check_open_files()?;
            let node = shared.world.find_file(path)?;
            Ok(self.handle(shared, node, path, false))
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::Rename, from).to(to);
        self.call(question, |shared| shared.world.rename(from, to))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::HardLink, from).to(to);
        self.call(question, |shared| shared.world.hard_link(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::RemoveFile, path);
        self.call(question, |shared| shared.world.remove_file(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::CreateDir, path);
        self.call(question, |shared| shared.world.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::RemoveDir, path);
        self.call(question, |shared| shared.world.remove_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.call(Question::new(CallKind::List, path), |shared| {
            shared.list(path)
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let question = Question::new(CallKind::SyncDir, path);
        self.call(question, |shared| shared.world.sync_dir(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        self.call(Question::new(CallKind::Lock, path), |shared| {
            let node = match shared.world.find_file(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    shared.world.create(path)?
                }
                found => found?,
            };
            if let Some(holder) = shared.lock_holder(node) {
                let holder = Some(holder).filter(|id| *id > 0);
                return Ok(Lock::Taken { holder });
            }
            let id = self.process_id.to_string();
            let room = shared.free_bytes() + shared.world.content(node).len() as u64;
            // The lock holds without it.
            let text = if room < id.len() as u64 { "" } else { &id };
            shared.world.content_mut(node).rewrite(text.as_bytes());
            shared.guards += 1;
            let guard = shared.guards;
            let holder = LockHolder {
                process_id: self.process_id,
                guard,
            };
            shared.locks.insert(node, holder);
            Ok(Lock::Held(Box::new(SimLock {
                disk: self.clone(),
                node,
                guard,
            })))
        })
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.call(Question::new(CallKind::FreeBytes, path), |shared| {
            shared.world.find(path)?;
            Ok(shared.free_bytes())
        })
    }

    fn draw_uuid(&self) -> Uuid {
        self.shared().world.draw_uuid()
    }
}

struct SimFile {
    disk: SimDisk,
    node: NodeId,
    /// As it was opened, for the trace.
    path: PathBuf,
    is_writable: bool,
    _open: Arc<()>,
}

impl fmt::Debug for SimFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SimFile {}", self.path.display())
    }
}

impl SimFile {
    fn question<'a>(&'a self, kind: CallKind, bytes: &'a [u8]) -> Question<'a> {
        Question {
            bytes,
            node: Some(self.node),
            ..Question::new(kind, &self.path)
        }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        let question = self.question(CallKind::Len, &[]);
        self.disk.call(question, |shared| {
            Ok(shared.world.content(self.node).len() as u64)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = buffer.len();
        let question = self.question(CallKind::Read, &[]);
        let content = self.disk.call(question, |shared| {
            Ok(Arc::clone(shared.world.content(self.node).bytes()))
        })?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let range = start..start.saturating_add(length);
        let found = content.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let question = self.question(CallKind::Append, bytes);
        self.disk.call(question, |shared| {
            if !self.is_writable {
                return Err(not_writable());
            }
            shared.append(self.node, bytes)
        })
    }

    fn sync(&self) -> io::Result<()> {
        let question = self.question(CallKind::Sync, &[]);
        self.disk.call(question, |shared| {
            shared.world.content_mut(self.node).sync();
            Ok(())
        })
    }
}

#[derive(Debug)]
struct SimLock {
    disk: SimDisk,
    node: NodeId,
    guard: u64,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut shared = self.disk.shared();
        let holder = shared.locks.get(&self.node);
        if holder.is_some_and(|holder| holder.guard == self.guard) {
            shared.locks.remove(&self.node);
        }
    }
}
