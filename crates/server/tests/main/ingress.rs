//! Rows in, in every format; bad rows; back-pressure; names.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use highwater_pipeline::Settings;
use serde_json::json;

use crate::client::{serve_program, serve_with};

const PROGRAM: &str = "
    CREATE TABLE t (id INT NOT NULL PRIMARY KEY, name VARCHAR) WITH ('materialized' = 'true');
    CREATE TABLE bag (id INT NOT NULL, name VARCHAR) WITH ('materialized' = 'true');
    CREATE TABLE \"Big Table/1\" (\"Id\" INT NOT NULL, id2 INT) WITH ('materialized' = 'true');
    CREATE TABLE log (id INT) WITH ('append_only' = 'true', 'materialized' = 'true');
    CREATE MATERIALIZED VIEW v AS SELECT COUNT(*) AS rows FROM t;
";

#[test]
fn every_format_is_taken() {
    let served = serve_program(PROGRAM);
    served.insert("/ingress/t", "1,one\n2,two\r\n");
    served.insert(
        "/ingress/t?format=csv&headers=true&delimiter=;",
        "name;id\nthree;3\n",
    );
    served.insert(
        "/ingress/t?format=json",
        r#"{"insert": {"id": 4, "name": "four"}} {"delete": {"id": 1}}"#,
    );
    served.insert(
        "/ingress/t?format=json&update_format=raw",
        "{\"id\": 5, \"name\": \"five\"}\n[6, null]\n",
    );
    served.insert(
        "/ingress/T?format=json&update_format=raw&array=true",
        r#"[{"id": 7}, {"ID": 8, "name": "eight"}]"#,
    );
    served.insert(
        "/ingress/t?format=json",
        r#"{"update": {"id": 2, "name": "TWO"}}"#,
    );
    served.insert(
        "/ingress/t?format=json&update_format=weighted",
        r#"{"weight": -1, "data": {"id": 7}}"#,
    );
    served.insert(
        "/ingress/t?format=json&update_format=debezium",
        r#"{"payload": {"op": "u", "before": {"id": 8}, "after": {"id": 9, "name": "nine"}}}"#,
    );
    served.insert(
        "/v0/pipelines/test/ingress/t?format=json&update_format=raw",
        r#"{"id": 10, "name": "ten"}"#,
    );
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("name", DataType::Utf8, true),
    ]));
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![11])),
        Arc::new(StringArray::from(vec!["eleven"])),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    let stream = writer.into_inner().unwrap();
    let token = served.post("/ingress/t?format=arrow_ipc", &stream).ok()["token"].clone();
    served.wait(token.as_str().unwrap());
    let expected = [
        json!({"id": 2, "name": "TWO"}),
        json!({"id": 3, "name": "three"}),
        json!({"id": 4, "name": "four"}),
        json!({"id": 5, "name": "five"}),
        json!({"id": 6, "name": null}),
        json!({"id": 9, "name": "nine"}),
        json!({"id": 10, "name": "ten"}),
        json!({"id": 11, "name": "eleven"}),
    ];
    assert_eq!(served.query("SELECT id, name FROM t ORDER BY id"), expected);
}

#[test]
fn bad_rows_are_told_and_the_good_ones_taken() {
    let served = serve_program(PROGRAM);
    let body = "{\"id\": 1}\n{\"id\": \"x\"}\n{\"id\": null}\nnonsense\n{\"id\": 2}\n";
    let reply = served.post("/ingress/bag?format=json&update_format=raw", body);
    let message = reply.error(400, "ParseErrors");
    assert!(
        message.starts_with("Errors parsing input data (3 errors):"),
        "{message}"
    );
    let details = &reply.json()["details"];
    assert_eq!(details["num_errors"], 3);
    assert_eq!(details["errors"].as_array().unwrap().len(), 3);
    assert_eq!(details["errors"][0]["field"], "id");
    assert_eq!(details["errors"][0]["event_number"], 2);
    let good = served.post("/ingress/bag?format=json&update_format=raw", "");
    served.wait(good.ok()["token"].as_str().unwrap());
    assert_eq!(
        served.query("SELECT id FROM bag ORDER BY id"),
        [json!({"id": 1}), json!({"id": 2})]
    );
    let stats = served.get("/stats?include_connector_errors=true").ok();
    let input = &stats["inputs"][0];
    assert_eq!(input["config"]["stream"], "bag");
    assert_eq!(input["metrics"]["num_parse_errors"], 3);
    assert_eq!(input["parse_errors"].as_array().unwrap().len(), 3);
    assert_eq!(
        served.get("/status").ok()["runtime_status_details"]["connector_stats"]["num_errors"],
        3
    );
}

