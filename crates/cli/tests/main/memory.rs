//! State five times as large as the bound on memory, on the release binary: without optimisation a
//! gigabyte of rows takes minutes. `.ci/run` runs it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::text;

const MEMORY_MIB: u64 = 256;
/// Rows of some 740 bytes, which do not compress.
const ROWS: u64 = 2_000_000;

/// Loads the rows and keeps all of them, as a table with a key must.
fn program() -> String {
    let connector = format!(
        r#"[{{"name": "made", "transport": {{"name": "datagen", "config": {{"plan": [{{"limit": {ROWS}, "fields": {{
            "id": {{"strategy": "increment"}},
            "payload": {{"strategy": "uniform", "range": [600, 800]}}
        }}}}]}}}}}}]"#
    );
    format!(
        "CREATE TABLE events (id BIGINT NOT NULL PRIMARY KEY, payload VARCHAR NOT NULL)
         WITH ('connectors' = '{connector}');
         CREATE MATERIALIZED VIEW totals AS SELECT COUNT(*) AS events, SUM(id) AS ids FROM events;"
    )
}

/// Runs to the end of the input; what is printed, and the most memory that was used, in KiB.
fn run(binary: &str, program: &Path, storage: &Path) -> (String, u64) {
    let memory = format!("{MEMORY_MIB}MiB");
    let child = Command::new(binary)
        .args(["run", "--once", "--format", "csv", "--memory", &memory])
        .arg("--storage")
        .args([storage, program])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let sampler = std::thread::spawn(move || {
        let mut peak_kib = 0;
        // The line is gone when the process is.
        while let Some(kib) = peak_of(&status) {
            peak_kib = kib;
            std::thread::sleep(Duration::from_millis(5));
        }
        peak_kib
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout).to_owned(), sampler.join().unwrap())
}

fn peak_of(status: &str) -> Option<u64> {
    let status = fs::read_to_string(status).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap();
    let sizes = entries.map(|entry| {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => bytes_in(&entry.path()),
            false => entry.metadata().unwrap().len(),
        }
    });
    sizes.sum()
}

#[test]
#[ignore = "takes a gigabyte and the release binary, named in HIGHWATER_RELEASE; .ci/run runs it"]
fn memory_stays_bounded_with_five_times_as_much_state() {
    let binary = std::env::var("HIGHWATER_RELEASE").expect("HIGHWATER_RELEASE names the binary");
    let folder = tempfile::tempdir().unwrap();
    let (file, storage) = (folder.path().join("p.sql"), folder.path().join("state"));
    fs::write(&file, program()).unwrap();
    // The second run goes on from the checkpoint at the end of the first.
    for what in ["loaded", "restored"] {
        let (printed, peak_kib) = run(&binary, &file, &storage);
        let expected = format!("{ROWS},{}\n", ROWS * (ROWS - 1) / 2);
        assert!(printed.ends_with(&expected), "{printed}");
        let state_mib = bytes_in(&storage) >> 20;
        let peak_mib = peak_kib >> 10;
        println!("{what}: {state_mib} MiB of state, {peak_mib} MiB of memory");
        assert!(state_mib >= 5 * MEMORY_MIB, "{state_mib} MiB of state");
        assert!(peak_kib <= MEMORY_MIB << 10, "{peak_kib} KiB of memory");
    }
}
