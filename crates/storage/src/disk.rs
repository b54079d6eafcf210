//! The door to the file system: everything that this engine keeps goes through here, the names that it
//! draws for it included.
//!
//! What a disk promises, and the simulator takes at its word and no further:
//! - What was written to a file survives a loss of power once [`DiskFile::sync`] on that file
//!   returned. Before, any part of it may be lost or torn.
//! - A name (created, linked, renamed or removed) survives once [`Disk::sync_dir`] on its folder
//!   returned. Before, it may or may not, and in any order; a rename is never half done.
//! - A failed sync says nothing about what survived, and a second one proves nothing: the caller
//!   must write the data again, to another file.

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

/// A file system, or something that behaves like one.
pub trait Disk: Debug + Send + Sync {
    /// A new, empty file, readable by its owner only.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// An existing file, for reading and syncing.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name in one move, replacing a file that had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// A second name for a file.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// A new folder, for its owner only. Its parent must exist.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// What a folder holds, in order of names.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;

    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Locks a file, which is made if need be, until the guard is dropped or the process ends.
    /// The holder's process id is written into it, if there is room.
    fn lock(&self, path: &Path) -> io::Result<Lock>;

    /// Bytes that may still be written.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// A uuid that nothing is named by, and greater than those before. Drawn here, so that a run on a
    /// simulated disk can be repeated.
    fn draw_uuid(&self) -> Uuid;
}

/// An open file.
pub trait DiskFile: Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;

    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|length| length == 0)
    }

    /// Fills the buffer from this offset.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes behind everything that was written before.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Makes the contents durable (not the name).
    fn sync(&self) -> io::Result<()>;
}

/// One name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    pub name: String,
    pub kind: EntryKind,
    /// Of a file.
    pub size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Directory,
    /// A link, a socket, ….
    Other,
}

/// The outcome of [`Disk::lock`].
#[derive(Debug)]
pub enum Lock {
    /// Held until this guard is dropped.
    Held(Box<dyn LockGuard>),
    /// By another process; its id, if it could be read.
    Taken { holder: Option<u32> },
}

/// Unlocks when it is dropped.
pub trait LockGuard: Debug + Send + Sync {}
