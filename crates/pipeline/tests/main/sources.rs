//! Compressed sources, which cannot be positioned: what a checkpoint has of them is passed over when they
//! are read again (P1).

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use highwater_pipeline::Pipeline;
use highwater_storage::LocalDisk;

use crate::bench::{COPY, Program, contents_of, eventually};
use crate::stored::{checkpoint, settings, start_on};

const ROWS: i64 = 20_000;
/// The rows of the URL have ids from here on.
const URL_IDS: i64 = 1_000_000;

fn compressed(first_id: i64) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for id in first_id..first_id + ROWS {
        writeln!(encoder, "{id},{}", id % 7).unwrap();
    }
    encoder.finish().unwrap()
}

/// Serves the content, slowly; the URL.
fn serve(content: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/rows.csv.gz", listener.local_addr().unwrap());
    let content = Arc::new(content);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let content = Arc::clone(&content);
            // Whoever asked may be gone before the end.
            std::thread::spawn(move || answer(&stream.unwrap(), &content));
        }
    });
    url
}

fn answer(mut stream: &TcpStream, content: &[u8]) -> std::io::Result<()> {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let range = head.iter().find_map(|line| {
        let line = line.to_lowercase();
        let start = line.strip_prefix("range: bytes=")?.strip_suffix('-')?;
        start.parse::<usize>().ok()
    });
    let status = match range {
        Some(_) => "206 Partial Content",
        None => "200 OK",
    };
    let body = &content[range.unwrap_or_default()..];
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    for piece in body.chunks(2_000) {
        stream.write_all(piece)?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// How many rows each source has given, all of which are there once, and in order.
fn read(pipeline: &Pipeline) -> [i64; 2] {
    let contents = contents_of(&pipeline.contents(), COPY);
    assert!(contents.iter().all(|(_, weight)| *weight == 1));
    let ids = contents.iter().map(|(row, _)| row[0].unwrap());
    let (of_url, of_file): (Vec<i64>, Vec<i64>) = ids.partition(|id| *id >= URL_IDS);
    let count = |ids: &[i64], first: i64| {
        assert!(ids.iter().copied().eq(first..first + ids.len() as i64));
        ids.len() as i64
    };
    [count(&of_file, 0), count(&of_url, URL_IDS)]
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_compressed_files_and_urls_go_on_where_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let (root, file) = (folder.path().join("state"), folder.path().join("rows.gz"));
    fs::write(&file, compressed(0)).unwrap();
    let few = r#""max_queued_records": 100, "max_batch_size": 50, "format": {"name": "csv"}"#;
    let program = Program {
        log_connectors: format!(
            r#"[{{"name": "file", "transport": {{"name": "file_input", "config": {{"path": "{}"}}}}, {few}}},
                {{"name": "url", "transport": {{"name": "url_input", "config": {{"path": "{}"}}}}, {few}}}]"#,
            file.display(),
            serve(compressed(URL_IDS)),
        ),
        copy_is_kept: true,
        ..Program::default()
    };
    let mut durable = [0, 0];
    let mut resumed_inside = [0, 0];
    for round in 0..12 {
        let started = start_on(LocalDisk, &root, &program, settings()).await;
        let pipeline = started.unwrap();
        let before = read(&pipeline);
        for source in 0..2 {
            assert!(before[source] >= durable[source]);
            resumed_inside[source] += i64::from((1..ROWS).contains(&durable[source]));
        }
        eventually("more is read", || async {
            let now = read(&pipeline);
            (0..2).all(|source| now[source] > before[source] || now[source] == ROWS)
        })
        .await;
        if round % 3 != 2 {
            let confirmed = read(&pipeline);
            checkpoint(&pipeline).await.unwrap();
            durable = confirmed;
        }
        pipeline.stop().await;
    }
    assert!(
        resumed_inside.iter().all(|rounds| *rounds > 0),
        "{resumed_inside:?}"
    );
    let pipeline = start_on(LocalDisk, &root, &program, settings()).await;
    let pipeline = pipeline.unwrap();
    eventually("all is read", || async { read(&pipeline) == [ROWS, ROWS] }).await;
    pipeline.stop().await;
}
