//! Opening a root: what is there, is it ours, is it whole, and what can go.
//!
//! The order matters. Nothing is changed before the root is known to be ours and its lock is held.
//! Nothing is deleted before the catalog that is seen is durable: the process before may have been
//! stopped between the rename of the catalog and the sync behind it, and then a loss of power could
//! still bring back a catalog whose files would be gone.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::commit::replace_catalog;
use super::inspect::{self, Listing};
use super::{Change, Shared, State, Store, StoreOptions};
use crate::catalog::{self, CatalogEntry, Unusable};
use crate::collect::{
    self, CheckpointFacts, CollectionMoment, CollectionPlan, CollectionReport, Facts,
};
use crate::contents;
use crate::disk::{DirectoryEntry, Disk, EntryKind, Lock, LockGuard};
use crate::error::{Error, Kind, Result};
use crate::files::Files;
use crate::manifest::Manifest;
use crate::paths::{self, RootName};

/// What was found at a root, and what was done about it. Prints as one line.
#[derive(Clone, Debug, Default)]
pub struct OpeningReport {
    /// There was no catalog: the root is new.
    pub is_new: bool,
    /// In the catalog.
    pub checkpoints: usize,
    /// Those of them that cannot be used, with the reason.
    pub unusable: Vec<(Uuid, String)>,
    /// Batch files that are kept, with their bytes.
    pub batches: usize,
    pub batches_bytes: u64,
    /// Names that are not ours, and stay.
    pub foreign: Vec<String>,
    /// What was deleted.
    pub removed: CollectionReport,
    /// Why nothing, or not everything, was deleted.
    pub problem: Option<Error>,
}

impl fmt::Display for OpeningReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (checkpoints, unusable) = (self.checkpoints, self.unusable.len());
        let (batches, bytes) = (self.batches, self.batches_bytes);
        write!(
            formatter,
            "{checkpoints} checkpoints, {unusable} of them unusable; "
        )?;
        write!(formatter, "{batches} batch files kept ({bytes} bytes); ")?;
        let removed = &self.removed;
        let (folders, batches, unfinished) = (removed.folders, removed.batches, removed.unfinished);
        write!(
            formatter,
            "removed {batches} batch files, {unfinished} unfinished files, "
        )?;
        write!(
            formatter,
            "{folders} folders ({} bytes); ",
            removed.freed_bytes
        )?;
        write!(formatter, "{} removals failed; ", removed.failures.len())?;
        write!(formatter, "{} foreign names left alone", self.foreign.len())?;
        match &self.problem {
            Some(problem) => write!(formatter, "; {problem}"),
            None => Ok(()),
        }
    }
}

