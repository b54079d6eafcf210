//! Catalog, manifest, collection.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::error::Kind;
use highwater_storage::store::PassedOver;
use highwater_storage::{LocalDisk, Store, manifest, paths};
use uuid::Uuid;

use crate::memory::{Fault, MemoryDisk};
use crate::support::{Root, batch, checkpoint, details, names, options, uuids};

/// A root with one checkpoint of one batch file, whose name is given back.
fn with_checkpoint() -> (Root, Uuid, String) {
    let root = Root::new();
    let store = root.open();
    let file = batch(&store, 5000).unwrap();
    let entry = checkpoint(&store, std::slice::from_ref(&file), 2).unwrap();
    (root, entry.uuid(), file.name().to_owned())
}

fn stray_batch(root: &Root, size_bytes: usize) -> String {
    let name = paths::batch_file(3, Uuid::now_v7());
    fs::write(root.file(&name), vec![0; size_bytes]).unwrap();
    name
}

/// Refused with this kind of error, and everything is as it was, but for the lock file.
#[track_caller]
fn assert_refused(root: &Root, kind: Kind, words: &[&str]) {
    let before = root.contents();
    let error = root.try_open().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word}: {error}");
    }
    let lock = root.file(paths::LOCK);
    let without_lock = |mut contents: Vec<_>| {
        contents.retain(|(path, _)| *path != lock);
        contents
    };
    assert_eq!(without_lock(root.contents()), without_lock(before));
}

#[test]
fn c01_files_are_listed_and_verified_and_a_lost_one_is_named() {
    let (root, uuid, name) = with_checkpoint();
    let store = root.open();
    assert_eq!(store.entries()[0].metadata.size, Some(5000 + 100 + 11));
    let saved = store.read(uuid).unwrap();
    assert_eq!(saved.manifest().batches.keys().collect::<Vec<_>>(), [&name]);
    let state_files = saved.manifest().state_files.keys();
    assert_eq!(
        state_files.collect::<Vec<_>>(),
        ["pspine-0.dat", "state.json"]
    );
    assert_eq!(saved.state("state.json").unwrap(), b"{\"step\": 7}");
    let mut seen = Vec::new();
    let verification = store
        .verify(uuid, &mut |progress| seen.push(progress))
        .unwrap();
    assert!(verification.is_good() && verification.unverifiable.is_empty());
    let last = seen.last().unwrap();
    assert_eq!((last.files, last.files_total), (3, 3));
    assert_eq!((last.bytes, last.bytes_total), (5111, 5111));

    fs::remove_file(root.file(&uuid.to_string()).join("pspine-0.dat")).unwrap();
    let verification = store.verify(uuid, &mut |_| {}).unwrap();
    assert_eq!(verification.damages.len(), 1);
    assert!(verification.damages[0].to_string().contains("pspine-0.dat"));
    assert!(
        store
            .read(uuid)
            .unwrap_err()
            .to_string()
            .contains("pspine-0.dat")
    );
}

#[test]
fn c02_strays_of_ours_go_and_foreign_ones_stay() {
    let (root, uuid, name) = with_checkpoint();
    let stray = stray_batch(&root, 7);
    let unfinished = paths::unfinished(&paths::batch_file(0, Uuid::now_v7()));
    fs::write(root.file(&unfinished), [0; 20]).unwrap();
    let folder = root.file(&Uuid::now_v7().to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("pspine-0.dat"), [0; 300]).unwrap();
    fs::write(root.file("notes.txt"), "mine").unwrap();
    fs::write(root.file("other.feldera"), "mine").unwrap();
    fs::create_dir(root.file("folder")).unwrap();
    let store = root.open();
    assert_eq!(
        store.opening().to_string(),
        "1 checkpoints, 0 of them unusable; 1 batch files kept (5000 bytes); \
         removed 1 batch files, 1 unfinished files, 1 folders (327 bytes); \
         0 removals failed; 3 foreign names left alone"
    );
    assert!(!root.file(&stray).exists() && !root.file(&unfinished).exists() && !folder.exists());
    assert!(root.file("notes.txt").exists() && root.file("other.feldera").exists());
    assert!(root.file("folder").exists() && root.file(&name).exists());
    assert!(store.read(uuid).is_ok());
}

