//! Catalog, manifest, collection.

use std::sync::Arc;

use crate::support::{Root, batch, checkpoint};

#[test]
fn c01_files_are_listed_and_verified_and_a_lost_one_is_named() {
    let root = Root::new();
    let store = root.open();
    let file = batch(&store, 5000).unwrap();
    let entry = checkpoint(&store, &[Arc::clone(&file)], 2).unwrap();
    assert_eq!(entry.metadata.size, Some(5000 + 100 + 11));
    let saved = store.read(entry.uuid()).unwrap();
    assert_eq!(saved.manifest().batches.len(), 1);
    assert_eq!(saved.state("state.json").unwrap(), b"{\"step\": 7}");
    assert!(store.verify(entry.uuid(), &mut |_| {}).unwrap().is_good());
    let lost = root
        .path
        .join(entry.uuid().to_string())
        .join("pspine-0.dat");
    std::fs::remove_file(&lost).unwrap();
    let verification = store.verify(entry.uuid(), &mut |_| {}).unwrap();
    let damages: Vec<String> = verification
        .damages
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(damages.len(), 1);
    assert!(damages[0].contains("pspine-0.dat"), "{damages:?}");
}
