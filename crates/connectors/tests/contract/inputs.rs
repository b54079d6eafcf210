//! The contract of input transports, and what each does beyond it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use highwater_connectors::clock::SystemClock;
use highwater_connectors::input::{Finished, InputEvent, open_input};
use highwater_connectors::table::InputTable;
use highwater_types::connector::ConnectorConfig;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

fn small() -> Arc<InputTable> {
    table(
        &[("id", required(sql(Integer))), ("name", sql(Varchar))],
        &[],
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Two gzip members, as `cat a.gz b.gz` makes them.
fn gzip_twice(bytes: &[u8]) -> Vec<u8> {
    let (a, b) = bytes.split_at(bytes.len() / 2);
    [gzip(a), gzip(b)].concat()
}

fn run(config: &ConnectorConfig, start: Option<Value>, sink: &Collector) -> Finished {
    let transport = open_input(config, &small(), start).unwrap();
    transport.run(sink, &FakeClock::default()).unwrap()
}

fn failure(config: &ConnectorConfig, start: Option<Value>) -> String {
    let opened = open_input(config, &small(), start);
    let finished = opened.and_then(|t| t.run(&Collector::default(), &FakeClock::default()));
    finished.unwrap_err().to_string()
}

/// The contract: all rows, then the end; a stop is obeyed; reading goes on from every position.
fn check_contract(config: &ConnectorConfig, expected_rows: usize) {
    let mut config = config.clone();
    config.max_batch_size = Some(3);
    let all = Collector::default();
    assert_eq!(run(&config, None, &all), Finished::EndOfInput);
    assert!(all.ended());
    let expected = all.outcome(&small());
    assert_eq!(expected.changes.len(), expected_rows);
    let chunks = all.chunks();
    for (i, chunk) in chunks.iter().enumerate() {
        assert!(chunk.changes.len() <= 3);
        assert!(
            chunk
                .progress
                .total
                .is_none_or(|total| chunk.progress.done <= total)
        );
        let rest = Collector::default();
        assert_eq!(
            run(&config, Some(chunk.position.clone()), &rest),
            Finished::EndOfInput
        );
        let pieces = chunks[..=i].iter().cloned().chain(rest.chunks());
        let sink = Collector::default();
        sink.events
            .lock()
            .unwrap()
            .extend(pieces.map(InputEvent::Changes));
        assert_eq!(sink.outcome(&small()), expected, "from {}", chunk.position);
    }
    let stopped = Collector {
        stop_after_chunks: Some(1),
        ..Collector::default()
    };
    assert_eq!(run(&config, None, &stopped), Finished::Stopped);
    assert_eq!(stopped.chunks().len(), 1);
    assert!(!stopped.ended());
}

fn csv_text(rows: usize) -> Vec<u8> {
    (0..rows)
        .map(|i| format!("{i},name {i}\n"))
        .collect::<String>()
        .into()
}

fn file_config(path: &Path) -> ConnectorConfig {
    connector(
        "file_input",
        json!({ "path": path }),
        Some(format("csv", json!({}))),
    )
}

#[test]
fn files_plain_and_compressed() {
    let directory = tempfile::tempdir().unwrap();
    let text = csv_text(11);
    for (name, bytes) in [
        ("a.csv", text.clone()),
        ("a.csv.gz", gzip(&text)),
        ("by_content", gzip(&text)),
        ("two.gz", gzip_twice(&text)),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        check_contract(&file_config(&path), 11);
        let url = format!("file://{}", path.display());
        check_contract(
            &connector(
                "url_input",
                json!({ "path": url }),
                Some(format("csv", json!({}))),
            ),
            11,
        );
    }
    let empty = directory.path().join("empty.csv");
    std::fs::write(&empty, "").unwrap();
    let sink = Collector::default();
    assert_eq!(run(&file_config(&empty), None, &sink), Finished::EndOfInput);
    assert!(sink.ended() && sink.chunks().is_empty());
}

#[test]
fn parquet_files_are_read_where_they_lie() {
    let raw = format("json", json!({"update_format": "raw"}));
    let text: String = (0..11).map(|i| format!("[{i}, \"x\"]")).collect();
    let batch = decode(&raw, &small(), text.as_bytes()).changes.rows;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let config = connector(
        "file_input",
        json!({ "path": path }),
        Some(format("parquet", json!({}))),
    );
    check_contract(&config, 11);
    let packed = directory.path().join("a.parquet.gz");
    std::fs::write(&packed, gzip(&std::fs::read(&path).unwrap())).unwrap();
    let config = connector(
        "file_input",
        json!({ "path": packed }),
        Some(format("parquet", json!({}))),
    );
    check_contract(&config, 11);
}

#[test]
fn a_followed_file_grows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.csv");
    std::fs::write(&path, "1,a\n2,").unwrap();
    let config = connector(
        "file_input",
        json!({ "path": path, "follow": true }),
        Some(format("csv", json!({}))),
    );
    let sink = Collector::default();
    let wait_for = |rows: usize| {
        for _ in 0..1000 {
            if sink.outcome(&small()).changes.len() == rows {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{rows} rows did not come: {:?}", sink.chunks());
    };
    std::thread::scope(|scope| {
        let transport = open_input(&config, &small(), None).unwrap();
        let reader = scope.spawn(|| transport.run(&sink, &SystemClock::new()));
        wait_for(1);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(b"b\n3,c\n").unwrap();
        wait_for(3);
        sink.paused.store(true, Ordering::SeqCst);
        file.write_all(b"4,d\n").unwrap();
        std::thread::sleep(Duration::from_millis(100));
        wait_for(3);
        sink.paused.store(false, Ordering::SeqCst);
        wait_for(4);
        sink.stopped.store(true, Ordering::SeqCst);
        assert_eq!(reader.join().unwrap().unwrap(), Finished::Stopped);
    });
    std::fs::write(&path, "1").unwrap();
    let position = sink.chunks().last().unwrap().position.clone();
    assert!(failure(&config, Some(position)).contains("truncated or replaced"));
}

#[test]
fn errors_say_what_to_do() {
    let missing = file_config(Path::new("no/such/file.csv"));
    let message = failure(&missing, None);
    assert!(
        message.starts_with("file `no/such/file.csv` does not exist; check `path`"),
        "{message}"
    );
    assert!(message.contains("relative paths start at `/"), "{message}");
    let directory = tempfile::tempdir().unwrap();
    assert!(failure(&file_config(directory.path()), None).starts_with("cannot open"));
    let unknown = connector(
        "file_input",
        json!({"pth": "x"}),
        Some(format("csv", json!({}))),
    );
    assert!(failure(&unknown, None).contains("unknown field `pth`"));
    let no_format = connector("file_input", json!({"path": "x"}), None);
    assert!(failure(&no_format, None).contains("needs a format"));
    assert!(failure(&missing, Some(json!({"rows": 1}))).contains("position"));
    let ftp = connector(
        "url_input",
        json!({"path": "ftp://x"}),
        Some(format("csv", json!({}))),
    );
    assert!(failure(&ftp, None).contains("must be an http, https or file URL"));
    assert!(failure(&connector("kafka_input", json!({}), None), None).contains("`file_input`"));
}

#[test]
fn bad_rows_keep_their_line_after_going_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.csv");
    std::fs::write(&path, "1,a\n2,b\nx,c\n4,d\n").unwrap();
    let mut config = file_config(&path);
    config.max_batch_size = Some(1);
    let sink = Collector::default();
    run(&config, None, &sink);
    let position = sink.chunks()[1].position.clone();
    let rest = Collector::default();
    run(&config, Some(position), &rest);
    let error = rest.outcome(&small()).errors.first[0].clone();
    assert_eq!(
        error.to_string(),
        "record 3 (line 3), column `id`: not an integer: `x`"
    );
}

#[test]
fn empty_input_ends() {
    let sink = Collector::default();
    assert_eq!(
        run(&connector("empty_input", json!({}), None), None, &sink),
        Finished::EndOfInput
    );
    assert!(sink.ended() && sink.chunks().is_empty());
}

/// What the little server does with the content.
#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Ranges,
    NoRanges,
    /// Breaks each connection after a few bytes.
    Breaks,
    NotFound,
}

/// Serves `content` on a loopback port; gives the URL and how many requests came.
fn serve(content: Vec<u8>, behaviour: Behaviour, path: &str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/{path}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            counted.fetch_add(1, Ordering::SeqCst);
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).to_lowercase();
            let from = request
                .lines()
                .find_map(|line| line.strip_prefix("range: bytes="));
            let from: usize = from.map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
            let (status, body) = match behaviour {
                Behaviour::NotFound => ("404 Not Found", &content[..0]),
                Behaviour::NoRanges => ("200 OK", &content[..]),
                _ if from > 0 && from >= content.len() => {
                    ("416 Range Not Satisfiable", &content[..0])
                }
                _ if from > 0 => ("206 Partial Content", &content[from..]),
                _ => ("200 OK", &content[..]),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let sent = if behaviour == Behaviour::Breaks {
                body.len().min(17)
            } else {
                body.len()
            };
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body[..sent]));
        }
    });
    (url, requests)
}

