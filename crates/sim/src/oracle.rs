//! Recovery on a disk, and everything that must hold of it.
//!
//! O3 the list is one that is possible; O5 every listed checkpoint is complete and what was written,
//! nothing of ours is left that nobody needs, nothing foreign is missing; O7 a second recovery finds
//! the same; O11 it ends with a usable checkpoint, and work goes on; O13 errors name a file, and
//! nothing panics.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::disk::Disk;
use highwater_storage::{Error, Store, StoreOptions, paths};
use uuid::Uuid;

use crate::model::{Item, List, Model};
use crate::sim_disk::SimDisk;
use crate::workload;

/// Where the storage is on the simulated disk.
pub const STORAGE_ROOT: &str = "/data/storage";

/// The engine's store. It is always the same time, so that files are as long in every run.
pub(crate) fn open_store(disk: Arc<dyn Disk>, root: &Path) -> highwater_storage::Result<Store> {
    Store::open_with(disk, root, options())
}

fn options() -> StoreOptions {
    StoreOptions {
        clock: Arc::new(Default::default),
    }
}

/// What stands between the engine and the simulated disk: nothing, or a planted bug.
pub type Door = Arc<dyn Fn(SimDisk) -> Arc<dyn Disk> + Send + Sync>;

/// The simulated disk itself.
pub fn plain_door() -> Door {
    Arc::new(|disk| Arc::new(disk))
}

/// What recoveries of one case have in common.
#[derive(Clone)]
pub struct Oracle<'a> {
    pub door: &'a Door,
    pub model: &'a Model,
    /// Publishes another checkpoint after the recovery: slower.
    pub goes_on: bool,
    /// Collects garbage after the recovery, in the same process. That it may refuse to is no failure.
    pub collects: bool,
}

