//! Batch files are Arrow files: another implementation reads them.
//!
//! `.ci/run` installs pyarrow and names its Python in `HIGHWATER_PYTHON`. Without that variable the test
//! looks for one that happens to be there.

use std::process::Command;

use serde_json::Value;

use super::{PEOPLE, PROGRAM, folder, highwater, text};

#[test]
fn pyarrow_reads_batch_files() {
    let asked = std::env::var("HIGHWATER_PYTHON").ok();
    let python = asked.clone().unwrap_or_else(|| "python3".to_owned());
    let found = Command::new(&python)
        .args(["-c", "import pyarrow"])
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        assert!(asked.is_none(), "{python} has no pyarrow");
        println!("skipped: {python} has no pyarrow, and HIGHWATER_PYTHON names no other");
        return;
    }
    let (folder, file) = folder(PROGRAM, PEOPLE);
    let root = folder.path().join("state");
    let root = root.to_str().unwrap();
    let output = highwater(&["run", "--once", "--storage", root], &file);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/read_with_pyarrow.py");
    let output = Command::new(python).args([script, root]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let batches: Vec<Value> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(batches.iter().all(|batch| batch["version"] == "1"));
    let columns = serde_json::json!(["id", "team", "points", "__weight"]);
    let people = batches.iter().find(|batch| batch["columns"] == columns);
    let people = people.unwrap_or_else(|| panic!("the table is not there: {batches:?}"));
    assert_eq!((&people["rows"], &people["weight"]), (&4.into(), &4.into()));
    let first: u64 = people["first"]["id"].as_str().unwrap().parse().unwrap();
    assert!((1..=4).contains(&first));
}
