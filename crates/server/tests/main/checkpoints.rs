//! Checkpoints over HTTP, as clients of the incumbent use them.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::{Served, serve_program, serve_stored};

const PROGRAM: &str = "
    CREATE TABLE t (id INT NOT NULL PRIMARY KEY, x BIGINT) WITH ('materialized' = 'true');
    CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) AS n, SUM(x) AS x FROM t;
";
const ROWS: &str = "/ingress/t?format=json&update_format=raw";

/// Waits as the incumbent's client does: until the status names this number or a greater one.
fn wait(served: &Served, response: &Value) {
    let (sequence, incarnation) = (
        response["checkpoint_sequence_number"].as_u64().unwrap(),
        response["incarnation_uuid"].as_str().unwrap(),
    );
    let began = Instant::now();
    loop {
        let path = format!("/checkpoint_status?incarnation_uuid={incarnation}");
        let status = served.get(&path).ok();
        assert_eq!(status["failure"], Value::Null);
        if status["success"].as_u64() >= Some(sequence) {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{status}");
    }
}

#[test]
fn checkpoints_are_asked_for_listed_and_gone_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve_stored(PROGRAM, folder.path());
    assert_eq!(served.get("/checkpoints").ok(), json!([]));
    assert_eq!(
        served.get("/status").ok()["storage_status_details"],
        json!({"checkpoints": []})
    );
    assert_eq!(
        served.get("/suspendable").ok(),
        json!({"suspendable": true, "reasons": []})
    );
    for id in 1..=2 {
        served.insert(ROWS, &format!(r#"{{"id": {id}, "x": 10}}"#));
        let response = served.post("/v0/pipelines/test/checkpoint", "").ok();
        assert_eq!(response["checkpoint_sequence_number"], id);
        wait(&served, &response);
    }
    let listed = served.get("/checkpoints").ok();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert!(
        listed[0]["uuid"].as_str() < listed[1]["uuid"].as_str(),
        "in order of time"
    );
    assert_eq!(listed[1]["processed_records"], 2);
    assert!(listed[0]["fingerprint"].is_u64() && listed[0]["size"].as_u64() > Some(0));
    let details = served.get("/status").ok()["storage_status_details"]["checkpoints"].clone();
    assert_eq!(details.as_array().unwrap().len(), 2);
    let stats = served.get("/stats").ok();
    assert_eq!(stats["checkpoint_activity"], json!({"status": "idle"}));
    assert_eq!(stats["suspend_error"], Value::Null);
    assert!(
        served
            .get("/metrics")
            .text()
            .contains("\ncheckpoint_successes_total 2\n")
    );
    let token = served.post(ROWS, r#"{"id": 3, "x": 1}"#).ok()["token"].clone();
    drop(served);

    let served = serve_stored(PROGRAM, folder.path());
    assert_eq!(
        served.query("SELECT n, x FROM v"),
        [json!({"n": 2, "x": 20})]
    );
    let path = format!("/completion_status?token={}", token.as_str().unwrap());
    served.get(&path).error(410, "PipelineRestarted");
}

#[test]
fn p9_another_incarnation_is_refused_with_both() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve_stored(PROGRAM, folder.path());
    let requested = Uuid::now_v7();
    let path = format!("/checkpoint_status?incarnation_uuid={requested}");
    let reply = served.get(&path);
    let message = reply.error(400, "IncarnationUuidMismatch");
    let expected = served.pipeline.incarnation();
    assert!(message.contains(&requested.to_string()) && message.contains(&expected.to_string()));
    let details = json!({"requested": requested, "expected": expected});
    assert_eq!(reply.json()["details"], details);
    assert_eq!(
        served.get("/checkpoint_status").ok(),
        json!({"success": null, "failure": null})
    );
    served
        .get("/checkpoint_status?incarnation_uuid=x")
        .error(400, "InvalidParam");
}

#[test]
fn p4_without_storage_it_is_required() {
    let served = serve_program(PROGRAM);
    let message = served.post("/checkpoint", "").error(400, "StorageRequired");
    assert!(message.contains("--storage"), "{message}");
    served.post("/suspend", "").error(400, "StorageRequired");
    let reasons = json!({"suspendable": false, "reasons": ["StorageRequired"]});
    assert_eq!(served.get("/suspendable").ok(), reasons);
    assert_eq!(served.get("/checkpoints").ok(), json!([]));
    served.get("/checkpoints/remote").error(400, "NoBucket");
    let stats = served.get("/stats").ok();
    assert_eq!(
        stats["suspend_error"],
        json!({"Permanent": ["StorageRequired"]})
    );
}

#[test]
fn p2_a_suspension_keeps_every_row_that_was_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut accepted = 0;
    for round in 0..3 {
        let served = serve_stored(PROGRAM, folder.path());
        for _ in 0..20 {
            let row = format!(r#"{{"id": {accepted}, "x": 1}}"#);
            served.post(ROWS, row).ok();
            accepted += 1;
        }
        assert_eq!(served.post("/suspend", "").status, 202);
        assert_ne!(
            served.post(ROWS, r#"{"id": 999, "x": 1}"#).status,
            200,
            "too late"
        );
        let began = Instant::now();
        while served.get("/stats").status == 200 {
            assert!(began.elapsed() < Duration::from_secs(20));
        }
        drop(served);
        let served = serve_stored(PROGRAM, folder.path());
        let rows = served.query("SELECT n FROM v");
        assert_eq!(rows, [json!({"n": accepted})], "round {round}");
    }
}

#[test]
fn p3_a_transaction_delays_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve_stored(PROGRAM, folder.path());
    served.post("/start_transaction", "").ok();
    let response = served.post("/checkpoint", "").ok();
    let activity = served.get("/stats").ok()["checkpoint_activity"].clone();
    assert_eq!(activity["status"], "delayed");
    assert_eq!(activity["reasons"], json!(["TransactionInProgress"]));
    assert!(
        activity["delayed_since"].as_str().unwrap().ends_with('Z'),
        "{activity}"
    );
    served.post("/commit_transaction", "").ok();
    wait(&served, &response);
}

#[test]
fn a_difference_is_told_beforehand_and_new_views_are_computed() {
    let folder = tempfile::tempdir().unwrap();
    let served = serve_stored(PROGRAM, folder.path());
    for id in 0..5 {
        served.insert(ROWS, &format!(r#"{{"id": {id}, "x": {id}}}"#));
    }
    let response = served.post("/checkpoint", "").ok();
    wait(&served, &response);
    let changed = format!(
        "{PROGRAM} CREATE MATERIALIZED VIEW w AS SELECT id % 2 AS odd, MAX(x) AS x FROM t GROUP BY id % 2;"
    );
    let body = json!({"program_code": changed}).to_string();
    let diff = served.post_json("/diff", &body).ok();
    assert_eq!(diff["program_diff"]["added_views"], json!(["w"]));
    assert_eq!(diff["program_diff"]["modified_views"], json!([]));
    assert_eq!(
        diff["bootstrapped_views"],
        json!([{"view": "w", "rows": 5}])
    );
    let bad = json!({"program_code": "CREATE VIEW w AS SELECT nothing FROM t"}).to_string();
    served
        .post_json("/diff", &bad)
        .error(400, "InvalidNewProgramSql");
    served.post_json("/diff", "{").error(400, "InvalidParam");
    served.post("/diff", "{}").error(400, "InvalidParam");
    drop(served);
    let served = serve_stored(&changed, folder.path());
    let rows = served.query("SELECT odd, x FROM w ORDER BY odd");
    assert_eq!(rows, [json!({"odd": 0, "x": 4}), json!({"odd": 1, "x": 3})]);
    assert_eq!(served.query("SELECT n FROM v"), [json!({"n": 5})]);
    served.insert(ROWS, r#"{"id": 6, "x": 60}"#);
    let rows = served.query("SELECT odd, x FROM w ORDER BY odd");
    assert_eq!(
        rows,
        [json!({"odd": 0, "x": 60}), json!({"odd": 1, "x": 3})]
    );
}
