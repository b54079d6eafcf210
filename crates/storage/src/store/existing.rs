//! Opening a root to change its list of checkpoints, while no engine runs on it.
//!
//! Unlike an engine, which tidies up before it begins ([`Store::open`]), this deletes nothing and writes
//! nothing: a tool shows what it is about to do first, and a typing mistake in the name of a directory
//! makes no new root. That the catalog was read does not prove that it is durable, so the first
//! deletion writes it again (`is_only_read`).

use std::path::Path;
use std::sync::Arc;

use super::opening::{inspect_all, lock, read_existing};
use super::{Store, StoreOptions};
use crate::disk::Disk;
use crate::error::Result;
use crate::files::Files;

impl Store {
    /// Opens a root that is there already, for this process alone. Marks of damage that are new are in
    /// memory only, until the catalog is changed.
    ///
    /// # Errors
    /// `NotFound` if there is no root, `Locked` with the holder's process id, or as [`Store::open`].
    pub fn open_existing(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        // Before the lock, which would make a file in a directory that is none of ours.
        read_existing(disk.as_ref(), root)?;
        let lock = lock(disk.as_ref(), root)?;
        let (names, catalog) = read_existing(disk.as_ref(), root)?;
        let options = StoreOptions::default();
        let mut found = inspect_all(disk.as_ref(), root, &catalog, names, &options)?;
        let report = found.report();
        let files = Files::new(Arc::clone(&disk), root);
        let owned = found.owned();
        files.set_owned(owned.clone());
        let entries = std::mem::take(&mut found.entries);
        let store = Self::assemble(disk, root, options, files, report, Some(lock), entries);
        store.change().owned = owned;
        Ok(store)
    }
}