impl Oracle<'_> {
    /// Recovers and compares. What the recovery told its user before it failed or was stopped is
    /// left in `told`.
    ///
    /// # Errors
    /// Says what does not hold.
    pub fn recover(&self, disk: &SimDisk, told: &mut Option<List>) -> Result<List, String> {
        let attempt = catch_unwind(AssertUnwindSafe(|| self.recover_once(disk, told)));
        attempt.unwrap_or_else(|payload| Err(format!("panicked: {}", panic_text(&*payload))))
    }

    fn recover_once(&self, disk: &SimDisk, told: &mut Option<List>) -> Result<List, String> {
        let root = Path::new(STORAGE_ROOT);
        if self.goes_on {
            self.look_without_touching(disk, root)?;
        }
        let store = open(self.door, disk)?;
        let list = items(&store);
        self.model.check(&list)?;
        self.check_newest(&store, &list)?;
        // A dead process tells nothing, and one with a problem said that this may not last.
        if !disk.is_stopped() && store.opening().problem.is_none() {
            *told = Some(list.clone());
        }
        for item in &list {
            self.check_contents(&store, item.uuid)?;
        }
        if self.collects {
            let plan = store.plan_collection(usize::MAX);
            let _ = plan.and_then(|plan| store.collect(&plan));
        }
        drop(store);
        if !disk.is_stopped() {
            self.check_files(disk, &list)?;
        }
        let again = open(self.door, disk)?;
        let second = items(&again);
        if second != list {
            return Err(format!(
                "a second recovery lists {second:?} instead of {list:?}"
            ));
        }
        drop(again);
        if !disk.is_stopped() {
            self.check_files(disk, &list)?;
        }
        if self.goes_on {
            self.check_that_work_goes_on(disk, root, &list)?;
        }
        Ok(list)
    }

    /// Whoever only looks sees a possible list, or nothing, and leaves everything as it is.
    fn look_without_touching(&self, disk: &SimDisk, root: &Path) -> Result<(), String> {
        let before = disk.changing_calls();
        let looked = Store::open_read_only_with((self.door)(disk.clone()), root, options());
        if let Ok(store) = looked {
            self.model.check(&items(&store))?;
            for item in items(&store) {
                self.check_contents(&store, item.uuid)?;
            }
        }
        if disk.changing_calls() == before {
            Ok(())
        } else {
            Err("was changed by whoever only looked".to_owned())
        }
    }

    fn check_newest(&self, store: &Store, list: &[Item]) -> Result<(), String> {
        let found = workload::newest(store).map_err(|error| told("newest_usable", &error))?;
        let expected = list.last().map(|item| item.uuid);
        if found == expected {
            Ok(())
        } else {
            Err(format!("recovers to {found:?} instead of {expected:?}"))
        }
    }

    /// A checkpoint is complete, and nothing in it is from another.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub fn check_contents(&self, store: &Store, uuid: Uuid) -> Result<(), String> {
        let expected = &self.model.checkpoints[&uuid];
        let saved = store.read(uuid).map_err(|error| told("read", &error))?;
        let manifest = saved.manifest();
        let names = |of: Vec<&String>| of.into_iter().cloned().collect::<Vec<String>>();
        let batches = names(manifest.batches.keys().collect());
        let states = names(manifest.state_files.keys().collect());
        if batches != names(expected.batches.keys().collect()) {
            return Err(format!("{uuid} refers to {batches:?}"));
        }
        for name in states.iter().filter(|name| *name != paths::MARKER) {
            let bytes = saved.state(name).map_err(|error| told("state", &error))?;
            match expected.states.get(name) {
                Some(written) if **written == bytes => {}
                _ => return Err(format!("{uuid}/{name} is not what was written")),
            }
        }
        if let Some(absent) = expected.states.keys().find(|name| !states.contains(name)) {
            return Err(format!("{uuid} has no {absent}"));
        }
        for (name, written) in &expected.batches {
            let file = saved
                .open_batch(name)
                .map_err(|error| told("open_batch", &error))?;
            let bytes = file
                .read(0, written.len())
                .map_err(|error| told("read", &error))?;
            if file.size_bytes() != written.len() as u64 || bytes != **written {
                return Err(format!("{name} is not what was written"));
            }
        }
        Ok(())
    }

    /// Every file has a reason to be there, and every reason its file.
    fn check_files(&self, disk: &SimDisk, list: &[Item]) -> Result<(), String> {
        let root = Path::new(STORAGE_ROOT);
        let mut expected: BTreeSet<PathBuf> = self.model.foreign.keys().cloned().collect();
        for item in list {
            let contents = &self.model.checkpoints[&item.uuid];
            let folder = paths::checkpoint_dir(root, item.uuid);
            expected.extend(contents.batches.keys().map(|name| root.join(name)));
            expected.extend(contents.states.keys().map(|name| folder.join(name)));
            expected.extend([folder.join(paths::MARKER), folder.join(paths::MANIFEST)]);
        }
        let mut files: BTreeSet<PathBuf> = disk.files().into_keys().collect();
        files.retain(|path| path.starts_with(root) || expected.contains(path));
        let optional = [root.join(paths::CATALOG), root.join(paths::LOCK)];
        if !list.is_empty() && !files.contains(&optional[0]) {
            return Err("there is no catalog".to_owned());
        }
        if let Some(absent) = expected.difference(&files).next() {
            return Err(format!("{} was deleted", absent.display()));
        }
        let mut unexpected = files.difference(&expected);
        if let Some(left) = unexpected.find(|path| !optional.contains(path)) {
            return Err(format!("{} was left behind", left.display()));
        }
        let folders: BTreeSet<PathBuf> = disk.folders();
        let empty = folders.iter().find(|folder| {
            let is_of_storage = folder.parent() == Some(root);
            is_of_storage && !expected.iter().any(|path| path.starts_with(folder))
        });
        if let Some(empty) = empty {
            return Err(format!("the folder {} was left behind", empty.display()));
        }
        for (path, bytes) in &self.model.foreign {
            if disk.read(path) != *bytes {
                return Err(format!("{} was changed", path.display()));
            }
        }
        Ok(())
    }

    fn check_that_work_goes_on(
        &self,
        disk: &SimDisk,
        root: &Path,
        list: &[Item],
    ) -> Result<(), String> {
        let store = open(self.door, disk)?;
        let uuid = workload::publish_any(&store).map_err(|error| told("publish", &error))?;
        drop(store);
        let store = open(self.door, &disk.kill())?;
        let found = items(&store);
        let mut expected: Vec<Uuid> = list.iter().map(|item| item.uuid).collect();
        expected.push(uuid);
        let found: Vec<Uuid> = found.iter().map(|item| item.uuid).collect();
        if found == expected {
            Ok(())
        } else {
            Err(format!(
                "after another checkpoint in {} it lists {found:?}",
                root.display()
            ))
        }
    }
}

/// What a store lists.
pub fn items(store: &Store) -> List {
    store.entries().iter().map(Item::of).collect()
}

fn open(door: &Door, disk: &SimDisk) -> Result<Store, String> {
    let opened = open_store(door(disk.clone()), Path::new(STORAGE_ROOT));
    opened.map_err(|error| told("open", &error))
}

/// An error of the engine as part of a story. One that names no file is a failure of its own.
fn told(what: &str, error: &Error) -> String {
    let complaint =
        complaint_about(error).map_or_else(String::new, |complaint| format!(" ({complaint})"));
    format!("{what}: {error}{complaint}")
}

/// What is wrong with an error: it must name a file or folder of the storage.
pub fn complaint_about(error: &Error) -> Option<String> {
    let is_ours = error.path().starts_with("/data");
    (!is_ours).then(|| format!("names no file of the storage: {:?}", error.path()))
}

/// What somebody panicked with.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "something that is no text".to_owned())
}
