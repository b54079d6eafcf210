//! `/ingress/{table}`: a request body becomes changes of a table.
//!
//! The body is never held as a whole. Its pieces go through a short channel to a thread that decodes
//! them and pushes rows into the pipeline; when the pipeline has enough, that thread waits, the
//! channel fills, the body is not read, and so the client waits too.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use futures::StreamExt;
use highwater_connectors::decode::{Decoder, StreamPosition, decoder};
use highwater_connectors::error::{DecodeError, RowErrors};
use highwater_pipeline::HttpInput;
use highwater_types::api::CompletionTokenResponse;
use highwater_types::connector::FormatConfig;
use highwater_types::error::ErrorResponse;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::names::{Identifier, unknown};
use crate::state::ServerState;

/// Pieces of a body that wait to be decoded.
const WAITING_PIECES_MAX: usize = 4;

/// Records decoded at once.
const PIECE_RECORDS: usize = 10_000;

/// How often a request to a paused pipeline looks again.
const PAUSE_POLL: Duration = Duration::from_millis(20);

/// Query parameters of `/ingress/{table}`; those that are not named here go to the format.
#[derive(Deserialize)]
pub(crate) struct IngressParams {
    format: Option<String>,
    force: Option<bool>,
    /// Accepted and not kept.
    #[serde(rename = "connector_metadata")]
    _connector_metadata: Option<String>,
    #[serde(flatten)]
    format_options: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct TablePath {
    table: String,
}

/// Sends changes to a table. Bad rows are reported, the good ones around them are taken.
///
/// The reply comes when all rows are accepted; its token says when they are visible everywhere.
#[utoipa::path(post, path = "/ingress/{table}", tag = "Data",
    params(
        ("table" = String, Path, description = "As in SQL: quote it (%22) if it was quoted there"),
        ("format" = Option<String>, Query, description = "`csv` (default), `json`, `arrow_ipc` or `parquet`"),
        ("force" = Option<bool>, Query, description = "Take the rows even while the pipeline is paused"),
        ("update_format" = Option<String>, Query, description = "JSON: `insert_delete` (default), `raw`, `weighted`, `debezium`"),
        ("array" = Option<bool>, Query, description = "JSON: the body is one array, or several"),
        ("json_flavor" = Option<String>, Query, description = "JSON: how values are written"),
        ("headers" = Option<bool>, Query, description = "CSV: the first record names the columns"),
        ("delimiter" = Option<String>, Query, description = "CSV: default `,`"),
        ("null_value" = Option<String>, Query, description = "CSV: the text that stands for NULL"),
    ),
    request_body(content = String, description = "Rows in the format; of any length"),
    responses(
        (status = 200, body = CompletionTokenResponse),
        (status = 400, description = "`ParseErrors`: some rows were refused, the others are taken; or `InvalidParam`", body = ErrorResponse),
        (status = 404, description = "`ConfigError.UnknownInputStream`: no such table", body = ErrorResponse),
        (status = 410, description = "`Terminating`: the pipeline has been stopped", body = ErrorResponse),
        (status = 500, description = "`PipelineTerminated`: a step failed", body = ErrorResponse),
    ))]
pub(crate) async fn ingress(
    State(state): State<ServerState>,
    Path(TablePath { table }): Path<TablePath>,
    Params(params): Params<IngressParams>,
    body: Body,
) -> ApiResult<Json<CompletionTokenResponse>> {
    let table = find_table(&state, &table)?;
    let force = params.force.unwrap_or(false);
    let format = format_config(params)?;
    let setup = &state.pipeline.definition().tables[table];
    let decoder = decoder(&format, &setup.input, StreamPosition::default())?;
    let name = endpoint_name(&setup.input.relation().name, &format);
    let input = state.pipeline.open_http_input(table, name).await?;
    if !force {
        wait_until_running(&state, &input).await?;
    }
    let errors = feed(&state, &input, decoder, body, force).await?;
    if !errors.is_empty() {
        return Err(ApiError::parse_errors(&errors));
    }
    let token = state.pipeline.http_token(&input).await?;
    Ok(Json(CompletionTokenResponse { token }))
}

