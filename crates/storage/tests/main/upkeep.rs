//! Pins, names, plans, accounting, forks, and looking without touching.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::error::Kind;
use highwater_storage::{Digest, LocalDisk, Store, paths};

use crate::memory::{Fault, MemoryDisk};
use crate::support::{Root, batch, checkpoint, details, names, now, options, uuids};

#[test]
fn everything_is_for_its_owner_only() {
    let root = Root::new();
    let store = root.open();
    checkpoint(&store, &[batch(&store, 50).unwrap()], 2).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&root.path), 0o700);
    for (path, _) in root.contents() {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700, "{}", path.display());
    }
}

#[test]
fn a_plan_is_what_its_execution_does() {
    let root = Root::new();
    let store = root.open();
    let held = batch(&store, 10).unwrap();
    let first = checkpoint(&store, &[Arc::clone(&held), batch(&store, 20).unwrap()], 9).unwrap();
    checkpoint(&store, &[batch(&store, 30).unwrap()], 9).unwrap();
    let third = checkpoint(&store, &[], 9).unwrap();
    assert!(store.plan_collection(3).unwrap().is_empty());
    let before = root.contents();
    let plan = store.plan_collection(1).unwrap();
    assert_eq!(root.contents(), before);
    assert_eq!(plan.dropped.len(), 2);
    let text = plan.to_string();
    assert!(
        text.contains(&format!("drop checkpoint {}", first.uuid())),
        "{text}"
    );
    assert!(
        text.contains(&format!("leave file {}", held.name())),
        "{text}"
    );

    // A plan is for one state of the catalog.
    store.pin(third.uuid(), true).unwrap();
    assert_eq!(store.collect(&plan).unwrap_err().kind(), Kind::Invalid);
    let plan = store.plan_collection(1).unwrap();
    let hold = store.hold(first.uuid()).unwrap();
    assert_eq!(store.collect(&plan).unwrap_err().kind(), Kind::Invalid);
    drop(hold);
    let report = store.collect(&plan).unwrap();
    assert_eq!((report.folders, report.batches), (2, 2));
    assert_eq!(report.freed_bytes, plan.freed_bytes());
    assert!(report.failures.is_empty());
    assert_eq!(uuids(&store), [third.uuid()]);
    // What was in use goes with its last handle.
    assert!(root.file(held.name()).exists());
    let name = held.name().to_owned();
    drop(held);
    assert!(!root.file(&name).exists());
}

#[test]
fn what_cannot_be_deleted_is_reported_and_does_not_matter() {
    let root = Root::new();
    let store = root.open();
    let first = checkpoint(&store, &[], 1).unwrap().uuid();
    // Somebody's folder within keeps ours from being removed.
    fs::create_dir(root.file(&first.to_string()).join("within")).unwrap();
    let second = checkpoint(&store, &[], 1).unwrap().uuid();
    assert_eq!(uuids(&store), [second]);
    let report = store.last_collection().unwrap().unwrap();
    assert_eq!(report.failures.len(), 1);
    assert!(report.failures[0].to_string().contains(&first.to_string()));
    drop(store);
    assert_eq!(root.open().opening().removed.failures.len(), 1);
    assert!(root.file(&first.to_string()).join("within").exists());
}

#[test]
fn names_are_taken_once() {
    let root = Root::new();
    let store = root.open();
    let [first, second] = [(); 2].map(|()| checkpoint(&store, &[], 9).unwrap().uuid());
    store.set_identifier(first, Some("a".to_owned())).unwrap();
    store.set_identifier(first, Some("a".to_owned())).unwrap();
    let error = store
        .set_identifier(second, Some("a".to_owned()))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains(&first.to_string()), "{error}");
    let mut named = details(9);
    named.identifier = Some("a".to_owned());
    let before = names(&root);
    assert_eq!(
        store.begin().unwrap().publish(named).unwrap_err().kind(),
        Kind::Invalid
    );
    assert_eq!(names(&root), before);
    assert_eq!(uuids(&store), [first, second]);
}

