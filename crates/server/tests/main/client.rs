//! A served program, and a client for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use highwater_connectors::clock::SystemClock;
use highwater_pipeline::{OpenedStorage, Pipeline, Settings};
use highwater_server::definition::definition;
use highwater_server::{ServerState, serve};
use highwater_sql::{CompileOptions, compile};
use highwater_storage::{Kind, LocalDisk};
use highwater_zset::RowHasher;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// A pipeline called `test` behind HTTP.
pub(crate) struct Served {
    address: SocketAddr,
    agent: ureq::Agent,
    pub(crate) pipeline: Pipeline,
    /// Runs the server until the test ends.
    runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
}

/// A reply, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The JSON of a success.
    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        self.json()
    }

    /// Asserts an error reply; returns its message.
    pub(crate) fn error(&self, status: u16, code: &str) -> String {
        let body = self.json();
        assert_eq!(
            (self.status, body["error_code"].as_str().unwrap()),
            (status, code),
            "{body}"
        );
        assert!(body.get("details").is_some(), "{body}");
        body["message"].as_str().unwrap().to_owned()
    }
}

pub(crate) fn serve_program(sql: &str) -> Served {
    serve_with(sql, Settings::default())
}

pub(crate) fn serve_with(sql: &str, settings: Settings) -> Served {
    serve_on(sql, settings, None)
}

/// With checkpoints in a folder: goes on from the last one.
pub(crate) fn serve_stored(sql: &str, root: &Path) -> Served {
    let began = Instant::now();
    let storage = loop {
        // A server that was dropped just before takes a moment to let go.
        match OpenedStorage::open(Arc::new(LocalDisk), root) {
            Ok(storage) => break storage,
            Err(error) if error.kind() == Kind::Locked => {
                assert!(began.elapsed() < Duration::from_secs(20), "{error}");
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => panic!("{error}"),
        }
    };
    let settings = Settings {
        hash_seed: storage.hash_seed().unwrap_or(7),
        checkpoint_interval: None,
        ..Settings::default()
    };
    serve_on(sql, settings, Some(storage))
}

fn serve_on(sql: &str, settings: Settings, storage: Option<OpenedStorage>) -> Served {
    let runtime = Runtime::new().unwrap();
    let options = CompileOptions {
        hasher: RowHasher::new(settings.hash_seed),
    };
    let program = compile(sql, &options).unwrap_or_else(|errors| {
        panic!(
            "{}",
            errors.iter().map(|it| it.render()).collect::<String>()
        )
    });
    let definition = definition(&program, Path::new("")).unwrap();
    let clock = Arc::new(SystemClock::new());
    let pipeline = match storage {
        Some(storage) => Pipeline::start_on(definition, settings, clock, storage),
        None => Pipeline::start(definition, settings, clock),
    };
    let pipeline = pipeline.unwrap();
    let state = ServerState::new(pipeline.clone(), Arc::new(program), "test");
    let (stop, stopped) = oneshot::channel();
    let address = runtime.block_on(async {
        pipeline.resume().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = async {
            let _ = stopped.await;
        };
        tokio::spawn(serve(listener, state, shutdown));
        address
    });
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build();
    Served {
        address,
        agent: agent.into(),
        pipeline,
        runtime,
        stop: Some(stop),
    }
}

/// The pipeline ends, so that its files are free for the next one.
impl Drop for Served {
    fn drop(&mut self) {
        self.runtime.block_on(self.pipeline.stop());
    }
}

impl Served {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        reply(self.agent.get(self.url(path)).call().unwrap())
    }

    pub(crate) fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Reply {
        reply(self.agent.post(self.url(path)).send(body.as_ref()).unwrap())
    }

    pub(crate) fn post_json(&self, path: &str, body: &str) -> Reply {
        let request = self.agent.post(self.url(path));
        let request = request.header("Content-Type", "application/json");
        reply(request.send(body).unwrap())
    }

    /// The rows of a query, as JSON.
    pub(crate) fn query(&self, sql: &str) -> Vec<Value> {
        let reply = self.get(&format!("/query?format=json&sql={}", encode(sql)));
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Sends rows and waits until they are visible.
    pub(crate) fn insert(&self, path: &str, body: &str) {
        let reply = self.post(path, body);
        let token = reply.ok()["token"].as_str().unwrap().to_owned();
        self.wait(&token);
    }

    pub(crate) fn wait(&self, token: &str) {
        let start = Instant::now();
        loop {
            let status = self.get(&format!("/completion_status?token={token}")).ok();
            if status["status"] == "complete" {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{status}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Follows a relation; the lines of the reply are read on demand.
    pub(crate) fn follow(&self, path: &str) -> Lines {
        let reply = self.agent.post(self.url(path)).send_empty().unwrap();
        assert_eq!(reply.status(), 200);
        Lines {
            reader: Box::new(BufReader::new(reply.into_body().into_reader())),
        }
    }

    pub(crate) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// The chunks of a followed relation.
pub(crate) struct Lines {
    reader: Box<dyn BufRead + Send>,
}

impl Lines {
    /// The next line; none at the end.
    pub(crate) fn next(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        (!line.is_empty()).then(|| serde_json::from_str(&line).unwrap())
    }

    /// Changes until everything up to `step` has come.
    pub(crate) fn until(&mut self, step: u64) -> Vec<Value> {
        let mut changes = Vec::new();
        loop {
            let chunk = self.next().expect("the stream goes on");
            assert!(chunk.get("error").is_none(), "{chunk}");
            if let Some(data) = chunk["json_data"].as_array() {
                changes.extend(data.iter().cloned());
            }
            if chunk["processed_steps"]
                .as_u64()
                .is_some_and(|processed| processed >= step)
            {
                return changes;
            }
        }
    }
}

fn reply(response: ureq::http::Response<ureq::Body>) -> Reply {
    let content_type = response.headers().get("content-type");
    Reply {
        status: response.status().as_u16(),
        content_type: content_type
            .map_or("", |value| value.to_str().unwrap())
            .to_owned(),
        bytes: response.into_body().read_to_vec().unwrap(),
    }
}

/// Percent-encodes a query parameter or a path segment.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
