//! Ad-hoc queries and their formats.

use std::io::Cursor;

use arrow::ipc::reader::StreamReader;
use highwater_pipeline::Settings;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::client::{encode, serve_program, serve_with};

const PROGRAM: &str = "
    CREATE TABLE t (id INT NOT NULL PRIMARY KEY, name VARCHAR) WITH ('materialized' = 'true');
    CREATE TABLE keyed (id INT NOT NULL PRIMARY KEY);
    CREATE TABLE unkept (id INT);
    CREATE VIEW plain AS SELECT id FROM t;
    CREATE MATERIALIZED VIEW names AS SELECT name, COUNT(*) AS n FROM t GROUP BY name;
";

fn path(format: &str, sql: &str) -> String {
    format!("/query?format={format}&sql={}", encode(sql))
}

#[test]
fn text_is_a_grid() {
    let served = serve_program(PROGRAM);
    let empty = served.get(&path("text", "SELECT id, name FROM t"));
    assert_eq!(empty.content_type, "text/plain");
    assert_eq!(
        empty.text(),
        "+----+------+\n| id | name |\n+----+------+\n+----+------+\n"
    );
    served.insert("/ingress/t", &format!("1,a\n2,\n3,{}\n", "x".repeat(100)));
    let grid = served.get(&format!(
        "/query?sql={}",
        encode("SELECT id, name FROM t ORDER BY id")
    ));
    let lines: Vec<&str> = grid.text().lines().collect();
    assert!(lines[3].starts_with("| 1  | a "), "{}", grid.text());
    assert!(lines[4].starts_with("| 2  | NULL"), "{}", grid.text());
    assert!(
        lines[5].contains(&format!("| {}... |", "x".repeat(61))),
        "{}",
        grid.text()
    );
    let failed = served.get(&path("text", "SELECT 1 / (id - id) FROM t"));
    assert_eq!(failed.status, 200);
    assert!(
        failed.text().lines().any(|line| line.starts_with("ERROR")),
        "{}",
        failed.text()
    );
}

#[test]
fn json_is_a_line_per_row() {
    let served = serve_program(PROGRAM);
    served.insert("/ingress/t", "1,a\n2,\n");
    let reply = served.get(&path("json", "SELECT id, name FROM t ORDER BY id"));
    assert_eq!(reply.content_type, "application/json");
    assert_eq!(
        reply.text(),
        "{\"id\":1,\"name\":\"a\"}\n{\"id\":2,\"name\":null}\n"
    );
    let failed = served.get(&path("json", "SELECT 1 / (id - id) FROM t"));
    assert!(failed.json()["error"].is_string(), "{}", failed.text());
}

#[test]
fn arrow_and_parquet_hold_the_rows() {
    let settings = Settings {
        workers: 2,
        ..Settings::default()
    };
    let served = serve_with(PROGRAM, settings);
    let rows: String = (0..3_000).map(|id| format!("{id},n{}\n", id % 7)).collect();
    served.insert("/ingress/t", &rows);
    let sql = "SELECT id, name FROM t ORDER BY id";
    let reply = served.get(&path("arrow_ipc", sql));
    assert_eq!(reply.content_type, "application/octet-stream");
    let reader = StreamReader::try_new(Cursor::new(&reply.bytes), None).unwrap();
    let count: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(count, 3_000);
    let reply = served.get(&path("parquet", sql));
    assert_eq!(reply.content_type, "application/octet-stream");
    let again = served.get(&path("parquet", sql));
    assert_eq!(reply.bytes, again.bytes);
    let file = bytes::Bytes::from(reply.bytes);
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    let count: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(count, 3_000);
    let failed = served.get(&path("arrow_ipc", "SELECT 1 / (id - id) FROM t"));
    let broken = StreamReader::try_new(Cursor::new(&failed.bytes), None);
    assert!(broken.is_err(), "nobody takes it for an empty result");
    served
        .get(&path("parquet", "SELECT 1 / (id - id) FROM t"))
        .error(400, "AdHocQueryError");
}

#[test]
fn mistakes_are_400() {
    let served = serve_program(PROGRAM);
    let check = |sql: &str, expected: &str| {
        let message = served.get(&path("text", sql)).error(400, "AdHocQueryError");
        assert!(message.contains(expected), "{message}");
    };
    check("SELEC 1", "SELEC");
    check("SELECT * FROM nowhere", "nowhere");
    check("SELECT * FROM unkept", "materialized");
    check("SELECT * FROM plain", "materialized");
    check("SELECT nam FROM t", "nam");
    served
        .get(&path("xml", "SELECT 1"))
        .error(400, "InvalidParam");
    served.get("/query").error(400, "InvalidParam");
}

#[test]
fn a_table_with_a_key_is_kept_anyway() {
    let served = serve_program(PROGRAM);
    served.insert("/ingress/keyed", "1\n2\n1\n");
    assert_eq!(
        served.query("SELECT COUNT(*) AS n FROM keyed"),
        [json!({"n": 2})]
    );
}

#[test]
fn queries_work_while_paused() {
    let served = serve_program(PROGRAM);
    served.insert("/ingress/t", "1,a\n");
    served.post("/pause", "");
    assert_eq!(served.query("SELECT n FROM names"), [json!({"n": 1})]);
}