#[test]
fn c03_lists_for_tools_may_be_lost() {
    let root = Root::new();
    let store = root.open();
    let file = batch(&store, 5000).unwrap();
    let mut new = store.begin().unwrap();
    let list = format!("{{\"files\": [\"{}\"]}}", file.name());
    new.write_state(&paths::worker_batches(0), list.as_bytes())
        .unwrap();
    new.refer(Arc::clone(&file));
    let uuid = new.publish(details(2)).unwrap().uuid();
    let name = file.name().to_owned();
    drop((store, file));
    fs::remove_file(root.file(&uuid.to_string()).join(paths::worker_batches(0))).unwrap();
    let store = root.open();
    assert!(root.file(&name).exists());
    assert!(store.entries()[0].is_usable());
    assert!(store.read(uuid).is_ok());
}

/// As other programs once left it: no manifest, no keys of ours.
fn old_layout(root: &Root, dependencies: Option<&str>) -> (Uuid, String) {
    let uuid = Uuid::now_v7();
    let name = paths::batch_file(0, Uuid::now_v7());
    let folder = root.file(&uuid.to_string());
    fs::create_dir_all(&folder).unwrap();
    fs::write(root.file(&name), [1; 10]).unwrap();
    fs::write(folder.join(paths::MARKER), "").unwrap();
    fs::write(folder.join("pspine-0-abc.dat"), [2; 10]).unwrap();
    let list = format!("{{\"files\": [\"{name}\"]}}");
    fs::write(folder.join("pspine-batches-0-abc.dat"), list).unwrap();
    if let Some(dependencies) = dependencies {
        let dependencies = dependencies.replace('?', &name);
        fs::write(folder.join(paths::MANIFEST), dependencies).unwrap();
    }
    let catalog = format!("[{{\"uuid\": \"{uuid}\", \"identifier\": null, \"fingerprint\": 5}}]");
    fs::write(root.file(paths::CATALOG), catalog).unwrap();
    (uuid, name)
}

