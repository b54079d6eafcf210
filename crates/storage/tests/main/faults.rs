//! A life of a store in which each call fails in turn.
//!
//! The error is reported, the store stays usable or can be opened again, no checkpoint that is to be
//! kept is lost, and in the end nothing is left that nobody needs.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::{Disk, Error, Result, Store, paths};
use uuid::Uuid;

use crate::memory::{Fault, MemoryDisk};
use crate::support::{batch, checkpoint, details, options};

const ROOT: &str = "/data/state";

/// What was promised, and what was complained about.
#[derive(Default)]
struct Life {
    /// Checkpoints that were published without error, oldest first.
    published: Vec<Uuid>,
    /// Those that may have been.
    perhaps: BTreeSet<Uuid>,
    pinned: Option<Uuid>,
    /// Removed on purpose, or perhaps.
    removed: BTreeSet<Uuid>,
    errors: Vec<Error>,
}

impl Life {
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    fn open(&mut self, disk: &MemoryDisk) -> Option<Store> {
        let store = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options());
        let store = self.note(store)?;
        let opening = store.opening();
        self.errors.extend(opening.problem.clone());
        self.errors.extend(opening.removed.failures.clone());
        Some(store)
    }

    fn publish(&mut self, store: &Store, size_bytes: usize) {
        let before: BTreeSet<Uuid> = store.entries().iter().map(|entry| entry.uuid()).collect();
        let published = batch(store, size_bytes).and_then(|file| checkpoint(store, &[file], 2));
        match published {
            Ok(entry) => self.published.push(entry.uuid()),
            Err(error) => {
                let after = store.entries();
                let new = after.iter().find(|entry| !before.contains(&entry.uuid()));
                assert!(new.is_none() || error.is_indeterminate(), "{error}");
                self.perhaps.extend(new.map(|entry| entry.uuid()));
                self.errors.push(error);
            }
        }
        self.note_collection(store);
    }

    fn note_collection(&mut self, store: &Store) {
        match store.last_collection() {
            Some(Ok(report)) => self.errors.extend(report.failures),
            Some(Err(error)) => self.errors.push(error),
            None => {}
        }
    }

    /// Everything that a store does, in two processes.
    fn run(&mut self, disk: &MemoryDisk) {
        if let Some(store) = self.open(disk) {
            (1..4).for_each(|number| self.publish(&store, number * 10));
            if let Some(&uuid) = self.published.last() {
                if self.note(store.pin(uuid, true)).is_some() {
                    self.pinned = Some(uuid);
                }
                self.note(store.verify(uuid, &mut |_| {}));
            }
            let transient = self.note(batch(&store, 500));
            (4..7).for_each(|number| self.publish(&store, number * 10));
            drop(transient);
        }
        let Some(store) = self.open(disk) else {
            return;
        };
        let ladder = self.note(store.newest_usable());
        if let Some(saved) = ladder.and_then(|ladder| ladder.checkpoint) {
            for name in saved.manifest().batches.keys() {
                self.note(saved.open_batch(name));
            }
        }
        if let Some(uuid) = self.pinned {
            match store.pin(uuid, false) {
                Ok(()) => {
                    self.pinned = None;
                    self.removed.insert(uuid);
                }
                Err(error) => {
                    // Then it may be gone by the rules.
                    self.pinned = self.pinned.filter(|_| !error.is_indeterminate());
                    self.errors.push(error);
                }
            }
            if !self.removed.is_empty() {
                self.note(store.remove(uuid));
                self.note_collection(&store);
            }
        }
        let plan = self.note(store.plan_collection(1));
        let report = plan.and_then(|plan| self.note(store.collect(&plan)));
        self.errors
            .extend(report.into_iter().flat_map(|report| report.failures));
        self.note(store.usage());
        self.publish(&store, 100);
    }

    /// Opens what is there, with nothing failing any more, and compares it with the promises.
    #[track_caller]
    fn check(&self, disk: &MemoryDisk, what: &str) {
        let store =
            Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options()).expect(what);
        assert!(
            store.opening().problem.is_none(),
            "{what}: {}",
            store.opening()
        );
        let entries = store.entries();
        for entry in &entries {
            assert!(entry.is_usable(), "{what}: {entry:?}");
            let uuid = entry.uuid();
            let is_known = self.published.contains(&uuid) || self.perhaps.contains(&uuid);
            assert!(is_known, "{what}: {uuid} was never published");
            assert!(
                store.verify(uuid, &mut |_| {}).unwrap().is_good(),
                "{what}: {uuid}"
            );
        }
        let is_listed = |uuid: &Uuid| entries.iter().any(|entry| entry.uuid() == *uuid);
        if let Some(newest) = self
            .published
            .last()
            .filter(|uuid| !self.removed.contains(uuid))
        {
            assert!(is_listed(newest), "{what}: the newest one is lost");
        }
        assert!(
            self.pinned.iter().all(is_listed),
            "{what}: the pinned one is lost"
        );
        check_no_garbage(disk, &store, what);
        // And life goes on.
        let next = checkpoint(&store, &[batch(&store, 5).unwrap()], 2).expect(what);
        assert_eq!(
            store.newest_usable().unwrap().checkpoint.unwrap().uuid(),
            next.uuid()
        );
    }
}

