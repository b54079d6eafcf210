//! Known bugs of other systems, planted in what a checkpoint holds: each must be noticed (X4).
//!
//! Bugs of the disk and of the store are planted in `highwater-sim`. Here are those of an engine that forgets
//! or confuses something: a checkpoint is altered as the bug would have written it, under right digests, and
//! the judges of the other tests look at the pipeline that goes on from it. `docs/internals/bug-museum.md` lists
//! all classes.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_pipeline::{Pipeline, Settings};
use highwater_storage::{CheckpointDetails, LocalDisk, Store, paths};
use serde_json::{Value, json};

use crate::bench::{Program, TOTAL, eventually, push, rows_of};
use crate::stored::{settings, start_on};

const WORKERS: usize = 2;

async fn start(program: &Program, root: &Path) -> Result<Pipeline, String> {
    let settings = Settings {
        workers: WORKERS,
        ..settings()
    };
    start_on(LocalDisk, root, program, settings).await
}

/// Writes the newest checkpoint again, with its state files as `change` leaves them.
fn alter(root: &Path, change: impl Fn(&str, &mut Value)) {
    let store = Store::open(Arc::new(LocalDisk), root).unwrap();
    let saved = store.newest_usable().unwrap().checkpoint.unwrap();
    let mut altered = store.begin().unwrap();
    for name in saved.manifest().state_files.keys() {
        let mut content: Value = serde_json::from_slice(&saved.state(name).unwrap()).unwrap();
        change(name, &mut content);
        altered
            .write_state(name, content.to_string().as_bytes())
            .unwrap();
    }
    for name in saved.manifest().batches.keys() {
        altered.refer(saved.open_batch(name).unwrap());
    }
    let details = CheckpointDetails {
        retain: 2,
        ..CheckpointDetails::default()
    };
    altered.publish(details).unwrap();
}