#[test]
fn c04_lists_for_tools_are_enough_in_old_layouts() {
    let v2 = r#"{"batches": ["?"], "state_files": ["pspine-0-abc.dat"]}"#;
    for dependencies in [None, Some(r#"["?"]"#), Some(v2)] {
        let root = Root::new();
        let (uuid, name) = old_layout(&root, dependencies);
        let stray = stray_batch(&root, 7);
        let catalog = fs::read(root.file(paths::CATALOG)).unwrap();
        let store = root.open();
        assert!(root.file(&name).exists() && !root.file(&stray).exists());
        assert_eq!(fs::read(root.file(paths::CATALOG)).unwrap(), catalog);
        let saved = store.read(uuid).unwrap();
        assert!(saved.manifest().batches.contains_key(&name));
        let verification = store.verify(uuid, &mut |_| {}).unwrap();
        assert!(verification.is_good() && verification.unverifiable.contains(&name));
        assert_eq!(
            saved.open_batch(&name).unwrap_err().kind(),
            Kind::Unsupported
        );
        drop(saved);
        // Our own checkpoints go on from there.
        let entry = checkpoint(&store, &[], 2).unwrap();
        assert_eq!(uuids(&store), [uuid, entry.uuid()]);
        assert!(root.file(&name).exists());
    }
}

#[test]
fn c05_a_missing_batch_makes_its_checkpoint_unusable_and_nothing_else() {
    let root = Root::new();
    let store = root.open();
    let files: Vec<_> = (1..4)
        .map(|size| batch(&store, size * 10).unwrap())
        .collect();
    let first = checkpoint(&store, &files[..2], 2).unwrap().uuid();
    let second = checkpoint(&store, &files[1..], 2).unwrap().uuid();
    let lost = files[2].name().to_owned();
    let kept = [files[0].name().to_owned(), files[1].name().to_owned()];
    drop((store, files));
    fs::remove_file(root.file(&lost)).unwrap();
    let before = names(&root);
    let store = root.open();
    let (uuid, reason) = &store.opening().unusable[0];
    assert_eq!(*uuid, second);
    assert!(reason.contains(&lost), "{reason}");
    assert_eq!(names(&root), before);
    assert!(kept.iter().all(|name| root.file(name).exists()));
    assert_eq!(store.read(second).unwrap_err().kind(), Kind::Corrupt);
    let ladder = store.newest_usable().unwrap();
    assert_eq!(ladder.checkpoint.as_ref().unwrap().uuid(), first);
    let passed_over = PassedOver {
        uuid: second,
        reason: reason.clone(),
    };
    assert_eq!(ladder.passed_over, [passed_over]);
    drop((ladder, store));
    // The mark lasts.
    let store = root.open();
    assert!(!store.entries()[1].is_usable() && store.entries()[0].is_usable());
}

#[test]
fn c06_a_lost_catalog_is_not_an_empty_one() {
    let (root, uuid, _) = with_checkpoint();
    stray_batch(&root, 7);
    let catalog = fs::read(root.file(paths::CATALOG)).unwrap();
    fs::remove_file(root.file(paths::CATALOG)).unwrap();
    assert_refused(
        &root,
        Kind::Invalid,
        &["no catalog", "nothing was deleted", "from a copy"],
    );
    fs::remove_file(root.file(paths::LOCK)).unwrap();
    assert_refused(&root, Kind::Invalid, &["no catalog"]);
    assert!(!root.file(paths::LOCK).exists());
    fs::write(root.file(paths::CATALOG), catalog).unwrap();
    assert!(root.open().read(uuid).is_ok());
}

#[test]
fn c06_a_directory_that_is_not_ours_is_left_alone() {
    let root = Root::new();
    fs::create_dir(&root.path).unwrap();
    fs::write(root.file("photo.jpg"), "x").unwrap();
    assert_refused(&root, Kind::Invalid, &["photo.jpg", "empty directory"]);
    assert_eq!(names(&root), ["photo.jpg"]);
    let file = root.file("photo.jpg");
    let error = Store::open(Arc::new(LocalDisk), &file).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn c07_a_damaged_catalog_is_an_error_and_nothing_is_deleted() {
    let (root, _, _) = with_checkpoint();
    stray_batch(&root, 7);
    let catalog = root.file(paths::CATALOG);
    let good = fs::read(&catalog).unwrap();
    for garbage in [&b""[..], b"\0\xff", b"[{]", &good[..good.len() / 2]] {
        fs::write(&catalog, garbage).unwrap();
        assert_refused(&root, Kind::Corrupt, &[paths::CATALOG]);
    }
    let newer = r#"[{"uuid":"01900000-0000-7000-8000-000000000001","version":2}]"#;
    fs::write(&catalog, newer).unwrap();
    assert_refused(&root, Kind::Unsupported, &["newer version"]);
}

#[test]
fn c07_a_damaged_manifest_is_an_error_and_nothing_is_deleted() {
    let root = Root::new();
    let store = root.open();
    let files: Vec<_> = (1..4)
        .map(|size| batch(&store, size * 10).unwrap())
        .collect();
    let first = checkpoint(&store, &files[..2], 2).unwrap().uuid();
    let second = checkpoint(&store, &files[1..], 2).unwrap().uuid();
    drop((store, files));
    let stray = stray_batch(&root, 7);
    let path = root.file(&second.to_string()).join(paths::MANIFEST);
    for garbage in [&b"garbage"[..], b"", b"[]"] {
        fs::write(&path, garbage).unwrap();
        let before = names(&root);
        let store = root.open();
        assert_eq!(names(&root), before);
        assert!(root.file(&stray).exists());
        let problem = store.opening().problem.as_ref().unwrap();
        assert!(
            problem.to_string().contains("nothing is collected"),
            "{problem}"
        );
        assert_eq!(problem.kind(), Kind::Corrupt);
        assert_eq!(store.plan_collection(2).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(store.manifest(second).unwrap_err().kind(), Kind::Corrupt);
        // A file of the damaged one does not go with a handle of another one.
        let saved = store.read(first).unwrap();
        let shared = saved.manifest().batches.keys().next().unwrap().clone();
        drop(saved.open_batch(&shared).unwrap());
        assert!(root.file(&shared).exists());
        drop(saved);
        assert_eq!(
            store.newest_usable().unwrap().checkpoint.unwrap().uuid(),
            first
        );
    }
    // It goes when two good ones are newer, and then there is order again.
    let store = root.open();
    let third = checkpoint(&store, &[], 2).unwrap().uuid();
    assert!(store.last_collection().unwrap().is_err());
    assert_eq!(uuids(&store), [first, second, third]);
    let fourth = checkpoint(&store, &[], 2).unwrap().uuid();
    assert!(store.last_collection().unwrap().is_ok());
    assert_eq!(uuids(&store), [third, fourth]);
    assert!(!root.file(&stray).exists());
}

#[test]
fn c07_a_newer_manifest_is_not_guessed_at() {
    let (root, uuid, _) = with_checkpoint();
    let path = root.file(&uuid.to_string()).join(paths::MANIFEST);
    fs::write(&path, r#"{"batches": [], "version": 2}"#).unwrap();
    // The catalog of that version would say so.
    let catalog = format!("[{{\"uuid\": \"{uuid}\", \"fingerprint\": 5}}]");
    fs::write(root.file(paths::CATALOG), catalog).unwrap();
    assert_refused(
        &root,
        Kind::Unsupported,
        &[paths::MANIFEST, "newer version"],
    );
}

#[test]
fn c08_a_catalog_that_cannot_be_written_lists_nothing_new() {
    let disk = MemoryDisk::new();
    let root = Path::new("/state");
    let store = Store::open_with(Arc::new(disk.clone()), root, options()).unwrap();
    let first = checkpoint(&store, &[batch(&store, 50).unwrap()], 2).unwrap();
    let before = disk.paths();
    let mut refused = 0;
    for number in 0.. {
        let file = batch(&store, 60).unwrap();
        let mut new = store.begin().unwrap();
        new.write_state("state.json", b"{}").unwrap();
        new.refer(file);
        disk.set_fault(Some(Fault::Full(disk.calls() + number)));
        let error = new.publish(details(2)).unwrap_err();
        disk.set_fault(None);
        assert_eq!(error.kind(), Kind::Exhausted, "{error}");
        assert!(error.to_string().contains("make room"), "{error}");
        if error.is_indeterminate() {
            break;
        }
        refused += 1;
        assert_eq!(store.entries(), std::slice::from_ref(&first));
        // Its folder and its batch file have given their room back.
        assert_eq!(disk.paths(), before, "call {number}");
    }
    // Batch file, marker, manifest, state file, two folders; then the catalog.
    assert!(refused > 12, "{refused}");
}

#[test]
fn c09_retention_keeps_the_newest_and_what_somebody_wants() {
    let root = Root::new();
    let store = root.open();
    let publish = || {
        let file = batch(&store, 50).unwrap();
        checkpoint(&store, &[file], 2).unwrap().uuid()
    };
    let is_there = |uuid: Uuid| root.file(&uuid.to_string()).exists();
    let [a, b] = [publish(), publish()];
    assert_eq!(uuids(&store), [a, b]);
    // Two, three, and two again.
    let sync = store.hold(a).unwrap();
    let c = publish();
    assert_eq!(uuids(&store), [a, b, c]);
    drop(sync);
    let d = publish();
    assert_eq!(uuids(&store), [c, d]);
    assert!(!is_there(a) && !is_there(b) && is_there(c) && is_there(d));
    store.pin(c, true).unwrap();
    store.set_identifier(d, Some("named".to_owned())).unwrap();
    let [e, f, g] = [publish(), publish(), publish()];
    assert_eq!(uuids(&store), [c, d, f, g]);
    assert!(!is_there(e));
    let saved = store.read(f).unwrap();
    let h = publish();
    assert_eq!(uuids(&store), [c, d, f, g, h]);
    assert_eq!(store.remove(f).unwrap_err().kind(), Kind::Invalid);
    drop(saved);
    store.pin(c, false).unwrap();
    store.set_identifier(d, None).unwrap();
    let i = publish();
    assert_eq!(uuids(&store), [h, i]);
    let batches = names(&root)
        .iter()
        .filter(|name| name.starts_with('w'))
        .count();
    assert_eq!(batches, 2);
}

#[test]
fn c10_the_catalog_survives_byte_for_byte() {
    let root = Root::new();
    let store = root.open();
    let first = checkpoint(&store, &[batch(&store, 50).unwrap()], 3).unwrap();
    let mut named = details(3);
    named.identifier = Some("before \"the\" change, ünïcode\n".to_owned());
    store.begin().unwrap().publish(named).unwrap();
    checkpoint(&store, &[], 3).unwrap();
    store.pin(first.uuid(), true).unwrap();
    let entries = store.entries();
    assert!(entries[0].pinned);
    drop(store);
    let bytes = fs::read(root.file(paths::CATALOG)).unwrap();
    // Once as it is, and once with garbage to collect.
    for _ in 0..2 {
        let store = root.open();
        assert_eq!(store.entries(), entries);
        assert_eq!(fs::read(root.file(paths::CATALOG)).unwrap(), bytes);
        stray_batch(&root, 7);
    }
}

#[test]
fn c11_an_unknown_checkpoint_is_not_found() {
    let (root, uuid, name) = with_checkpoint();
    let store = root.open();
    let unknown = Uuid::now_v7();
    let errors = [
        store.read(unknown).unwrap_err(),
        store.entry(unknown).unwrap_err(),
        store.hold(unknown).unwrap_err(),
        store.pin(unknown, true).unwrap_err(),
        store.set_identifier(unknown, None).unwrap_err(),
        store.remove(unknown).unwrap_err(),
        store.quarantine(unknown, "x").unwrap_err(),
        store.verify(unknown, &mut |_| {}).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
        assert!(error.to_string().contains(&unknown.to_string()), "{error}");
    }
    let saved = store.read(uuid).unwrap();
    assert_eq!(saved.state("other.dat").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(
        saved.open_batch("w0-x.feldera").unwrap_err().kind(),
        Kind::NotFound
    );
    assert_eq!(saved.open_batch(&name).unwrap().size_bytes(), 5000);
    drop(saved);
    // A folder without marker is no checkpoint.
    fs::remove_file(root.file(&uuid.to_string()).join(paths::MARKER)).unwrap();
    let error = store.read(uuid).unwrap_err();
    assert!(
        error.is_damage() && error.to_string().contains(paths::MARKER),
        "{error}"
    );
}

#[test]
fn c12_what_was_not_published_vanishes_and_the_rest_stays() {
    let (root, uuid, name) = with_checkpoint();
    let committed = names(&root);
    let store = root.open();
    // As if the process had been killed: nothing is dropped.
    let mut new = store.begin().unwrap();
    new.write_state("state.json", b"{}").unwrap();
    let file = batch(&store, 60).unwrap();
    let writer = store.files().create(1).unwrap();
    assert_ne!(names(&root), committed);
    // The lock is released as the operating system would.
    let disk = root.contents();
    let killed = Root::new();
    for (path, bytes) in disk {
        let copy = killed.path.join(path.strip_prefix(&root.path).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, bytes).unwrap();
    }
    fs::write(killed.file(&paths::unfinished(paths::CATALOG)), "[").unwrap();
    let reopened = killed.open();
    assert_eq!(names(&killed), committed);
    assert!(reopened.read(uuid).is_ok() && killed.file(&name).exists());
    // Without being killed they go when they are dropped.
    drop((new, file, writer));
    assert_eq!(names(&root), committed);
}

#[test]
fn c14_another_program_shows_as_a_difference() {
    let root = Root::new();
    let store = root.open();
    let files: Vec<_> = (1..4)
        .map(|size| batch(&store, size * 10).unwrap())
        .collect();
    let first = checkpoint(&store, &files[..2], 2).unwrap().uuid();
    let mut new = store.begin().unwrap();
    files[1..]
        .iter()
        .for_each(|file| new.refer(Arc::clone(file)));
    new.write_state("state.json", b"{\"step\": 8}").unwrap();
    let mut other = details(2);
    other.fingerprint = 1;
    let second = new.publish(other).unwrap().uuid();
    let fingerprints = store
        .entries()
        .into_iter()
        .map(|entry| entry.metadata.fingerprint);
    assert_eq!(fingerprints.collect::<Vec<_>>(), [u64::MAX - 1, 1]);
    let [left, right] = [first, second].map(|uuid| store.manifest(uuid).unwrap());
    let difference = manifest::difference(&left, &right);
    let only = |list: &manifest::FileList| list.keys().cloned().collect::<Vec<_>>();
    assert_eq!(only(&difference.batches.only_left), [files[0].name()]);
    assert_eq!(only(&difference.batches.only_right), [files[2].name()]);
    assert_eq!(only(&difference.batches.both), [files[1].name()]);
    assert_eq!(only(&difference.state_files.only_left), ["pspine-0.dat"]);
    assert_eq!(only(&difference.state_files.changed), ["state.json"]);
}

#[test]
fn c16_a_second_process_is_told_who_has_the_root() {
    let (root, _, _) = with_checkpoint();
    let store = root.open();
    stray_batch(&root, 7);
    let before = root.contents();
    let error = root.try_open().unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    let process = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&process), "{error}");
    assert_eq!(root.contents(), before);
    drop(store);
    assert!(root.try_open().is_ok());
}

/// Where the child of the next test looks.
const CHILD_ROOT: &str = "HIGHWATER_TEST_ROOT";

#[test]
fn c16_a_second_process_of_the_system_is_told_as_well() {
    let (root, _, _) = with_checkpoint();
    let store = root.open();
    let before = root.contents();
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "catalog::c16_child", "--ignored", "--nocapture"])
        .env(CHILD_ROOT, &root.path)
        .output()
        .unwrap();
    let output = String::from_utf8(child.stdout).unwrap();
    let expected = format!("is in use by process {};", std::process::id());
    assert!(output.contains(&expected), "{output}");
    assert_eq!(root.contents(), before);
    drop(store);
}

#[test]
#[ignore = "the child of another test"]
fn c16_child() {
    if let Some(root) = std::env::var_os(CHILD_ROOT) {
        let opened = Store::open(Arc::new(LocalDisk), Path::new(&root));
        println!("{}", opened.unwrap_err());
    }
}