fn find_table(state: &ServerState, name: &str) -> ApiResult<usize> {
    let identifier = Identifier::parse(name);
    let definition = state.pipeline.definition();
    let tables = || definition.tables.iter().map(|table| table.input.relation());
    let position = tables().position(|table| identifier.matches(table));
    position.ok_or_else(|| {
        let is_view = definition
            .views
            .iter()
            .any(|view| identifier.matches(&view.relation));
        ApiError::unknown_table(if is_view {
            format!("`{name}` is a view; rows are sent to the tables it reads")
        } else {
            unknown("table", name, tables())
        })
    })
}

/// The format with its options; options of the other format are ignored, as clients send them.
fn format_config(params: IngressParams) -> ApiResult<FormatConfig> {
    const JSON_OPTIONS: [&str; 4] = ["update_format", "array", "json_flavor", "lines"];
    let name = params.format.unwrap_or_else(|| "csv".to_owned());
    let is_meant = |option: &str| name == "json" || !JSON_OPTIONS.contains(&option);
    let options = params.format_options.into_iter();
    let config: Map<String, Value> = options
        .filter(|(option, _)| is_meant(option))
        .map(|(option, text)| {
            let value = match text.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => Value::String(text),
            };
            (option, value)
        })
        .collect();
    Ok(FormatConfig {
        name,
        config: Value::Object(config),
    })
}

/// The same for the same table and format, also after a restart.
fn endpoint_name(table: &str, format: &FormatConfig) -> String {
    let text = format!("{}?{}", format.name, format.config);
    format!("{table}.api-ingress-{:016x}", xxh3_64(text.as_bytes()))
}

/// Waits without a thread: a client that gives up leaves nothing behind.
async fn wait_until_running(state: &ServerState, input: &HttpInput) -> ApiResult<()> {
    while input.is_paused() {
        state.pipeline.is_running().await?;
        tokio::time::sleep(PAUSE_POLL).await;
    }
    Ok(())
}

/// Reads the body and pushes its rows; returns the bad ones.
async fn feed(
    state: &ServerState,
    input: &HttpInput,
    decoder: Box<dyn Decoder>,
    body: Body,
    force: bool,
) -> ApiResult<RowErrors> {
    let (pieces, received) = mpsc::channel(WAITING_PIECES_MAX);
    let feeder = Feeder {
        input: input.clone(),
        decoder,
        force,
        errors: RowErrors::default(),
        records: 0,
    };
    let feeding = tokio::task::spawn_blocking(move || feeder.run(received));
    let mut body = body.into_data_stream();
    let mut broken = None;
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| broken = Some(error.to_string())).ok();
        let is_broken = piece.is_none();
        // The other end hangs up when it has failed; it says why below.
        if pieces.send(piece).await.is_err() || is_broken {
            break;
        }
    }
    drop(pieces);
    let fed = feeding.await.map_err(|error| {
        ApiError::new(
            axum::http::StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            error.to_string(),
        )
    })?;
    if let Some(reason) = broken {
        return Err(ApiError::invalid(format!(
            "the request body broke off: {reason}; complete records before that have been taken"
        )));
    }
    match fed {
        Ok(errors) => Ok(errors),
        Err(FeedError::Decode(error)) => Err(error.into()),
        Err(FeedError::Closed) => {
            // The pipeline knows why it has ended.
            state.pipeline.is_running().await?;
            Err(highwater_pipeline::Error::Stopped.into())
        }
    }
}

enum FeedError {
    Decode(DecodeError),
    Closed,
}

/// The blocking half of a request.
struct Feeder {
    input: HttpInput,
    decoder: Box<dyn Decoder>,
    force: bool,
    errors: RowErrors,
    /// Records decoded so far.
    records: u64,
}

impl Feeder {
    /// `None` for a piece means that the body broke off: what is left is no record.
    fn run(mut self, mut pieces: mpsc::Receiver<Option<Bytes>>) -> Result<RowErrors, FeedError> {
        while let Some(piece) = pieces.blocking_recv() {
            let Some(piece) = piece else {
                return Ok(self.errors);
            };
            self.decoder.push(&piece);
            self.drain()?;
        }
        self.decoder.finish();
        self.drain()?;
        Ok(self.errors)
    }

    fn drain(&mut self) -> Result<(), FeedError> {
        while let Some(decoded) = self
            .decoder
            .next(PIECE_RECORDS)
            .map_err(FeedError::Decode)?
        {
            let records = decoded.changes.len() as u64 + decoded.errors.total;
            let pushed = self.input.push(decoded, self.records, self.force);
            self.errors.append(pushed.map_err(|_| FeedError::Closed)?);
            self.records += records;
        }
        Ok(())
    }
}