fn url_config(url: &str) -> ConnectorConfig {
    connector(
        "url_input",
        json!({ "path": url }),
        Some(format("csv", json!({}))),
    )
}

#[test]
fn urls_with_and_without_ranges_and_compressed() {
    let text = csv_text(11);
    for behaviour in [Behaviour::Ranges, Behaviour::NoRanges] {
        check_contract(&url_config(&serve(text.clone(), behaviour, "a.csv").0), 11);
        check_contract(
            &url_config(&serve(gzip(&text), behaviour, "a.csv.gz?x=1").0),
            11,
        );
        check_contract(&url_config(&serve(gzip(&text), behaviour, "a").0), 11);
    }
}

#[test]
fn broken_connections_are_taken_up_again() {
    let text = csv_text(11);
    for content in [text.clone(), gzip(&text)] {
        let (url, requests) = serve(content, Behaviour::Breaks, "a.csv");
        let sink = Collector::default();
        assert_eq!(run(&url_config(&url), None, &sink), Finished::EndOfInput);
        assert_eq!(sink.outcome(&small()).changes.len(), 11);
        assert!(requests.load(Ordering::SeqCst) > 2);
        let events = sink.events.lock().unwrap();
        assert!(
            events
                .iter()
                .any(|event| matches!(event, InputEvent::Warning(_)))
        );
    }
}

#[test]
fn url_failures_name_the_url() {
    let (url, requests) = serve(Vec::new(), Behaviour::NotFound, "a.csv");
    let message = failure(&url_config(&url), None);
    assert_eq!(
        message,
        format!("cannot fetch `{url}`: the server answered 404 Not Found")
    );
    assert_eq!(requests.load(Ordering::SeqCst), 1);
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = format!("http://127.0.0.1:{port}/a.csv");
    assert!(failure(&url_config(&nobody), None).starts_with(&format!("cannot fetch `{nobody}`")));
}
