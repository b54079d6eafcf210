//! Input and output connectors of a definition: files and made-up rows.

use std::fs;
use std::time::Duration;

use highwater_pipeline::{Pipeline, Settings};

use crate::bench::{Program, eventually, start, total_of};

async fn complete(pipeline: &Pipeline) {
    eventually("the pipeline is complete", || async {
        let metrics = pipeline.stats(false).await.unwrap().global_metrics;
        metrics.pipeline_complete
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_rows_arrive_and_end() {
    let program = Program {
        accounts_connectors: r#"[{"name": "gen", "transport": {"name": "datagen", "config":
            {"plan": [{"limit": 50000, "fields": {"id": {"strategy": "increment"},
                       "balance": {"strategy": "increment"}}}]}}}]"#,
        ..Program::default()
    };
    let pipeline = start(&program, Settings::default()).await;
    complete(&pipeline).await;
    assert_eq!(
        total_of(&pipeline.contents()),
        (50_000, Some(50_000 * 49_999 / 2))
    );
    let stats = pipeline.stats(false).await.unwrap();
    assert_eq!(stats.inputs[0].endpoint_name, "accounts.gen");
    assert_eq!(stats.inputs[0].config.stream, "accounts");
    assert!(stats.inputs[0].metrics.end_of_input);
    assert_eq!(stats.inputs[0].metrics.total_records, 50_000);
    let progress = pipeline.progress().await.unwrap();
    assert_eq!(progress[0].records, 50_000);
    assert!(progress[0].end_of_input);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_in_and_a_file_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("in.csv"), folder.path().join("out.csv"));
    fs::write(&source, "1,10\n2,oops\n2,20\n").unwrap();
    let config = |name: &str, transport: &str, path: &std::path::Path| {
        format!(
            r#"[{{"name": "{name}", "transport": {{"name": "{transport}", "config": {{"path": "{}"}}}},
                 "format": {{"name": "csv"}}}}]"#,
            path.display()
        )
    };
    let program = Program {
        log_connectors: config("file", "file_input", &source),
        copy_connectors: config("file", "file_output", &target),
        ..Program::default()
    };
    let pipeline = start(&program, Settings::default()).await;
    complete(&pipeline).await;
    let stats = pipeline.stats(true).await.unwrap();
    assert_eq!(stats.inputs[0].metrics.num_parse_errors, 1);
    let error = &stats.inputs[0].parse_errors.as_ref().unwrap()[0].message;
    assert!(
        error.contains("oops") && error.contains("line 2"),
        "{error}"
    );
    assert_eq!(stats.outputs[0].endpoint_name, "copy.file");
    assert_eq!(stats.outputs[0].metrics.transmitted_records, 2);
    assert_eq!(
        stats.outputs[0].metrics.total_processed_steps,
        stats.global_metrics.total_completed_steps
    );
    assert_eq!(fs::read_to_string(&target).unwrap(), "1,10,1\n2,20,1\n");
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_fails_its_connector_only() {
    let program = Program {
        log_connectors: r#"[{"name": "file", "transport": {"name": "file_input",
            "config": {"path": "/nowhere/in.csv"}}, "format": {"name": "csv"}}]"#
            .to_owned(),
        ..Program::default()
    };
    let pipeline = start(&program, Settings::default()).await;
    eventually("the connector has failed", || async {
        let status = pipeline.input_status("log.file").await.unwrap();
        status
            .fatal_error
            .is_some_and(|error| error.contains("/nowhere/in.csv"))
    })
    .await;
    assert!(pipeline.is_running().await.unwrap());
    assert!(
        !pipeline
            .stats(false)
            .await
            .unwrap()
            .global_metrics
            .pipeline_complete
    );
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connectors_wait_for_labels_and_for_their_users() {
    let program = Program {
        accounts_connectors: r#"[
            {"name": "second", "start_after": "base", "transport": {"name": "datagen", "config":
                {"plan": [{"limit": 10, "fields": {"id": {"strategy": "increment"},
                           "balance": {"values": [7]}}}]}}},
            {"name": "first", "labels": ["base"], "paused": true, "transport": {"name": "datagen", "config":
                {"plan": [{"limit": 10, "fields": {"id": {"strategy": "increment"},
                           "balance": {"values": [1]}}}]}}}]"#,
        ..Program::default()
    };
    let pipeline = start(&program, Settings::default()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let stats = pipeline.stats(false).await.unwrap();
    assert_eq!(stats.global_metrics.total_input_records, 0);
    assert!(
        stats.inputs[0].paused,
        "accounts.first comes first in order of names"
    );
    pipeline
        .set_input_paused("accounts.first", false)
        .await
        .unwrap();
    complete(&pipeline).await;
    // The second connector replaced all rows of the first.
    assert_eq!(total_of(&pipeline.contents()), (10, Some(70)));
    let token = pipeline.connector_token("accounts.first").await.unwrap();
    assert!(pipeline.completion(&token).await.unwrap().1);
    pipeline.stop().await;
}