#[test]
fn a_bad_element_drops_its_array() {
    let served = serve_program(PROGRAM);
    let path = "/ingress/bag?format=json&update_format=raw&array=true";
    let reply = served.post(path, r#"[{"id": 1}, {"id": "x"}] [{"id": 2}]"#);
    reply.error(400, "ParseErrors");
    served.insert(path, "[]");
    assert_eq!(served.query("SELECT id FROM bag"), [json!({"id": 2})]);
}

#[test]
fn an_append_only_table_refuses_deletions() {
    let served = serve_program(PROGRAM);
    let reply = served.post(
        "/ingress/log?format=json",
        r#"{"insert": {"id": 1}} {"delete": {"id": 1}}"#,
    );
    let message = reply.error(400, "ParseErrors");
    assert!(message.contains("append-only"), "{message}");
    served.insert("/ingress/log?format=json", r#"{"insert": {"id": 2}}"#);
    assert_eq!(
        served.query("SELECT COUNT(*) AS n FROM log"),
        [json!({"n": 2})]
    );
}

#[test]
fn names_are_found_as_sql_says_and_mistakes_are_explained() {
    let served = serve_program(PROGRAM);
    served.insert(
        "/ingress/%22Big%20Table%2F1%22?format=json&update_format=raw",
        r#"{"Id": 1, "ID2": 2}"#,
    );
    assert_eq!(
        served.query("SELECT * FROM \"Big Table/1\""),
        [json!({"Id": 1, "id2": 2})]
    );
    let check = |path: &str, status, code: &str, expected: &str| {
        let message = served.post(path, "1,x\n").error(status, code);
        assert!(message.contains(expected), "{message}");
    };
    let unknown = "ConfigError.UnknownInputStream";
    check("/ingress/%22T%22", 404, unknown, "no table");
    check("/ingress/logs", 404, unknown, "did you mean `log`?");
    check("/ingress/v", 404, unknown, "is a view");
    check(
        "/ingress/t?format=avro",
        400,
        "InvalidParam",
        "unknown format `avro`",
    );
    check(
        "/ingress/t?format=json&update_format=odd",
        400,
        "InvalidParam",
        "odd",
    );
    check(
        "/ingress/t?force=perhaps",
        400,
        "InvalidParam",
        "query string",
    );
    check(
        "/v0/pipelines/other/ingress/t",
        404,
        "UnknownPipelineName",
        "this one is `test`",
    );
    let message = served
        .post(
            "/ingress/t?format=json&update_format=raw",
            r#"{"id": 1, "nam": "x"}"#,
        )
        .error(400, "ParseErrors");
    assert!(message.contains("nam"), "{message}");
}

#[test]
fn a_paused_pipeline_makes_requests_wait() {
    let served = serve_program(PROGRAM);
    assert_eq!(served.post("/pause", "").status, 202);
    assert_eq!(served.get("/status").ok()["runtime_status"], "Paused");
    let forced = served.post("/ingress/t?force=true", "1,forced\n").ok();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| served.post("/ingress/t", "2,waiting\n"));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!waiting.is_finished());
        assert!(served.query("SELECT * FROM t").is_empty());
        assert_eq!(served.post("/start", "").status, 202);
        waiting.join().unwrap().ok();
    });
    served.wait(forced["token"].as_str().unwrap());
}

/// A body is read only as fast as the pipeline takes it.
#[test]
fn a_full_pipeline_stops_reading_the_body() {
    let settings = Settings {
        http_queued_records_max: 1_000,
        ..Settings::default()
    };
    let served = serve_with(PROGRAM, settings);
    // Nothing is stepped for as long as the transaction gathers, and it gathers no more than this.
    served.post("/pause", "");
    served.post("/start", "");
    let address = served.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let head = "POST /ingress/bag HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let rows = "1,a row of some length to fill the buffers\n".repeat(1_000);
    let chunk = format!("{:x}\r\n{rows}\r\n", rows.len());
    stream.write_all(chunk.as_bytes()).unwrap();
    let start = Instant::now();
    while served.get("/stats").ok()["global_metrics"]["total_input_records"] == 0 {
        assert!(start.elapsed() < Duration::from_secs(20));
    }
    served.post("/pause", "");
    // Buffers of the system and the server take some megabytes, then the client must wait.
    let mut written = 0;
    let blocked = (0..2_000).any(|_| match stream.write(chunk.as_bytes()) {
        Ok(bytes) => {
            written += bytes;
            bytes < chunk.len()
        }
        Err(_) => true,
    });
    assert!(blocked, "{written} bytes were taken by a paused pipeline");
    drop(stream);
    served.post("/start", "");
}

/// A refused request is read to its end, so the next one on the same connection is answered.
#[test]
fn a_refusal_keeps_the_connection() {
    let served = serve_program(PROGRAM);
    let address = served.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    for _ in 0..3 {
        stream
            .write_all(b"POST /ingress/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
            .unwrap();
        // The rows come after the server has made up its mind.
        std::thread::sleep(Duration::from_millis(50));
        stream.write_all(b"1,x\n").unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        let answer = std::str::from_utf8(&answer[..length]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
}

#[test]
fn a_body_that_breaks_off_is_no_success() {
    let served = serve_program(PROGRAM);
    let address = served.url("").replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "POST /ingress/bag HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n1,whole\n2,hal";
    stream.write_all(head.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(" 200 "), "{answer}");
    served.insert("/ingress/bag", "3,next\n");
    let rows = served.query("SELECT name FROM bag ORDER BY name");
    assert!(
        !rows.contains(&json!({"name": "hal"})),
        "half a record is no record: {rows:?}"
    );
}
