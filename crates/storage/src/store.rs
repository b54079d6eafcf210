//! A storage root: its catalog, its checkpoints and their files.
//!
//! One process owns a root at a time, and this type is how. What a checkpoint is made of is written
//! first ([`NewCheckpoint`]); a single rename, that of the catalog, then makes it exist. Retention
//! happens in the same rename, and only afterwards is anything deleted.
//!
//! Invariants
//! - I1: what the catalog lists is complete and durable, so that any crash leaves the checkpoints of
//!   the old catalog or those of the new one (`store/commit.rs`).
//! - I2: the list in memory is that of the catalog on disk. Exceptions: a mark of damage that could
//!   not be written, and a root that is only read.
//! - I3: [`Files`] knows at all times which files belong to checkpoints: more are told before the
//!   catalog is replaced, fewer afterwards.
//! - I4: after a replacement whose durability is uncertain nothing is deleted until another one
//!   succeeded.
//! - I5: a file that a listed checkpoint needs is never deleted (`collect.rs`).
//!
//! Locks: `change` is held while the catalog is replaced or a plan is made and executed, disk
//! accesses included, so that there is one change at a time; `state` guards what is in memory, and is
//! never held during disk accesses, so that looking at the list does not wait for the disk. Where
//! both are taken, `change` is first.

mod commit;
mod existing;
mod inspect;
mod opening;
mod publish;
mod read;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::catalog::CatalogEntry;
use crate::collect::CollectionReport;
use crate::disk::{Disk, LockGuard};
use crate::error::{Error, Kind, Result};
use crate::files::Files;
use crate::paths;

pub(crate) use commit::replace_catalog;
pub use opening::OpeningReport;
pub(crate) use opening::{create_root, lock};
pub use publish::{CheckpointDetails, NewCheckpoint};
pub use read::{Ladder, PassedOver, SavedCheckpoint};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What a store needs besides a disk.
#[derive(Clone)]
pub struct StoreOptions {
    /// When checkpoints were found damaged. By default the clock of this machine.
    pub clock: Clock,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(Utc::now),
        }
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StoreOptions")
    }
}

/// A storage root. Clones are the same store; it is unlocked when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    files: Arc<Files>,
    options: StoreOptions,
    opening: OpeningReport,
    /// `None` if the root is only read.
    lock: Option<Box<dyn LockGuard>>,
    change: Mutex<Change>,
    state: Mutex<State>,
}

/// What a change of the catalog needs.
#[derive(Debug)]
struct Change {
    /// As [`Files`] was told.
    owned: BTreeSet<String>,
    /// The catalog was replaced, and a loss of power may bring the one before back.
    is_uncertain: bool,
    /// The catalog was read, and this process has not made it durable: it does before it deletes.
    is_only_read: bool,
}

#[derive(Debug)]
struct State {
    /// Oldest first.
    entries: Vec<CatalogEntry>,
    /// Counts the changes of `entries`.
    generation: u64,
    in_progress: BTreeSet<Uuid>,
    /// How often each checkpoint is held.
    holds: BTreeMap<Uuid, usize>,
    last_collection: Option<Result<CollectionReport>>,
}

impl Store {
    /// What was found and done when this store was opened.
    pub fn opening(&self) -> &OpeningReport {
        &self.shared.opening
    }

    /// Its batch files.
    pub fn files(&self) -> &Arc<Files> {
        &self.shared.files
    }

    pub fn root(&self) -> &Path {
        &self.shared.root
    }

    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.shared.disk
    }

    /// The root belongs to somebody else, and is not changed.
    pub fn is_read_only(&self) -> bool {
        self.shared.lock.is_none()
    }

    /// The catalog, oldest first.
    pub fn entries(&self) -> Vec<CatalogEntry> {
        self.state().entries.clone()
    }

    /// One checkpoint of the catalog.
    ///
    /// # Errors
    /// If it is not listed.
    pub fn entry(&self, uuid: Uuid) -> Result<CatalogEntry> {
        let state = self.state();
        let entry = state.entries.iter().find(|entry| entry.uuid() == uuid);
        entry.cloned().ok_or_else(|| {
            let path = paths::checkpoint_dir(&self.shared.root, uuid);
            let error = Error::new(Kind::NotFound, path, "there is no such checkpoint");
            error.with_remedy("choose one that the catalog lists")
        })
    }

    /// Keeps a checkpoint, whatever retention says, until the hold is dropped.
    ///
    /// # Errors
    /// If it is not listed.
    pub fn hold(&self, uuid: Uuid) -> Result<Hold> {
        // A change that is under way may be about to drop it.
        let _change = self.change();
        self.entry(uuid)?;
        *self.state().holds.entry(uuid).or_default() += 1;
        Ok(Hold {
            store: self.clone(),
            uuid,
        })
    }

    /// What the last collection did, or why there was none. `None` before the first.
    pub fn last_collection(&self) -> Option<Result<CollectionReport>> {
        self.state().last_collection.clone()
    }

    fn now(&self) -> DateTime<Utc> {
        (self.shared.options.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, Change> {
        let change = self.shared.change.lock();
        change.unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    /// If the root is only read.
    fn check_writable(&self) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        let message = "is opened for reading only";
        Err(Error::new(Kind::Invalid, &self.shared.root, message))
    }
}

/// Keeps a checkpoint from being dropped.
#[derive(Debug)]
pub struct Hold {
    store: Store,
    uuid: Uuid,
}

impl Hold {
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.store.state();
        if let Some(count) = state.holds.get_mut(&self.uuid) {
            *count -= 1;
            if *count == 0 {
                state.holds.remove(&self.uuid);
            }
        }
    }
}
