//! Following relations.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::serve_program;

const PROGRAM: &str = "
    CREATE TABLE t (id INT NOT NULL PRIMARY KEY, grp VARCHAR, amount BIGINT) WITH ('materialized' = 'true');
    CREATE TABLE other (id INT) WITH ('materialized' = 'true');
    CREATE MATERIALIZED VIEW \"Sums\" AS SELECT grp, SUM(amount) AS total FROM t GROUP BY grp;
    CREATE VIEW big AS SELECT id FROM t WHERE amount > 100;
    CREATE LOCAL VIEW hidden AS SELECT id FROM t;
    CREATE VIEW unhidden AS SELECT id FROM hidden;
";

const JSON: &str = "/ingress/t?format=json&update_format=raw&array=true";

#[test]
fn a_snapshot_then_only_what_changes() {
    let served = serve_program(PROGRAM);
    served.insert(JSON, r#"[[1, "a", 10], [2, "a", 5], [3, "b", 1]]"#);
    let step = served.pipeline.contents().step();
    let mut lines = served.follow("/egress/%22Sums%22?format=json&send_snapshot=true");
    let first = lines.next().unwrap();
    assert_eq!(first["sequence_number"], 0);
    let snapshot = lines.until(step);
    let expected = [
        json!({"insert": {"grp": "a", "total": 15}}),
        json!({"insert": {"grp": "b", "total": 1}}),
    ];
    assert_eq!(snapshot, expected);
    served.insert(JSON, r#"[[2, "a", 6]]"#);
    let step = served.pipeline.contents().step();
    let expected = [
        json!({"delete": {"grp": "a", "total": 15}}),
        json!({"insert": {"grp": "a", "total": 16}}),
    ];
    assert_eq!(
        lines.until(step),
        expected,
        "deletions first, and nothing of group b"
    );
    served.insert("/ingress/other", "1\n");
    let step = served.pipeline.contents().step();
    assert!(
        lines.until(step).is_empty(),
        "a step that changes nothing is announced all the same"
    );
}

#[test]
fn tables_and_plain_views_are_followed_too() {
    let served = serve_program(PROGRAM);
    let mut table = served.follow("/egress/t?format=json");
    let mut view = served.follow("/egress/BIG?format=json");
    let mut unhidden = served.follow("/v0/pipelines/test/egress/unhidden?format=json");
    served.insert(JSON, r#"[[1, "a", 10], [2, null, 500]]"#);
    served.insert(JSON, r#"[[1, "a", 700]]"#);
    let step = served.pipeline.contents().step();
    let expected = [
        json!({"insert": {"id": 1, "grp": "a", "amount": 10}}),
        json!({"insert": {"id": 2, "grp": null, "amount": 500}}),
        json!({"delete": {"id": 1, "grp": "a", "amount": 10}}),
        json!({"insert": {"id": 1, "grp": "a", "amount": 700}}),
    ];
    assert_eq!(table.until(step), expected);
    assert_eq!(
        view.until(step),
        [json!({"insert": {"id": 2}}), json!({"insert": {"id": 1}})]
    );
    assert_eq!(unhidden.until(step).len(), 2);
    let outputs = served.get("/stats").ok()["outputs"].clone();
    let streams: Vec<_> = outputs
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["config"]["stream"].clone())
        .collect();
    assert_eq!(streams, ["big", "t", "unhidden"]);
    assert!(
        outputs[1]["endpoint_name"]
            .as_str()
            .unwrap()
            .starts_with("t.api-")
    );
}

#[test]
fn csv_has_the_weight_last_and_sequence_numbers_have_no_gaps() {
    let served = serve_program(PROGRAM);
    let mut lines = served.follow("/egress/t");
    served.insert(JSON, r#"[[1, "a", 10]]"#);
    served.insert(JSON, r#"[[1, null, 10]]"#);
    let step = served.pipeline.contents().step();
    let (mut text, mut number) = (String::new(), 0);
    loop {
        let chunk = lines.next().unwrap();
        assert_eq!(chunk["sequence_number"], number);
        number += 1;
        text.push_str(chunk["text_data"].as_str().unwrap_or(""));
        if chunk["processed_steps"]
            .as_u64()
            .is_some_and(|it| it >= step)
        {
            break;
        }
    }
    assert_eq!(text, "1,a,10,1\n1,a,10,-1\n1,,10,1\n");
}

#[test]
fn a_follower_leaves_and_is_forgotten() {
    let served = serve_program(PROGRAM);
    let lines = served.follow("/egress/t?format=json&backpressure=true");
    assert_eq!(
        served.get("/stats").ok()["outputs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    drop(lines);
    let start = Instant::now();
    while !served.get("/stats").ok()["outputs"]
        .as_array()
        .unwrap()
        .is_empty()
    {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "the follower is still there"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    // Nobody holds up the pipeline.
    served.insert(JSON, r#"[[1, "a", 10]]"#);
}

#[test]
fn a_quiet_stream_is_kept_alive_and_a_stop_ends_it() {
    let mut served = serve_program(PROGRAM);
    let mut lines = served.follow("/egress/t?format=json");
    lines.next().unwrap();
    let start = Instant::now();
    lines.next().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
    served.stop();
    while let Some(chunk) = lines.next() {
        assert!(chunk.get("error").is_none(), "{chunk}");
    }
}

#[test]
fn options_come_in_the_query_or_in_the_body() {
    let served = serve_program(PROGRAM);
    let body = r#"{"transport": {"name": "http_output", "config": {"backpressure": true}},
                   "format": {"name": "json", "config": {"array": true}}, "send_snapshot": true}"#;
    served
        .post("/egress/t?format=json", body)
        .error(400, "InvalidParam");
    served
        .post("/egress/t?format=xml", "")
        .error(400, "InvalidParam");
    served.post("/egress/t", "{}").error(400, "InvalidParam");
    served
        .post("/egress/big?send_snapshot=true", "")
        .error(400, "NotMaterialized");
    let unknown = "ConfigError.UnknownOutputStream";
    let message = served.post("/egress/sums", "").error(404, unknown);
    assert!(message.contains("did you mean `\"Sums\"`?"), "{message}");
    let message = served.post("/egress/hidden", "").error(404, unknown);
    assert!(message.contains("local view"), "{message}");
}