/// A source with 60 lines, and where its view's changes are written.
struct Scene {
    folder: tempfile::TempDir,
    program: Program,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connector = |name: &str, transport: &str, file: &str| {
            format!(
                r#"[{{"name": "{name}", "transport": {{"name": "{transport}", "config": {{"path": "{}"{}}}}},
                     "format": {{"name": "csv"}}}}]"#,
                folder.path().join(file).display(),
                if transport == "file_input" {
                    r#", "follow": true"#
                } else {
                    ""
                }
            )
        };
        let program = Program {
            log_connectors: connector("in", "file_input", "in.csv"),
            copy_connectors: connector("out", "file_output", "out.csv"),
            ..Program::default()
        };
        fs::write(folder.path().join("in.csv"), lines(0..30)).unwrap();
        Self { folder, program }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    /// Rows from HTTP and from the file, then a checkpoint and the end.
    async fn first_life(&self) {
        let pipeline = start(&self.program, &self.root()).await.unwrap();
        let rows = (0..40).map(|id| (id, 1, 1)).collect();
        insert(&pipeline, rows).await.unwrap();
        eventually("the file is read", || async {
            transmitted(&pipeline).await == 30
        })
        .await;
        pipeline.suspend().await.unwrap();
        pipeline.ended().await;
    }

    /// What the judges find wrong with the life that follows; empty if nothing.
    async fn second_life(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let pipeline = match start(&self.program, &self.root()).await {
            Ok(pipeline) => pipeline,
            Err(error) => return vec![error],
        };
        let mut judge = |what: &str, found: String, expected: String| {
            if found != expected {
                wrong.push(format!("{what}: {found}, not {expected}"));
            }
        };
        judge(
            "total at first",
            total(&pipeline),
            "[([Some(40), Some(40)], 1)]".to_owned(),
        );
        // Every account is replaced, so that every key is looked up.
        let rows = (0..40).map(|id| (id, 2, 1)).collect();
        if let Err(error) = insert(&pipeline, rows).await {
            return vec![error];
        }
        judge(
            "total of new balances",
            total(&pipeline),
            "[([Some(40), Some(80)], 1)]".to_owned(),
        );
        if !wrong.is_empty() {
            return wrong;
        }
        self.follow_the_file(&pipeline).await;
        pipeline.suspend().await.unwrap();
        pipeline.ended().await;
        let written = self.written();
        let mut ids: Vec<String> = written
            .lines()
            .map(|line| line.split(',').next().unwrap_or_default().to_owned())
            .collect();
        ids.sort_by_key(|id| id.parse::<i64>().unwrap_or(-1));
        let expected: Vec<String> = (0..60).map(|id| id.to_string()).collect();
        let (ids, expected) = (format!("{ids:?}"), format!("{expected:?}"));
        if ids != expected {
            wrong.push(format!("output: {ids}, not {expected}"));
        }
        wrong
    }

    /// Lets the source grow, and waits until its lines are in the output, or surely will not be.
    async fn follow_the_file(&self, pipeline: &Pipeline) {
        fs::write(self.folder.path().join("in.csv"), lines(0..60)).unwrap();
        for _ in 0..500 {
            if self.written().lines().any(|line| line.starts_with("59,")) {
                return;
            }
            // Steps, for outputs to be written at.
            insert(pipeline, Vec::new()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn written(&self) -> String {
        fs::read_to_string(self.folder.path().join("out.csv")).unwrap()
    }
}

/// Rows of the total, or why they cannot be read.
fn total(pipeline: &Pipeline) -> String {
    let parts = pipeline.contents().snapshots(TOTAL);
    let deltas: Result<Vec<_>, _> = parts.iter().map(|part| part.scan()).collect();
    match deltas {
        Ok(deltas) => format!("{:?}", rows_of(&deltas.concat())),
        Err(error) => error.to_string(),
    }
}

fn lines(ids: std::ops::Range<i64>) -> String {
    ids.map(|id| format!("{id},{id}\n")).collect()
}

/// Rows by HTTP, and the step that has them.
async fn insert(pipeline: &Pipeline, rows: Vec<(i64, i64, i64)>) -> Result<(), String> {
    let input = pipeline.open_http_input(0, "api".to_owned()).await.unwrap();
    push(&input, &rows).await;
    let token = pipeline.http_token(&input).await.unwrap();
    loop {
        match pipeline.completion(&token).await {
            Ok((_, true)) => return Ok(()),
            Ok(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn transmitted(pipeline: &Pipeline) -> u64 {
    let status = pipeline.output_status("copy.out").await.unwrap();
    status.metrics.transmitted_records
}

async fn check(bug: &str, is_bug: bool, change: impl Fn(&str, &mut Value)) {
    let scene = Scene::new();
    scene.first_life().await;
    alter(&scene.root(), change);
    let wrong = scene.second_life().await;
    assert_eq!(!wrong.is_empty(), is_bug, "{bug}: {wrong:?}");
    println!(
        "{bug}: {}",
        wrong.first().map_or("nothing is wrong", String::as_str)
    );
}

/// Changes a position in the pipeline's record by this much.
fn moved(pointer: &str, by: i64) -> impl Fn(&str, &mut Value) {
    move |name, content| {
        if name == paths::PIPELINE_STATE {
            let position = content.pointer_mut(pointer).unwrap();
            *position = json!(position.as_i64().unwrap() + by);
        }
    }
}

fn is_worker(name: &str) -> bool {
    (0..WORKERS).any(|worker| name == paths::worker_state(worker))
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_without_a_bug_nothing_is_wrong() {
    check("no bug", false, |_, _| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_f8_an_operator_that_was_never_saved() {
    // Each operator in turn: those whose state is not empty must be missed.
    let scene = Scene::new();
    scene.first_life().await;
    let spines = {
        let store = Store::open(Arc::new(LocalDisk), &scene.root()).unwrap();
        let saved = store.newest_usable().unwrap().checkpoint.unwrap();
        let state: Value =
            serde_json::from_slice(&saved.state(&paths::worker_state(0)).unwrap()).unwrap();
        state["spines"].as_array().unwrap().len()
    };
    assert!(spines >= 3, "{spines}");
    for spine in 0..spines {
        check(&format!("F8, spine {spine}"), true, |name, content| {
            if is_worker(name) {
                content["spines"][spine]["batches"] = json!([]);
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_f9_state_that_is_dealt_out_differently() {
    check("F9", true, |name, content| {
        if !is_worker(name) {
            return;
        }
        // Each worker gets the other one's range of hashes of the keyed table.
        let middle = u64::MAX / 2;
        let worker = content["worker"].as_u64().unwrap();
        let range = if worker == 0 {
            json!([middle, u64::MAX])
        } else {
            json!([0, middle])
        };
        for spine in content["spines"].as_array_mut().unwrap() {
            for batch in spine["batches"].as_array_mut().unwrap() {
                batch["hashes"] = range.clone();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_f11_a_source_that_is_ahead_of_the_state() {
    check("F11", true, moved("/inputs/log.in/position/offset", 6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_p4_a_source_that_is_behind_the_state() {
    check("P4", true, moved("/inputs/log.in/position/offset", -6)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_f16_an_output_whose_place_was_guessed() {
    for shift in [-7_i64, -14] {
        let change = moved("/outputs/copy.out/position/bytes", shift);
        check("F16", true, change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_p1_a_checkpoint_whose_parts_are_of_two_steps() {
    check("P1", true, |name, content| {
        if name == paths::worker_state(1) {
            for spine in content["spines"].as_array_mut().unwrap() {
                spine["batches"] = json!([]);
            }
        }
    })
    .await;
}