impl Store {
    /// Opens a root for this process alone, and makes it if it is not there. Marks checkpoints that
    /// miss files as unusable, and removes what a stopped process left behind.
    ///
    /// # Errors
    /// - `Locked`, with the holder's process id, before anything is changed.
    /// - `Invalid` if the directory is not one of ours, or has lost its catalog; nothing is changed.
    /// - `Corrupt` or `Unsupported` if the catalog is damaged, or anything is of a newer version;
    ///   nothing is deleted.
    pub fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        Self::open_with(disk, root, StoreOptions::default())
    }

    /// As [`Self::open`], with a clock.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(disk: Arc<dyn Disk>, root: &Path, options: StoreOptions) -> Result<Self> {
        create_root(disk.as_ref(), root)?;
        check_ours(root, &inspect::list(disk.as_ref(), root)?)?;
        let lock = lock(disk.as_ref(), root)?;
        let names = inspect::list(disk.as_ref(), root)?;
        check_ours(root, &names)?;
        let catalog = read_or_create_catalog(disk.as_ref(), root, &names)?;
        let mut found = inspect_all(disk.as_ref(), root, &catalog, names, &options)?;
        let mut report = found.report();
        let cleaned = clean_up(disk.as_ref(), root, &catalog, &found);
        report.removed = cleaned.removed;
        report.problem = cleaned.problem;
        let files = Files::new(Arc::clone(&disk), root);
        let owned = found.owned();
        files.set_owned(owned.clone());
        report.announce(root);
        let entries = std::mem::take(&mut found.entries);
        let store = Self::assemble(disk, root, options, files, report, Some(lock), entries);
        *store.change() = Change {
            owned,
            is_uncertain: cleaned.is_uncertain,
            is_only_read: false,
        };
        Ok(store)
    }

    /// Opens a root to look at it, whoever has locked it. Nothing is changed, and what the engine
    /// that owns it deletes meanwhile is gone.
    ///
    /// # Errors
    /// As [`Self::open`], but never `Locked`.
    pub fn open_read_only(disk: Arc<dyn Disk>, root: &Path) -> Result<Self> {
        Self::open_read_only_with(disk, root, StoreOptions::default())
    }

    /// As [`Self::open_read_only`], with a clock.
    ///
    /// # Errors
    /// As [`Self::open_read_only`].
    pub fn open_read_only_with(
        disk: Arc<dyn Disk>,
        root: &Path,
        options: StoreOptions,
    ) -> Result<Self> {
        let (names, catalog) = read_existing(disk.as_ref(), root)?;
        let mut found = inspect_all(disk.as_ref(), root, &catalog, names, &options)?;
        let report = found.report();
        let files = Files::read_only(Arc::clone(&disk), root);
        let entries = std::mem::take(&mut found.entries);
        Ok(Self::assemble(
            disk, root, options, files, report, None, entries,
        ))
    }

    pub(super) fn assemble(
        disk: Arc<dyn Disk>,
        root: &Path,
        options: StoreOptions,
        files: Arc<Files>,
        opening: OpeningReport,
        lock: Option<Box<dyn LockGuard>>,
        entries: Vec<CatalogEntry>,
    ) -> Self {
        let change = Change {
            owned: BTreeSet::new(),
            is_uncertain: false,
            is_only_read: true,
        };
        let state = State {
            entries,
            generation: 0,
            in_progress: BTreeSet::new(),
            holds: Default::default(),
            last_collection: None,
        };
        let shared = Shared {
            disk,
            root: root.to_owned(),
            files,
            options,
            opening,
            lock,
            change: Mutex::new(change),
            state: Mutex::new(state),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

/// Makes the directory if need be, and those above it; their names are durable then.
pub(crate) fn create_root(disk: &dyn Disk, root: &Path) -> Result<()> {
    match disk.list(root) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_dir_all(disk, root),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let error = Error::new(Kind::Invalid, root, "is not a directory");
            Err(error.with_remedy("choose a directory"))
        }
        Err(error) => Err(Error::io("list", root, error)),
    }
}

fn create_dir_all(disk: &dyn Disk, path: &Path) -> Result<()> {
    let created = match disk.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            match path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
            {
                Some(parent) => {
                    create_dir_all(disk, parent)?;
                    disk.create_dir(path)
                }
                None => Err(error),
            }
        }
        created => created,
    };
    match created {
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("create", path, error)),
        Ok(()) => {}
    }
    sync_name_of(disk, path).inspect_err(|_| {
        // A second sync would prove nothing: the next try has to make it anew.
        let _ = disk.remove_dir(path);
    })
}

/// Makes the name of a directory durable.
fn sync_name_of(disk: &dyn Disk, path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    let is_here = parent.as_os_str().is_empty();
    let parent = if is_here { Path::new(".") } else { parent };
    match disk.sync_dir(parent) {
        // Whoever may not read the directory above did not make this one.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(|error| Error::io("sync", parent, error)),
    }
}

/// Refuses directories that are not ours, and those of ours that have lost their catalog.
fn check_ours(root: &Path, names: &[DirectoryEntry]) -> Result<()> {
    let mut has_catalog = false;
    let mut has_lock = false;
    let mut foreign = None;
    let mut lost = None;
    for entry in names {
        match paths::root_name(&entry.name) {
            RootName::Catalog => has_catalog = true,
            RootName::Lock => has_lock = true,
            RootName::Checkpoint(_) | RootName::Batch { .. } => {
                lost = lost.or(Some(&entry.name));
            }
            RootName::Unfinished => {}
            RootName::Foreign => foreign = foreign.or(Some(&entry.name)),
        }
    }
    if has_catalog {
        return Ok(());
    }
    if let Some(lost) = lost {
        let message = format!(
            "holds {lost}, but no catalog ({}); nothing was deleted",
            paths::CATALOG
        );
        let error = Error::new(Kind::Invalid, root, message);
        return Err(error.with_remedy(
            "put the catalog back from a copy, or move everything elsewhere to begin anew; \
             if this is a copy or fork that was interrupted, make it again",
        ));
    }
    if let Some(foreign) = foreign.filter(|_| !has_lock) {
        let message = format!("is not a storage directory: it holds {foreign}");
        let error = Error::new(Kind::Invalid, root, message);
        return Err(error.with_remedy("choose an empty directory, or one that does not exist"));
    }
    Ok(())
}

