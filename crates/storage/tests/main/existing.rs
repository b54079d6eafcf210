//! Opening a root to change its list of checkpoints, with no engine running.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use highwater_storage::error::Kind;
use highwater_storage::{Disk, LocalDisk, Result, Store, paths};
use uuid::Uuid;

use crate::memory::{Fault, MemoryDisk};
use crate::support::{Root, batch, checkpoint, names, uuids};

fn open_existing(root: &Root) -> Result<Store> {
    Store::open_existing(Arc::new(LocalDisk), &root.path)
}

#[test]
fn no_root_is_made_of_what_is_none() {
    let root = Root::new();
    let error = open_existing(&root).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("holds checkpoints"), "{error}");
    assert!(!root.path.exists());

    fs::create_dir(&root.path).unwrap();
    let error = open_existing(&root).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains(paths::CATALOG), "{error}");
    fs::write(root.file("notes.txt"), "mine").unwrap();
    assert_eq!(open_existing(&root).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(names(&root), ["notes.txt"], "not even a lock is made");
}

#[test]
fn c16_the_owner_is_named() {
    let root = Root::new();
    let engine = root.open();
    let error = open_existing(&root).unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    let id = std::process::id().to_string();
    assert!(error.to_string().contains(&id), "{error}");
    drop(engine);
    open_existing(&root).unwrap();
}

/// Garbage of all kinds; the checkpoints.
fn with_garbage(root: &Root) -> Vec<Uuid> {
    let store = root.open();
    for size_bytes in [10, 20] {
        checkpoint(&store, &[batch(&store, size_bytes).unwrap()], 9).unwrap();
    }
    let listed = uuids(&store);
    drop(store);
    let stray = paths::batch_file(0, Uuid::from_u128(7));
    fs::write(root.file(&stray), [0; 100]).unwrap();
    fs::write(root.file(&paths::unfinished(&stray)), [0; 1_000]).unwrap();
    let folder = root.file(&Uuid::from_u128(8).to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("pspine-0.dat"), [0; 10_000]).unwrap();
    listed
}

#[test]
fn nothing_is_deleted_before_the_plan_is_executed() {
    let root = Root::new();
    let listed = with_garbage(&root);
    let before = root.contents();
    let store = open_existing(&root).unwrap();
    let plan = store.plan_collection_alone(None).unwrap();
    assert_eq!(root.contents(), before);
    assert_eq!(plan.kept.len(), 2);
    assert_eq!(plan.freed_bytes(), 11_100);
    let report = store.collect(&plan).unwrap();
    assert!(report.failures.is_empty());
    assert_eq!(
        (report.folders, report.batches, report.unfinished),
        (1, 1, 1)
    );
    assert_eq!(report.freed_bytes, plan.freed_bytes());

    let plan = store.plan_collection_alone(Some(1)).unwrap();
    assert_eq!(plan.dropped, listed[..1]);
    store.collect(&plan).unwrap();
    assert!(store.plan_collection_alone(Some(1)).unwrap().is_empty());
    drop(store);
    let engine = root.open();
    assert_eq!(uuids(&engine), listed[1..]);
    assert_eq!(engine.opening().removed.freed_bytes, 0);
}

#[test]
fn who_only_looks_does_not_know_what_is_garbage() {
    let root = Root::new();
    with_garbage(&root);
    let store = Store::open_read_only(Arc::new(LocalDisk), &root.path).unwrap();
    let error = store.plan_collection_alone(None).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn pins_names_and_removals_leave_garbage_to_whom_it_concerns() {
    let root = Root::new();
    let listed = with_garbage(&root);
    let count = names(&root).len();
    let store = open_existing(&root).unwrap();
    store.pin(listed[0], true).unwrap();
    store
        .set_identifier(listed[1], Some("good".to_owned()))
        .unwrap();
    assert_eq!(names(&root).len(), count);
    drop(store);
    let store = open_existing(&root).unwrap();
    assert!(store.entries()[0].pinned);
    assert_eq!(
        store.entries()[1].metadata.identifier.as_deref(),
        Some("good")
    );
    store.remove(listed[1]).unwrap();
    assert_eq!(uuids(&store), listed[..1]);
}

/// That the catalog was read does not prove that it lasts.
#[test]
fn the_catalog_is_written_again_before_anything_is_deleted() {
    let disk = MemoryDisk::new();
    let path = Path::new("/state");
    let store = Store::open(Arc::new(disk.clone()), path).unwrap();
    checkpoint(&store, &[batch(&store, 10).unwrap()], 9).unwrap();
    drop(store);
    let stray = path.join(paths::batch_file(0, Uuid::from_u128(7)));
    disk.create(&stray).unwrap();
    let store = Store::open_existing(Arc::new(disk.clone()), path).unwrap();
    let plan = store.plan_collection_alone(None).unwrap();
    assert_eq!(plan.batches.len(), 1);
    // A removal needs no room, but a catalog does.
    disk.set_fault(Some(Fault::Full(disk.calls())));
    store.collect(&plan).unwrap_err();
    assert!(disk.paths().contains(&stray));
    disk.set_fault(None);
    store.collect(&plan).unwrap();
    assert!(!disk.paths().contains(&stray));
}