#[test]
fn pinned_checkpoints_are_not_removed_and_removed_ones_give_their_room_back() {
    let root = Root::new();
    let store = root.open();
    let shared = batch(&store, 10).unwrap();
    let own = batch(&store, 20).unwrap();
    let first = checkpoint(&store, &[Arc::clone(&shared), Arc::clone(&own)], 9)
        .unwrap()
        .uuid();
    let second = checkpoint(&store, &[Arc::clone(&shared)], 9)
        .unwrap()
        .uuid();
    let names = [shared.name().to_owned(), own.name().to_owned()];
    drop((shared, own));
    store.pin(first, true).unwrap();
    assert!(
        store
            .remove(first)
            .unwrap_err()
            .to_string()
            .contains("unpin")
    );
    store.pin(first, false).unwrap();
    store.remove(first).unwrap();
    assert_eq!(uuids(&store), [second]);
    assert!(root.file(&names[0]).exists() && !root.file(&names[1]).exists());
    assert!(!root.file(&first.to_string()).exists());
}

#[test]
fn a_mark_of_damage_is_taken_away_only_when_all_is_well() {
    let root = Root::new();
    let store = root.open();
    let file = batch(&store, 5000).unwrap();
    let uuid = checkpoint(&store, std::slice::from_ref(&file), 2)
        .unwrap()
        .uuid();
    store.quarantine(uuid, "a block is damaged").unwrap();
    let unusable = store.entries()[0].unusable.clone().unwrap();
    assert_eq!(
        (unusable.reason.as_str(), unusable.since),
        ("a block is damaged", now())
    );
    let error = store.newest_usable().unwrap_err();
    assert!(error.to_string().contains("a block is damaged"), "{error}");
    let path = file.path().to_owned();
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[77] ^= 1;
    fs::write(&path, bad).unwrap();
    let error = store.readmit(uuid).unwrap_err();
    assert!(error.to_string().contains(file.name()), "{error}");
    fs::write(&path, good).unwrap();
    store.readmit(uuid).unwrap();
    assert_eq!(
        store.newest_usable().unwrap().checkpoint.unwrap().uuid(),
        uuid
    );
}

#[test]
fn the_ladder_tells_nothing_from_never() {
    let root = Root::new();
    let store = root.open();
    assert!(store.opening().is_new);
    let ladder = store.newest_usable().unwrap();
    assert!(ladder.checkpoint.is_none() && ladder.passed_over.is_empty());
    drop(ladder);
    let damaged: Vec<_> = (0..3)
        .map(|_| checkpoint(&store, &[], 9).unwrap().uuid())
        .collect();
    for uuid in &damaged[1..] {
        let path = root.file(&uuid.to_string()).join("state.json");
        fs::write(path, b"{\"step\": 8}").unwrap();
    }
    let ladder = store.newest_usable().unwrap();
    assert_eq!(ladder.checkpoint.unwrap().uuid(), damaged[0]);
    let passed: Vec<_> = ladder
        .passed_over
        .iter()
        .map(|passed| passed.uuid)
        .collect();
    assert_eq!(passed, [damaged[2], damaged[1]]);
    assert!(ladder.passed_over[0].reason.contains("state.json"));
    fs::remove_dir_all(root.file(&damaged[0].to_string())).unwrap();
    let error = store.newest_usable().unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(
        error.to_string().contains("no checkpoint is usable"),
        "{error}"
    );
}

#[test]
fn usage_accounts_for_every_byte() {
    let root = Root::new();
    let store = root.open();
    let shared = batch(&store, 1000).unwrap();
    let own = batch(&store, 200).unwrap();
    let first = checkpoint(&store, &[Arc::clone(&shared), own], 9).unwrap();
    checkpoint(&store, &[Arc::clone(&shared)], 9).unwrap();
    store.pin(first.uuid(), true).unwrap();
    let transient = batch(&store, 30).unwrap();
    fs::write(root.file("notes.txt"), [0; 4]).unwrap();
    let usage = store.usage().unwrap();
    let [first, second] = &usage.checkpoints[..] else {
        panic!("{usage:?}");
    };
    assert_eq!((first.shared_bytes, second.shared_bytes), (1000, 1000));
    assert_eq!(first.pinned_bytes, first.total_bytes);
    assert_eq!(second.pinned_bytes, 1000);
    assert_eq!(usage.pinned_only_bytes, first.unique_bytes);
    assert_eq!(
        (usage.in_use_bytes, usage.foreign_bytes, usage.garbage_bytes),
        (30, 4, 0)
    );
    let sizes = root
        .contents()
        .into_iter()
        .map(|(_, bytes)| bytes.len() as u64);
    assert_eq!(usage.total_bytes, sizes.sum::<u64>());
    let given_back = first.unique_bytes;
    let uuid = first.uuid;
    store.pin(uuid, false).unwrap();
    let before = store.usage().unwrap().checkpoints_bytes;
    store.remove(uuid).unwrap();
    assert_eq!(
        store.usage().unwrap().checkpoints_bytes,
        before - given_back
    );
    drop(transient);
}