pub(crate) fn lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn LockGuard>> {
    let path = root.join(paths::LOCK);
    let taken = disk.lock(&path);
    match taken.map_err(|error| Error::io("lock", &path, error))? {
        Lock::Held(guard) => Ok(guard),
        Lock::Taken { holder } => {
            let holder = match holder {
                Some(id) => format!("process {id}"),
                None => "another process".to_owned(),
            };
            let error = Error::new(Kind::Locked, root, format!("is in use by {holder}"));
            Err(error.with_remedy("stop it, or choose another directory"))
        }
    }
}

pub(super) struct Catalog {
    entries: Vec<CatalogEntry>,
    /// As they are on disk.
    bytes: Vec<u8>,
    is_new: bool,
}

/// What is at a root that is there already, and its catalog.
pub(super) fn read_existing(
    disk: &dyn Disk,
    root: &Path,
) -> Result<(Vec<DirectoryEntry>, Catalog)> {
    const REMEDY: &str = "choose a directory that holds checkpoints";
    let names = inspect::list(disk, root).map_err(|error| match error.kind() {
        Kind::NotFound => error.with_remedy(REMEDY),
        _ => error,
    })?;
    check_ours(root, &names)?;
    let path = root.join(paths::CATALOG);
    let bytes = contents::read(disk, &path).map_err(|error| match error.kind() {
        Kind::NotFound => error.with_remedy(REMEDY),
        _ => error,
    })?;
    let catalog = Catalog {
        entries: catalog::decode(&bytes, &path)?,
        bytes,
        is_new: false,
    };
    Ok((names, catalog))
}

/// A root has a catalog before it has anything else, so that one which lost it is recognized.
fn read_or_create_catalog(
    disk: &dyn Disk,
    root: &Path,
    names: &[DirectoryEntry],
) -> Result<Catalog> {
    let path = root.join(paths::CATALOG);
    let is_there = names.iter().any(|entry| entry.name == paths::CATALOG);
    if is_there {
        let bytes = contents::read(disk, &path)?;
        return Ok(Catalog {
            entries: catalog::decode(&bytes, &path)?,
            bytes,
            is_new: false,
        });
    }
    sync_name_of(disk, root)?;
    let bytes = catalog::encode(&[])?;
    replace_catalog(disk, root, &bytes)?;
    Ok(Catalog {
        entries: Vec::new(),
        bytes,
        is_new: true,
    })
}

/// What is at a root.
pub(super) struct Found {
    /// With new marks of damage.
    pub(super) entries: Vec<CatalogEntry>,
    has_new_marks: bool,
    facts: Facts,
    is_new: bool,
}

pub(super) fn inspect_all(
    disk: &dyn Disk,
    root: &Path,
    catalog: &Catalog,
    names: Vec<DirectoryEntry>,
    options: &StoreOptions,
) -> Result<Found> {
    let at_root = inspect::files_of(&names);
    let mut entries = catalog.entries.clone();
    let mut has_new_marks = false;
    let mut checkpoints = Vec::new();
    for entry in &mut entries {
        let manifest = match inspect::manifest(disk, root, entry) {
            // The checkpoint may be good: neither this process nor its disk can tell.
            Err(error) if !error.is_damage() => return Err(error),
            manifest => manifest,
        };
        let damage = match &manifest {
            Ok(manifest) => damage(disk, root, entry.uuid(), manifest, &at_root)?,
            Err(error) => Some(error.clone()),
        };
        if let (Some(damage), None) = (damage, &entry.unusable) {
            entry.unusable = Some(Unusable {
                reason: damage.to_string(),
                since: (options.clock)(),
            });
            has_new_marks = true;
        }
        checkpoints.push(CheckpointFacts {
            retention: inspect::retention(entry, false),
            batches: manifest.map(|manifest| manifest.batches.into_keys().collect()),
        });
    }
    Ok(Found {
        entries,
        has_new_marks,
        facts: Facts {
            checkpoints,
            folders_bytes: inspect::folders_bytes(disk, root, &names)?,
            root: names,
            in_use: BTreeSet::new(),
            in_progress: BTreeSet::new(),
            moment: CollectionMoment::Opening,
        },
        is_new: catalog.is_new,
    })
}

fn damage(
    disk: &dyn Disk,
    root: &Path,
    uuid: Uuid,
    manifest: &Manifest,
    at_root: &Listing,
) -> Result<Option<Error>> {
    let in_folder = inspect::list_folder(disk, root, uuid)?;
    Ok(inspect::check_presence(root, uuid, manifest, at_root, &in_folder).err())
}

