//! Pipelines on a storage root: what comes back after a kill, a stop, a suspension, damage.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_pipeline::{BootstrapPolicy, Error, OpenedStorage, Pipeline, Settings};
use highwater_storage::{Kind, LocalDisk};
use highwater_types::checkpoint::CheckpointActivity;

use crate::bench::{
    COPY, Program, completed, contents_of, definition, eventually, expected_total, push, total_of,
};
use crate::stored::{checkpoint, insert, settings, start_on};

/// [`killed`] or [`suspended`] ends it.
async fn start(program: &Program, settings: Settings, root: &Path) -> Pipeline {
    start_on(LocalDisk, root, program, settings).await.unwrap()
}

/// Nothing is saved any more: all that a kill would leave is left.
async fn killed(pipeline: Pipeline) {
    pipeline.stop().await;
}

async fn suspended(pipeline: Pipeline) {
    pipeline.suspend().await.unwrap();
    pipeline.ended().await;
}

async fn checkpointed(pipeline: &Pipeline) {
    checkpoint(pipeline).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_rounds_of_rows_checkpoints_kills_and_restarts() {
    // Rows of a round, whether a checkpoint follows, and with how many workers it runs.
    let rounds = [
        (5, true, 1),
        (0, true, 2),
        (7, false, 2),
        (3, true, 3),
        (4, false, 1),
        (0, false, 2),
        (2, true, 1),
        (1, true, 3),
    ];
    for ends_by_suspension in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (mut durable, mut files) = (0, 0);
        for (rows, with_checkpoint, workers) in rounds {
            let settings = Settings {
                workers,
                ..settings()
            };
            let pipeline = start(&Program::default(), settings, folder.path()).await;
            assert_eq!(total_of(&pipeline.contents()), expected_total(durable));
            insert(&pipeline, durable..durable + rows).await;
            assert_eq!(
                total_of(&pipeline.contents()),
                expected_total(durable + rows)
            );
            if with_checkpoint {
                checkpointed(&pipeline).await;
            }
            if with_checkpoint || ends_by_suspension {
                durable += rows;
            }
            match ends_by_suspension {
                true => suspended(pipeline).await,
                false => killed(pipeline).await,
            }
            files = files.max(fs::read_dir(folder.path()).unwrap().count());
        }
        assert!(files < 40, "{files} files: old ones are removed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p7_any_number_of_workers_continues_any_other() {
    for (before, after) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (4, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = 0;
        for workers in [before, after, before] {
            let settings = Settings {
                workers,
                ..settings()
            };
            let pipeline = start(&Program::default(), settings, folder.path()).await;
            assert_eq!(total_of(&pipeline.contents()), expected_total(rows));
            insert(&pipeline, rows..rows + 100).await;
            rows += 100;
            assert_eq!(total_of(&pipeline.contents()), expected_total(rows));
            suspended(pipeline).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_upserts_and_deletions_survive() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..6_i64 {
        let pipeline = start(&Program::default(), settings(), folder.path()).await;
        let input = pipeline.open_http_input(0, "api".to_owned()).await.unwrap();
        // Replaces all balances; deletes one account of the round before.
        let mut rows: Vec<_> = (0..4).map(|id| (id, round * 100 + id, 1)).collect();
        rows.push((100 + round, 1, 1));
        rows.push((99 + round, 0, -1));
        push(&input, &rows).await;
        completed(&pipeline, &input).await;
        let sum = 4 * round * 100 + 6 + 1;
        assert_eq!(
            total_of(&pipeline.contents()),
            (5, Some(sum)),
            "round {round}"
        );
        checkpointed(&pipeline).await;
        killed(pipeline).await;
    }
}

/// Sources go on where the checkpoint has them: a file that grows, a compressed one, made-up rows.
#[tokio::test(flavor = "multi_thread")]
async fn p1_sources_are_read_again_from_their_positions() {
    let folder = tempfile::tempdir().unwrap();
    let (root, source) = (folder.path().join("state"), folder.path().join("in.csv"));
    let mut lines = String::new();
    fs::write(&source, "").unwrap();
    let program = Program {
        accounts_connectors: r#"[{"name": "gen", "max_batch_size": 100, "transport": {"name": "datagen",
            "config": {"plan": [{"limit": 5000, "rate": 4000, "fields": {"id": {"strategy": "increment"},
                       "balance": {"strategy": "increment"}}}]}}}]"#,
        log_connectors: format!(
            r#"[{{"name": "file", "transport": {{"name": "file_input", "config": {{"path": "{}",
                 "follow": true}}}}, "format": {{"name": "csv"}}}}]"#,
            source.display()
        ),
        copy_connectors: format!(
            r#"[{{"name": "copy", "transport": {{"name": "file_output", "config": {{"path": "{}"}}}},
                 "format": {{"name": "csv"}}}}]"#,
            folder.path().join("out.csv").display()
        ),
        ..Program::default()
    };
    for round in 0..8 {
        let pipeline = start(&program, settings(), &root).await;
        for id in 0..50 {
            lines.push_str(&format!("{},{id}\n", round * 50 + id));
        }
        fs::write(&source, &lines).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if round % 3 != 2 {
            checkpointed(&pipeline).await;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        killed(pipeline).await;
    }
    let pipeline = start(&program, settings(), &root).await;
    eventually("all rows are there", || async {
        total_of(&pipeline.contents()).0 == 5_000
            && pipeline
                .output_status("copy.copy")
                .await
                .unwrap()
                .metrics
                .transmitted_records
                >= 400
    })
    .await;
    assert_eq!(
        total_of(&pipeline.contents()),
        (5_000, Some(5_000 * 4_999 / 2))
    );
    suspended(pipeline).await;
    // The output was cut back to the checkpoint each time: every row once.
    let written = fs::read_to_string(folder.path().join("out.csv")).unwrap();
    let ids = written
        .lines()
        .map(|line| line.split(',').next().unwrap().parse().unwrap());
    let mut ids: Vec<i64> = ids.collect();
    ids.sort_unstable();
    assert_eq!(ids, (0..400).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn p5_an_idle_pipeline_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    insert(&pipeline, 0..3).await;
    checkpointed(&pipeline).await;
    let before = names();
    checkpointed(&pipeline).await;
    assert_eq!(names(), before);
    killed(pipeline).await;
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    checkpointed(&pipeline).await;
    suspended(pipeline).await;
    assert_eq!(names(), before, "not after a restart either");
}

#[tokio::test(flavor = "multi_thread")]
async fn p9_the_status_of_another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    let before = pipeline.incarnation();
    suspended(pipeline).await;
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    let error = pipeline.checkpoint_status(Some(before)).await.unwrap_err();
    let now = pipeline.incarnation();
    let is_named = matches!(error, Error::IncarnationMismatch { requested, expected }
        if requested == before && expected == now);
    assert!(is_named, "{error}");
    assert!(pipeline.checkpoint_status(Some(now)).await.is_ok());
    killed(pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p10_configurations_of_connectors_never_reach_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let program = Program {
        log_connectors: r#"[{"name": "web", "transport": {"name": "url_input", "config":
            {"path": "http://127.0.0.1:9/?token=TABOO-7d1f"}}, "format": {"name": "csv"}}]"#
            .to_owned(),
        ..Program::default()
    };
    let pipeline = start(&program, settings(), &root).await;
    insert(&pipeline, 0..3).await;
    eventually("the address is tried", || async {
        pipeline.errors_total().await.unwrap() > 0
    })
    .await;
    checkpointed(&pipeline).await;
    suspended(pipeline).await;
    let mut files = 0;
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            files += 1;
            let bytes = fs::read(&path).unwrap();
            let has_it = bytes.windows(5).any(|window| window == b"TABOO");
            assert!(!has_it, "{} has a secret", path.display());
        }
    }
    assert!(files >= 6, "{files}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c05_a_damaged_checkpoint_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    insert(&pipeline, 0..3).await;
    checkpointed(&pipeline).await;
    insert(&pipeline, 3..5).await;
    checkpointed(&pipeline).await;
    let newest = pipeline.store().unwrap().entries().pop().unwrap().uuid();
    killed(pipeline).await;
    let state = folder.path().join(newest.to_string()).join("state.json");
    fs::write(&state, b"{}").unwrap();
    let storage = OpenedStorage::open(Arc::new(LocalDisk), folder.path()).unwrap();
    assert_eq!(storage.passed_over().len(), 1);
    assert!(storage.passed_over()[0].to_string().contains("state.json"));
    drop(storage);
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    assert_eq!(total_of(&pipeline.contents()), expected_total(3));
    insert(&pipeline, 3..4).await;
    checkpointed(&pipeline).await;
    suspended(pipeline).await;
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    assert_eq!(total_of(&pipeline.contents()), expected_total(4));
    killed(pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c14_a_changed_program_goes_on_by_policy() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    insert(&pipeline, 0..3).await;
    suspended(pipeline).await;
    let changed = Program {
        with_single: true,
        ..Program::default()
    };
    let storage = OpenedStorage::open(Arc::new(LocalDisk), folder.path()).unwrap();
    let diff = storage.difference(&definition(&changed), 0).unwrap();
    assert_eq!(diff.program_diff.unwrap().added_views, ["single"]);
    assert_eq!(diff.bootstrapped_views[0].tables_not_stored, ["log"]);
    let reject = Settings {
        bootstrap: BootstrapPolicy::Reject,
        ..settings()
    };
    drop(storage);
    let started = start_on(LocalDisk, folder.path(), &changed, reject).await;
    let error = started.err();
    let error = error.expect("it is refused");
    assert!(error.contains("new views: single"), "{error}");
    let started = start_on(LocalDisk, folder.path(), &changed, settings()).await;
    let error = started.err();
    let error = error.expect("the log was not kept");
    assert!(error.contains("table log"), "{error}");
    // Nothing was lost by trying.
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    assert_eq!(total_of(&pipeline.contents()), expected_total(3));
    killed(pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c16_a_second_process_is_told_who_has_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    let error = OpenedStorage::open(Arc::new(LocalDisk), folder.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Locked);
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
    killed(pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p3_activity_is_idle_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = start(&Program::default(), settings(), folder.path()).await;
    checkpointed(&pipeline).await;
    let stats = pipeline.stats(false).await.unwrap();
    assert_eq!(stats.checkpoint_activity, Some(CheckpointActivity::Idle));
    assert_eq!(stats.suspend_error, None);
    assert!(contents_of(&pipeline.contents(), COPY).is_empty());
    let counters = pipeline.checkpoint_counters().await.unwrap();
    assert_eq!(counters.successes, 1);
    killed(pipeline).await;
}