#[test]
fn a_fork_is_a_root_of_its_own() {
    let root = Root::new();
    let store = root.open();
    let files: Vec<_> = (1..30)
        .map(|size| batch(&store, size * 1000).unwrap())
        .collect();
    let entry = checkpoint(&store, &files, 2).unwrap();
    store.pin(entry.uuid(), true).unwrap();
    let target = Root::new();
    let report = store.fork(entry.uuid(), &target.path).unwrap();
    assert_eq!(report.files, files.len() + 4);
    assert_eq!(report.bytes, entry.metadata.size.unwrap());
    assert_eq!(report.entry, entry);
    let fork = target.open();
    assert!(fork.verify(entry.uuid(), &mut |_| {}).unwrap().is_good());
    // What one deletes, the other keeps.
    store.pin(entry.uuid(), false).unwrap();
    store.remove(entry.uuid()).unwrap();
    drop(files);
    assert!(names(&root).iter().all(|name| !name.starts_with('w')));
    assert!(fork.verify(entry.uuid(), &mut |_| {}).unwrap().is_good());
    let next = checkpoint(&fork, &[], 1).unwrap();
    assert_eq!(uuids(&fork), [next.uuid()]);

    let error = fork.fork(next.uuid(), &root.path).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("not empty"), "{error}");
}

#[test]
fn a_fork_that_fails_leaves_nothing_that_could_be_opened() {
    let source = MemoryDisk::new();
    let root = Path::new("/state");
    let target = Path::new("/forks/one");
    let store = Store::open_with(Arc::new(source.clone()), root, options()).unwrap();
    let entry = checkpoint(&store, &[batch(&store, 50).unwrap()], 2).unwrap();
    drop(store);
    let fork = |disk: &MemoryDisk| {
        let store = Store::open_read_only(Arc::new(disk.clone()), root)?;
        let start = disk.calls();
        store
            .fork(entry.uuid(), target)
            .map(|_| disk.calls() - start)
    };
    let calls = fork(&source.copy()).unwrap();
    assert!(calls > 20);
    for number in 0..calls {
        for is_dead in [false, true] {
            let disk = source.copy();
            let before = disk.paths();
            let store = Store::open_read_only(Arc::new(disk.clone()), root).unwrap();
            let at = disk.calls() + number;
            disk.set_fault(Some(if is_dead {
                Fault::Dead(at)
            } else {
                Fault::Before(at)
            }));
            store.fork(entry.uuid(), target).unwrap_err();
            let disk = disk.copy();
            let after = disk.paths();
            assert!(before.iter().all(|path| after.contains(path)));
            // It is whole, or it can be made again, or it is refused.
            match Store::open_with(Arc::new(disk.clone()), target, options()) {
                Ok(fork) if fork.entries().is_empty() => {
                    let others = after.iter().filter(|path| path.starts_with(target));
                    let others = others.filter(|path| !path.ends_with(paths::LOCK));
                    let others = others.filter(|path| !path.ends_with("checkpoints.feldera.mut"));
                    assert_eq!(others.count(), 0, "call {number}");
                }
                Ok(fork) => assert!(fork.verify(entry.uuid(), &mut |_| {}).unwrap().is_good()),
                Err(error) => {
                    assert!(is_dead, "call {number}: {error}");
                    assert!(error.to_string().contains("make it again"), "{error}");
                }
            }
        }
    }
}

