//! Chunks of the HTTP egress.

use highwater_connectors::encode::OutputRelation;
use highwater_connectors::encode::egress::HttpEgress;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

fn egress(name: &str) -> HttpEgress {
    let columns = [("id", sql(Integer)), ("d", decimal(5, 2))];
    let relation = OutputRelation {
        schema: schema(&columns),
        key: Vec::new(),
    };
    HttpEgress::new(&format(name, Value::Null), relation).unwrap()
}

fn sample(weights: Vec<i64>) -> highwater_zset::Delta {
    let columns = [("id", sql(Integer)), ("d", decimal(5, 2))];
    let raw = format("json", json!({"update_format": "raw"}));
    let rows = decode(&raw, &table(&columns, &[]), b"[1, 2.5] [2, null]")
        .changes
        .rows;
    delta(rows, weights)
}

fn text(chunks: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let line = |chunk: Vec<u8>| {
        let line = String::from_utf8(chunk).unwrap();
        line.strip_suffix("\r\n").unwrap().to_owned()
    };
    chunks.into_iter().map(line).collect()
}

#[test]
fn snapshot_then_deltas() {
    let mut egress = egress("json");
    let keep_alive = egress.keep_alive();
    assert_eq!(
        text([keep_alive]),
        [r#"{"sequence_number":0,"snapshot":false}"#]
    );
    let chunks = text(egress.snapshot(&sample(vec![1, 2])).unwrap());
    assert_eq!(
        chunks,
        [
            r#"{"sequence_number":1,"snapshot":true,"json_data":[{"insert":{"id":1,"d":"2.50"}},{"insert":{"id":2,"d":null}},{"insert":{"id":2,"d":null}}]}"#
        ]
    );
    let chunks = text(egress.step(&sample(vec![1, -1]), 7).unwrap());
    assert_eq!(
        chunks,
        [
            r#"{"sequence_number":2,"snapshot":false,"json_data":[{"delete":{"id":2,"d":null}},{"insert":{"id":1,"d":"2.50"}}],"processed_steps":7}"#
        ]
    );
    let chunks = text(egress.step(&sample(vec![0, 0]), 8).unwrap());
    assert_eq!(
        chunks,
        [r#"{"sequence_number":3,"snapshot":false,"processed_steps":8}"#]
    );
    assert_eq!(text(egress.snapshot(&sample(vec![0, 0])).unwrap()), [""; 0]);
}

#[test]
fn only_the_last_chunk_closes_the_step() {
    let mut egress = egress("json");
    let chunks = text(egress.step(&sample(vec![100_000, 1]), 3).unwrap());
    assert!(chunks.len() > 2);
    let mut rows = 0;
    for (i, chunk) in chunks.iter().enumerate() {
        let chunk: Value = serde_json::from_str(chunk).unwrap();
        assert_eq!(chunk["sequence_number"], i);
        assert_eq!(
            chunk.get("processed_steps").is_some(),
            i == chunks.len() - 1
        );
        rows += chunk["json_data"].as_array().unwrap().len();
    }
    assert_eq!(rows, 100_001);
}

#[test]
fn csv_is_text() {
    let chunks = text(egress("csv").step(&sample(vec![1, -1]), 1).unwrap());
    assert_eq!(
        chunks,
        [
            r#"{"sequence_number":0,"snapshot":false,"text_data":"2,,-1\n1,2.50,1\n","processed_steps":1}"#
        ]
    );
    let columns = [("id", sql(Integer))];
    let relation = OutputRelation {
        schema: schema(&columns),
        key: Vec::new(),
    };
    let error = HttpEgress::new(&format("parquet", json!({})), relation)
        .err()
        .unwrap();
    assert_eq!(
        error.message,
        "unknown egress format `parquet`; known are `json`, `csv`"
    );
}
