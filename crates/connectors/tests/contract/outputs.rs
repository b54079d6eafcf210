//! Output connectors: files that are written step by step and cut back to where they were.

use highwater_connectors::output::{OutputConnector, Transmitted};
use highwater_types::connector::ConnectorConfig;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

fn columns() -> Vec<(&'static str, highwater_types::relation::ColumnType)> {
    vec![("id", sql(Integer)), ("name", sql(Varchar))]
}

fn open(config: &ConnectorConfig, start: Option<Value>) -> OutputConnector {
    OutputConnector::open(
        config,
        &relation(&columns(), &[]),
        schema(&columns()),
        start,
    )
    .unwrap()
}

fn step_delta(step: u64) -> highwater_zset::Delta {
    let text = format!("[{step}, \"a\"] [{step}, null]");
    let raw = format("json", json!({"update_format": "raw"}));
    let rows = decode(&raw, &table(&columns(), &[]), text.as_bytes())
        .changes
        .rows;
    delta(rows, vec![2, -1])
}

#[test]
fn a_file_is_the_same_with_and_without_restarts() {
    let directory = tempfile::tempdir().unwrap();
    for output in [
        format("json", json!({})),
        format("json", json!({"array": true})),
        format("csv", json!({"headers": true})),
        format("arrow_ipc", json!({})),
    ] {
        let path = directory.path().join("out");
        let config = connector("file_output", json!({ "path": path }), Some(output.clone()));
        let mut straight = open(&config, None);
        for step in 0..4 {
            straight.write(step, &step_delta(step)).unwrap();
            straight.step_done(step).unwrap();
        }
        let expected = std::fs::read(&path).unwrap();
        let mut connector = open(&config, None);
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            0,
            "a new pipeline starts anew"
        );
        for step in 0..4 {
            let transmitted = connector.write(step, &step_delta(step)).unwrap();
            assert_eq!(transmitted.records, 3);
            connector.step_done(step).unwrap();
            let position = connector.position();
            // Written, but the step is not done when the process ends.
            connector.write(step + 1, &step_delta(99)).unwrap();
            drop(connector);
            connector = open(&config, Some(position));
        }
        drop(connector);
        assert_eq!(std::fs::read(&path).unwrap(), expected, "{output:?}");
    }
}

#[test]
fn rows_are_there_when_the_step_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.csv");
    let config = connector(
        "file_output",
        json!({ "path": path }),
        Some(format("csv", json!({}))),
    );
    let mut connector = open(&config, None);
    let transmitted = connector.write(0, &step_delta(0)).unwrap();
    connector.step_done(0).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, "0,,-1\n0,a,2\n");
    assert_eq!(
        transmitted,
        Transmitted {
            records: 3,
            bytes: written.len() as u64
        }
    );
}

#[test]
fn null_output_counts() {
    let mut connector = open(&connector("null_output", json!({}), None), None);
    let transmitted = connector.write(0, &step_delta(0)).unwrap();
    assert_eq!(
        transmitted,
        Transmitted {
            records: 3,
            bytes: 0
        }
    );
    connector.step_done(0).unwrap();
}

#[test]
fn errors_say_what_is_wrong() {
    let failure = |config: &ConnectorConfig, start| {
        let relation = relation(&columns(), &[]);
        let opened = OutputConnector::open(config, &relation, schema(&columns()), start);
        opened.err().unwrap().to_string()
    };
    let csv = || Some(format("csv", json!({})));
    let nowhere = connector("file_output", json!({"path": "/no/such/place"}), csv());
    assert_eq!(
        failure(&nowhere, None),
        "cannot open for writing `/no/such/place`"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out");
    let config = connector("file_output", json!({ "path": path }), csv());
    let position = json!({"bytes": 10, "steps": 1});
    assert!(failure(&config, Some(position)).contains("truncated or replaced"));
    let no_format = connector("file_output", json!({ "path": path }), None);
    assert!(failure(&no_format, None).contains("needs a format"));
    let avro = connector(
        "file_output",
        json!({ "path": path }),
        Some(format("avro", json!({}))),
    );
    assert!(failure(&avro, None).contains("`arrow_ipc`, `csv`, `json`"));
}