#[test]
fn who_only_looks_changes_nothing() {
    let root = Root::new();
    let owner = root.open();
    let file = batch(&owner, 5000).unwrap();
    let uuid = checkpoint(&owner, std::slice::from_ref(&file), 2)
        .unwrap()
        .uuid();
    fs::write(root.file(&paths::unfinished(paths::CATALOG)), "[").unwrap();
    let before = root.contents();
    let store = Store::open_read_only(Arc::new(LocalDisk), &root.path).unwrap();
    assert!(store.is_read_only() && !owner.is_read_only());
    let saved = store.newest_usable().unwrap().checkpoint.unwrap();
    drop(saved.open_batch(file.name()).unwrap());
    drop(saved);
    store.verify(uuid, &mut |_| {}).unwrap();
    store.usage().unwrap();
    store.plan_collection(1).unwrap();
    store.quarantine(uuid, "in memory").unwrap();
    assert!(!store.entries()[0].is_usable());
    for error in [
        store.begin().unwrap_err(),
        store.pin(uuid, true).unwrap_err(),
        store.set_identifier(uuid, None).unwrap_err(),
        store.remove(uuid).unwrap_err(),
        store.collect(&Default::default()).unwrap_err(),
    ] {
        assert!(error.to_string().contains("reading only"), "{error}");
    }
    drop(store);
    assert_eq!(root.contents(), before);
    let nowhere = Root::new();
    let error = Store::open_read_only(Arc::new(LocalDisk), &nowhere.path).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(!nowhere.path.exists());
}

#[test]
fn state_files_have_names_of_their_own() {
    let root = Root::new();
    let store = root.open();
    let before = names(&root);
    let mut new = store.begin().unwrap();
    for name in [
        "",
        "..",
        "a/b",
        "/etc/x",
        paths::MARKER,
        paths::MANIFEST,
        "a.mut",
    ] {
        assert_eq!(
            new.write_state(name, b"x").unwrap_err().kind(),
            Kind::Invalid,
            "{name}"
        );
    }
    new.write_state("z1.dat", b"x").unwrap();
    assert_eq!(
        new.write_state("z1.dat", b"x").unwrap_err().kind(),
        Kind::Invalid
    );
    assert_eq!(new.size_bytes(), 1);
    drop(new);
    assert_eq!(names(&root), before);
    // Files of another root are not ours to refer to.
    let other = Root::new();
    let other_store = other.open();
    let mut new = store.begin().unwrap();
    new.refer(batch(&other_store, 5).unwrap());
    assert_eq!(new.publish(details(2)).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(names(&root), before);
}

#[test]
fn files_are_never_collected_under_the_hands_of_their_writers() {
    let root = Root::new();
    let store = root.open();
    let seconds = std::time::Duration::from_millis(500);
    let start = std::time::Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while start.elapsed() < seconds {
                    let file = batch(&store, 100).unwrap();
                    std::thread::yield_now();
                    assert!(file.path().exists());
                }
            });
        }
        scope.spawn(|| {
            while start.elapsed() < seconds {
                let mut new = store.begin().unwrap();
                new.write_state("state.json", b"{}").unwrap();
                std::thread::yield_now();
                assert!(
                    root.file(&new.uuid().to_string())
                        .join("state.json")
                        .exists()
                );
            }
        });
        while start.elapsed() < seconds {
            checkpoint(&store, &[batch(&store, 100).unwrap()], 1).unwrap();
            assert!(
                store
                    .last_collection()
                    .unwrap()
                    .unwrap()
                    .failures
                    .is_empty()
            );
            let plan = store.plan_collection(1).unwrap();
            store.collect(&plan).unwrap();
        }
    });
    assert!(store.newest_usable().unwrap().checkpoint.is_some());
    let batches = names(&root)
        .iter()
        .filter(|name| name.starts_with('w'))
        .count();
    assert_eq!(batches, 1);
}

#[test]
fn a_file_that_is_in_use_by_now_is_not_deleted_by_an_older_plan() {
    let root = Root::new();
    let store = root.open();
    let name = paths::batch_file(0, uuid::Uuid::now_v7());
    fs::write(root.file(&name), b"abc").unwrap();
    let plan = store.plan_collection(1).unwrap();
    assert_eq!(plan.batches, [(name.clone(), 3)]);
    let file = store.files().open(&name, 3, Digest::of(b"abc")).unwrap();
    assert_eq!(store.collect(&plan).unwrap().batches, 0);
    assert!(file.path().exists());
    drop(file);
    assert!(!root.file(&name).exists());
}