#[track_caller]
fn check_no_garbage(disk: &MemoryDisk, store: &Store, what: &str) {
    let root = Path::new(ROOT);
    let mut needed = BTreeSet::from([root.join(paths::CATALOG), root.join(paths::LOCK)]);
    for entry in store.entries() {
        let folder = paths::checkpoint_dir(root, entry.uuid());
        let manifest = store.manifest(entry.uuid()).unwrap();
        needed.extend(manifest.batches.keys().map(|name| root.join(name)));
        needed.extend(manifest.state_files.keys().map(|name| folder.join(name)));
        needed.extend([folder.join(paths::MARKER), folder.join(paths::MANIFEST)]);
    }
    assert_eq!(
        disk.paths().into_iter().collect::<BTreeSet<_>>(),
        needed,
        "{what}"
    );
}

fn calls() -> usize {
    let disk = MemoryDisk::new();
    let mut life = Life::default();
    life.run(&disk);
    assert!(life.errors.is_empty(), "{:?}", life.errors);
    assert_eq!(life.published.len(), 7);
    let calls = disk.calls();
    life.check(&disk, "no fault");
    calls
}

/// Runs a life for each call that goes wrong in this way.
fn each(fault: impl Fn(usize) -> Fault, check: impl Fn(&Life, &MemoryDisk, &str)) {
    let calls = calls();
    assert!(calls > 300, "{calls} calls");
    let mut fired = 0;
    for number in 0..calls {
        let disk = MemoryDisk::with_fault(fault(number));
        let mut life = Life::default();
        life.run(&disk);
        disk.set_fault(None);
        fired += usize::from(!disk.fired().is_empty());
        let what = format!("{:?} {:?}", fault(number), disk.fired().first());
        check(&life, &disk, &what);
    }
    assert!(fired * 10 > calls * 3, "{fired} of {calls} faults fired");
}

/// Removals that fail behind the scenes are only logged: the next start makes up for them.
fn is_reported(life: &Life, disk: &MemoryDisk) -> bool {
    let behind_the_scenes = ["remove_file", "remove_dir", "list"];
    let fired = disk.fired();
    !life.errors.is_empty() || fired.iter().all(|call| behind_the_scenes.contains(call))
}

#[test]
fn c08_each_call_fails_in_turn() {
    each(Fault::Before, |life, disk, what| {
        assert!(is_reported(life, disk), "{what}: nobody was told");
        life.check(disk, what);
    });
}

#[test]
fn c08_each_call_fails_in_turn_though_it_has_its_effect() {
    each(Fault::After, |life, disk, what| {
        assert!(is_reported(life, disk), "{what}: nobody was told");
        life.check(disk, what);
    });
}

#[test]
fn c08_the_disk_is_full_from_some_call_on() {
    each(Fault::Full, |life, disk, what| {
        assert!(is_reported(life, disk), "{what}: nobody was told");
        life.check(disk, what);
    });
}

#[test]
fn c12_the_process_ends_at_each_call() {
    each(Fault::Dead, |life, disk, what| {
        let disk = disk.copy();
        let mut life = Life {
            published: life.published.clone(),
            perhaps: life.perhaps.clone(),
            pinned: life.pinned,
            removed: life.removed.clone(),
            errors: Vec::new(),
        };
        // Whether the last one exists is known to the disk only.
        let store =
            Store::open_with(Arc::new(disk.copy()), Path::new(ROOT), options()).expect(what);
        let newest = store.entries().last().map(|entry| entry.uuid());
        life.perhaps.extend(newest);
        life.check(&disk, what);
    });
}