impl Found {
    /// What it amounts to before anything is deleted.
    pub(super) fn report(&self) -> OpeningReport {
        let unusable = self.entries.iter().filter_map(|entry| {
            let unusable = entry.unusable.as_ref()?;
            Some((entry.uuid(), unusable.reason.clone()))
        });
        let needed = self.needed();
        let batches = self.batch_files();
        let batches: Vec<u64> = match collect::plan(&self.facts, None) {
            Ok(_) => batches
                .filter(|(name, _)| needed.contains(*name))
                .map(|(_, bytes)| bytes)
                .collect(),
            Err(_) => batches.map(|(_, bytes)| bytes).collect(),
        };
        let foreign = self.facts.root.iter();
        let foreign = foreign.filter(|entry| is_foreign(entry));
        OpeningReport {
            is_new: self.is_new,
            checkpoints: self.entries.len(),
            unusable: unusable.collect(),
            batches: batches.len(),
            batches_bytes: batches.iter().sum(),
            foreign: foreign.map(|entry| entry.name.clone()).collect(),
            removed: CollectionReport::default(),
            problem: None,
        }
    }

    fn batch_files(&self) -> impl Iterator<Item = (&String, u64)> {
        let files = self.facts.root.iter().filter(|entry| {
            let name = paths::root_name(&entry.name);
            entry.kind == EntryKind::File && matches!(name, RootName::Batch { .. })
        });
        files.map(|entry| (&entry.name, entry.size_bytes))
    }

    fn needed(&self) -> BTreeSet<&String> {
        let known = self
            .facts
            .checkpoints
            .iter()
            .flat_map(|facts| &facts.batches);
        known.flatten().collect()
    }

    /// The batch files that belong to checkpoints. Those of a manifest that cannot be read are not
    /// among them, but nobody can get a handle of them through it; and what is owned through other
    /// manifests stays so until all can be read.
    pub(super) fn owned(&self) -> BTreeSet<String> {
        self.needed().into_iter().cloned().collect()
    }
}

fn is_foreign(entry: &DirectoryEntry) -> bool {
    match paths::root_name(&entry.name) {
        RootName::Foreign => true,
        RootName::Checkpoint(_) => entry.kind != EntryKind::Directory,
        _ => entry.kind != EntryKind::File,
    }
}

/// The outcome of [`clean_up`].
#[derive(Default)]
struct Cleaned {
    removed: CollectionReport,
    problem: Option<Error>,
    /// The catalog that is seen may not be durable.
    is_uncertain: bool,
}

/// Makes what was found durable, and then removes what nobody needs.
fn clean_up(disk: &dyn Disk, root: &Path, catalog: &Catalog, found: &Found) -> Cleaned {
    let mut cleaned = Cleaned::default();
    let plan = match collect::plan(&found.facts, None) {
        Ok(plan) => plan,
        Err(error) => {
            cleaned.problem = Some(error);
            CollectionPlan::default()
        }
    };
    // They are never referred to, and their room may be what the catalog needs.
    collect::remove_unfinished(disk, root, &plan, &mut cleaned.removed);
    if let Err(error) = make_durable(disk, root, catalog, found) {
        let context = "files that nobody needs are left, for the catalog cannot be made durable";
        cleaned.problem = Some(error.with_context(context));
        cleaned.is_uncertain = true;
        return cleaned;
    }
    let rest = CollectionPlan {
        unfinished: Vec::new(),
        ..plan
    };
    let removed = collect::execute(disk, root, &rest, &BTreeSet::new());
    cleaned.removed.folders = removed.folders;
    cleaned.removed.batches = removed.batches;
    cleaned.removed.freed_bytes += removed.freed_bytes;
    cleaned.removed.failures.extend(removed.failures);
    cleaned
}

/// Writes the catalog again, with new marks or as it was: what it lists is about to be relied on, and
/// that its name was synced is not known. A sync of the name alone would prove nothing if an earlier
/// process had one that failed.
fn make_durable(disk: &dyn Disk, root: &Path, catalog: &Catalog, found: &Found) -> Result<()> {
    if found.has_new_marks {
        return replace_catalog(disk, root, &catalog::encode(&found.entries)?);
    }
    replace_catalog(disk, root, &catalog.bytes)
}

impl OpeningReport {
    fn announce(&self, root: &Path) {
        for (uuid, reason) in &self.unusable {
            tracing::error!(%uuid, reason, "a checkpoint is unusable");
        }
        tracing::info!(root = %root.display(), "{self}");
    }
}
