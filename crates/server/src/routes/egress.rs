//! `/egress/{relation}`: follow a table or view.
//!
//! Each follower has a thread that waits for changes, encodes them, and hands chunks to the
//! connection one at a time, so a large change is never in memory twice. Once a chunk is with the
//! connection it counts as delivered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use highwater_circuit::dataflow::RelationRef;
use highwater_connectors::encode::OutputRelation;
use highwater_connectors::encode::egress::HttpEgress;
use highwater_pipeline::event::OutputMessage;
use highwater_pipeline::{Definition, Follower, FollowerMessage, combined};
use highwater_types::connector::{ConnectorConfig, FormatConfig};
use highwater_types::error::ErrorResponse;
use highwater_zset::{Delta, Snapshot};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::names::{Identifier, unknown};
use crate::state::ServerState;

/// A chunk without data goes out when nothing else did for this long.
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Steps without changes are announced at most this often.
const ANNOUNCE: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
pub(crate) struct EgressParams {
    format: Option<String>,
    backpressure: Option<bool>,
    send_snapshot: Option<bool>,
    update_format: Option<String>,
    /// JSON chunks hold arrays in any case.
    #[serde(rename = "array")]
    _array: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct RelationPath {
    relation: String,
}

/// What a follower asked for.
struct Wanted {
    format: FormatConfig,
    backpressure: bool,
    send_snapshot: bool,
}

/// Follows a table or view: its contents first if `send_snapshot`, then only what changes.
///
/// The reply never ends by itself. Each line is a JSON object with a `sequence_number`, and
/// `json_data` or `text_data` when there are changes; a line with `processed_steps` says that all
/// changes up to that step have been sent. The options may come as query parameters or as a JSON
/// connector configuration in the body, not both.
#[utoipa::path(post, path = "/egress/{relation}", tag = "Data",
    params(
        ("relation" = String, Path, description = "As in SQL: quote it (%22) if it was quoted there"),
        ("format" = Option<String>, Query, description = "`csv` (default) or `json`"),
        ("send_snapshot" = Option<bool>, Query, description = "Begin with the present contents (materialized relations)"),
        ("backpressure" = Option<bool>, Query, description = "Make the pipeline wait for this follower; without, a follower that falls a million changes behind is cut off"),
    ),
    request_body(content = Option<ConnectorConfig>),
    responses(
        (status = 200, description = "Lines, for ever", content_type = "application/json"),
        (status = 400, description = "`InvalidParam`, `NotMaterialized`", body = ErrorResponse),
        (status = 404, description = "`ConfigError.UnknownOutputStream`: no such relation", body = ErrorResponse),
    ))]