#[test]
fn a_replaced_catalog_that_may_change_back_keeps_both_sides_alive() {
    // The calls of the third publication of an otherwise quiet life.
    let prepare = || {
        let disk = MemoryDisk::new();
        let store = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options()).unwrap();
        let uuids = [(); 2].map(|()| {
            let file = batch(&store, 10).unwrap();
            checkpoint(&store, &[file], 2).unwrap().uuid()
        });
        (disk, store, uuids)
    };
    let mut uncertain = 0;
    for number in 0..60 {
        let (disk, store, [first, second]) = prepare();
        disk.set_fault(Some(Fault::Before(disk.calls() + number)));
        let file = batch(&store, 10);
        let published = file.and_then(|file| checkpoint(&store, &[file], 2));
        let Err(error) = published else {
            continue;
        };
        if !error.is_indeterminate() {
            continue;
        }
        uncertain += 1;
        assert!(error.to_string().contains("may change back"), "{error}");
        // The disk shows the new list, without the first one; but nothing of it is deleted.
        let entries = store.entries();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].uuid(), second);
        let third = entries[1].uuid();
        for uuid in [first, second, third] {
            let folder = paths::checkpoint_dir(Path::new(ROOT), uuid);
            assert!(disk.paths().contains(&folder.join(paths::MANIFEST)));
        }
        let batches = disk
            .paths()
            .iter()
            .filter(|path| path.to_string_lossy().contains("/w0-"))
            .count();
        assert_eq!(batches, 3);
        assert!(store.plan_collection(2).is_err());
        assert!(store.read(third).is_ok());
        // The next one decides it.
        let fourth = checkpoint(&store, &[], 2).unwrap().uuid();
        let listed: Vec<Uuid> = store.entries().iter().map(|entry| entry.uuid()).collect();
        assert_eq!(listed, [third, fourth]);
        check_no_garbage(&disk, &store, "decided");
    }
    assert_eq!(uncertain, 1);
}

#[test]
fn a_file_whose_name_was_not_made_durable_is_not_used_again() {
    let disk = MemoryDisk::new();
    let store = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options()).unwrap();
    let file = batch(&store, 10).unwrap();
    file.sync().unwrap();
    disk.set_fault(Some(Fault::Before(disk.calls())));
    store.files().sync_names().unwrap_err();
    assert!(file.is_poisoned());
    let error = checkpoint(&store, &[Arc::clone(&file)], 2).unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert!(store.entries().is_empty());
    let again = batch(&store, 10).unwrap();
    checkpoint(&store, &[again], 2).unwrap();
}

fn open(disk: &MemoryDisk) -> Store {
    Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options()).unwrap()
}

#[test]
fn a_folder_whose_name_was_not_made_durable_is_not_published() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let mut other = store.begin().unwrap();
    other.write_state("state.json", b"{}").unwrap();
    // The sync of the root's names on behalf of one is about the folder of the other, too.
    let one = store.begin().unwrap();
    // Marker and manifest: three calls each; names of the folder; names at the root.
    disk.set_fault(Some(Fault::Before(disk.calls() + 7)));
    one.publish(details(2)).unwrap_err();
    assert_eq!(disk.fired(), ["sync_dir"]);
    let error = other.publish(details(2)).unwrap_err();
    assert!(error.to_string().contains("cannot be relied on"), "{error}");
    assert!(store.entries().is_empty());
    check_no_garbage(&disk, &store, "both are gone");
    checkpoint(&store, &[], 2).unwrap();
}

#[test]
fn a_start_that_cannot_make_the_catalog_durable_deletes_nothing_yet() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let uuid = checkpoint(&store, &[batch(&store, 10).unwrap()], 2)
        .unwrap()
        .uuid();
    let stray = batch(&store, 10).unwrap();
    // As after a kill.
    let disk = disk.copy();
    drop(stray);
    let before = disk.paths();
    let calls = {
        let disk = disk.copy();
        open(&disk);
        disk.calls()
    };
    let mut refused = 0;
    for number in 0..calls {
        let disk = disk.copy();
        disk.set_fault(Some(Fault::Before(number)));
        let opened = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options());
        let Ok(store) = opened else {
            continue;
        };
        if store.opening().problem.is_none() {
            continue;
        }
        refused += 1;
        let is_kept = |path| disk.paths().contains(path);
        assert!(before.iter().all(is_kept), "call {number}");
        let error = store.plan_collection(2).unwrap_err();
        assert!(
            error.to_string().contains("nothing is collected"),
            "{error}"
        );
        assert_eq!(
            store.newest_usable().unwrap().checkpoint.unwrap().uuid(),
            uuid
        );
        // The next change of the catalog settles it.
        checkpoint(&store, &[], 2).unwrap();
        check_no_garbage(&disk, &store, "settled");
    }
    assert!(refused >= 5, "{refused}");
}

#[test]
fn a_root_whose_name_is_not_durable_is_made_anew() {
    let disk = MemoryDisk::new();
    let calls = {
        let disk = disk.copy();
        open(&disk);
        disk.calls()
    };
    let mut removed = 0;
    for number in 0..calls {
        let disk = disk.copy();
        disk.set_fault(Some(Fault::Before(number)));
        let opened = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options());
        let is_first_sync =
            opened.is_err() && disk.fired() == ["sync_dir"] && disk.paths().is_empty();
        if is_first_sync {
            removed += 1;
            assert!(disk.list(Path::new(ROOT)).is_err());
        }
        drop(opened);
        checkpoint(&open(&disk), &[], 2).unwrap();
    }
    assert_eq!(removed, 2);
}