pub(crate) async fn egress(
    State(state): State<ServerState>,
    Path(RelationPath { relation }): Path<RelationPath>,
    Params(params): Params<EgressParams>,
    body: Bytes,
) -> ApiResult<Response> {
    let definition = state.pipeline.definition().clone();
    let (relation, output) = find_relation(&state, &definition, &relation)?;
    let wanted = wanted(params, &body)?;
    let encoder = HttpEgress::new(&wanted.format, output.clone())?;
    let follower = state
        .pipeline
        .follow(relation, wanted.send_snapshot, wanted.backpressure)
        .await?;
    let (chunks, received) = mpsc::channel(1);
    let sending = Sending {
        follower,
        encoder,
        output,
        chunks,
        runtime: Handle::current(),
    };
    tokio::task::spawn_blocking(move || sending.run());
    let body =
        Body::from_stream(ReceiverStream::new(received).map(Ok::<_, std::convert::Infallible>));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

fn find_relation(
    state: &ServerState,
    definition: &Arc<Definition>,
    name: &str,
) -> ApiResult<(RelationRef, OutputRelation)> {
    let identifier = Identifier::parse(name);
    let mut relations = definition.relations();
    let found = relations.find(|(_, relation)| identifier.matches(relation));
    let Some((reference, relation)) = found else {
        let mut local = state.program.views.iter();
        if local.any(|view| identifier.matches(&view.relation)) {
            return Err(ApiError::unknown_relation(format!(
                "`{name}` is a local view, which only other views can read; declare it without LOCAL"
            )));
        }
        let relations = definition.relations().map(|(_, relation)| relation);
        return Err(ApiError::unknown_relation(unknown(
            "table or view",
            name,
            relations,
        )));
    };
    let schema = definition.schema(reference);
    let schema = schema
        .ok_or_else(|| ApiError::unknown_relation(format!("`{name}` is not in the circuit")))?;
    Ok((reference, OutputRelation::new(relation, schema)))
}

fn wanted(params: EgressParams, body: &[u8]) -> ApiResult<Wanted> {
    // Clients that send JSON by habit send `null` where there is nothing.
    let has_body = !body.iter().all(u8::is_ascii_whitespace) && body != b"null";
    if has_body {
        return wanted_by_body(&params, body);
    }
    let mut config = Map::new();
    if let Some(update_format) = params.update_format {
        config.insert("update_format".to_owned(), Value::String(update_format));
    }
    Ok(Wanted {
        format: FormatConfig {
            name: params.format.unwrap_or_else(|| "csv".to_owned()),
            config: Value::Object(config),
        },
        backpressure: params.backpressure.unwrap_or(false),
        send_snapshot: params.send_snapshot.unwrap_or(false),
    })
}

fn wanted_by_body(params: &EgressParams, body: &[u8]) -> ApiResult<Wanted> {
    if params.format.is_some() || params.backpressure.is_some() || params.send_snapshot.is_some() {
        return Err(ApiError::invalid(
            "give the options either in the query string or in the body, not in both",
        ));
    }
    let config: ConnectorConfig = serde_json::from_slice(body).map_err(|error| {
        ApiError::invalid(format!(
            "the body is not a connector configuration: {error}"
        ))
    })?;
    if config.transport.name != "http_output" {
        return Err(ApiError::invalid(format!(
            "the transport must be `http_output`, not `{}`",
            config.transport.name
        )));
    }
    let backpressure = config.transport.config.get("backpressure");
    Ok(Wanted {
        format: config.format.unwrap_or_else(|| FormatConfig {
            name: "csv".to_owned(),
            config: json!({}),
        }),
        backpressure: backpressure.and_then(Value::as_bool).unwrap_or(false),
        send_snapshot: config.send_snapshot.unwrap_or(false),
    })
}

/// The thread of a follower.
struct Sending {
    follower: Follower,
    encoder: HttpEgress,
    output: OutputRelation,
    chunks: mpsc::Sender<Bytes>,
    runtime: Handle,
}

/// The client has left.
struct Left;

impl Sending {
    fn run(mut self) {
        // Either way the stream ends here: dropping the follower tells the pipeline.
        let _ = self.send_all();
    }

    fn send_all(&mut self) -> Result<(), Left> {
        // Clients wait for a first chunk before they go on.
        let first = self.encoder.keep_alive();
        self.send(first)?;
        let mut last_sent = Instant::now();
        let mut unannounced = None;
        loop {
            let patience = match unannounced {
                Some(_) => ANNOUNCE,
                None => KEEP_ALIVE.saturating_sub(last_sent.elapsed()),
            };
            let next = self.follower.next(patience);
            let message = self.runtime.block_on(async {
                tokio::select! {
                    message = next => Some(message),
                    () = self.chunks.closed() => None,
                }
            });
            match message.ok_or(Left)? {
                FollowerMessage::Output(OutputMessage::Snapshot { step, contents }) => {
                    self.snapshot(step, &contents)?;
                    last_sent = Instant::now();
                }
                FollowerMessage::Output(OutputMessage::Changes { step, deltas }) => {
                    self.changes(step, &deltas)?;
                    unannounced = None;
                    last_sent = Instant::now();
                }
                FollowerMessage::Output(OutputMessage::End { error: None }) => return Ok(()),
                FollowerMessage::Output(OutputMessage::End { error: Some(error) }) => {
                    return fail(&self.chunks, &error);
                }
                FollowerMessage::UpTo(step) => unannounced = Some(step),
                // Only connectors are asked to make something durable.
                FollowerMessage::Nothing | FollowerMessage::Output(OutputMessage::Sync { .. }) => {}
            }
            if last_sent.elapsed() < ANNOUNCE {
                continue;
            }
            if let Some(step) = unannounced.take() {
                self.changes(step, &[])?;
                last_sent = Instant::now();
            } else if last_sent.elapsed() >= KEEP_ALIVE {
                let chunk = self.encoder.keep_alive();
                self.send(chunk)?;
                last_sent = Instant::now();
            }
        }
    }

    fn snapshot(&mut self, step: u64, contents: &[Snapshot]) -> Result<(), Left> {
        for snapshot in contents {
            let pieces = match snapshot.scan() {
                Ok(pieces) => pieces,
                Err(error) => return fail(&self.chunks, &error.to_string()),
            };
            for piece in pieces {
                let mut sent = 0;
                // The circuit's labels are not the view's column names.
                let piece = match Delta::concat(&self.output.schema, &[piece]) {
                    Ok(piece) => piece,
                    Err(error) => return fail(&self.chunks, &error.to_string()),
                };
                let chunks = match self.encoder.snapshot(&piece) {
                    Ok(chunks) => chunks,
                    Err(error) => return fail(&self.chunks, &error.to_string()),
                };
                let records = chunks.records;
                for chunk in chunks {
                    sent += chunk.len() as u64;
                    self.chunks.blocking_send(chunk.into()).map_err(|_| Left)?;
                }
                self.follower.delivered(0, records, sent);
            }
        }
        self.changes(step, &[])
    }

    fn changes(&mut self, step: u64, deltas: &[Delta]) -> Result<(), Left> {
        let delta = match combined(&self.output.schema, deltas) {
            Ok(delta) => delta,
            Err(error) => return fail(&self.chunks, &error.to_string()),
        };
        let mut sent = 0;
        let chunks = match self.encoder.step(&delta, step) {
            Ok(chunks) => chunks,
            Err(error) => return fail(&self.chunks, &error.to_string()),
        };
        let records = chunks.records;
        for chunk in chunks {
            sent += chunk.len() as u64;
            self.chunks.blocking_send(chunk.into()).map_err(|_| Left)?;
        }
        // Room for another chunk means that the connection has taken the last one.
        self.runtime
            .block_on(self.chunks.reserve())
            .map_err(|_| Left)?;
        self.follower.delivered(step, records, sent);
        Ok(())
    }

    fn send(&self, chunk: Vec<u8>) -> Result<(), Left> {
        self.chunks.blocking_send(chunk.into()).map_err(|_| Left)
    }
}

/// Ends the stream with the reason, in the form of an error reply.
fn fail(chunks: &mpsc::Sender<Bytes>, reason: &str) -> Result<(), Left> {
    let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "FollowerEnded", reason);
    let mut line = json!({"error": error.body}).to_string().into_bytes();
    line.extend_from_slice(b"\r\n");
    chunks.blocking_send(line.into()).map_err(|_| Left)?;
    Err(Left)
}
