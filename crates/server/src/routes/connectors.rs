//! Connectors by name: start, pause, statistics, tokens.
//!
//! The same things under two spellings: `/tables/{table}/connectors/{connector}/…` (identifiers as in
//! SQL) and `/input_endpoints/{table.connector}/…`; for outputs `/views/…` and `/output_endpoints/…`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use highwater_types::api::CompletionTokenResponse;
use highwater_types::error::ErrorResponse;
use highwater_types::stats::{InputEndpointStatus, OutputEndpointStatus};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::names::{Identifier, unknown};
use crate::state::ServerState;

pub(crate) fn routes() -> Router<ServerState> {
    let of_table = get(table_action).post(table_action);
    let of_endpoint = get(input_action).post(input_action);
    Router::new()
        .route("/tables/{table}/connectors/{connector}/{action}", of_table)
        .route("/input_endpoints/{endpoint}/{action}", of_endpoint)
        .route(
            "/views/{view}/connectors/{connector}/stats",
            get(view_stats),
        )
        .route("/output_endpoints/{endpoint}/stats", get(output_stats))
}

#[derive(Deserialize)]
pub(crate) struct TableConnector {
    table: String,
    connector: String,
    action: String,
}

#[derive(Deserialize)]
pub(crate) struct ViewConnector {
    view: String,
    connector: String,
}

#[derive(Deserialize)]
pub(crate) struct Endpoint {
    endpoint: String,
    #[serde(default)]
    action: String,
}

/// `start`, `pause`, `stats` or `completion_token` of an input connector.
#[utoipa::path(post, path = "/tables/{table}/connectors/{connector}/{action}", tag = "Connectors",
    params(
        ("table" = String, Path, description = "As in SQL: quote it (%22) if it was quoted there"),
        ("connector" = String, Path, description = "Its name; `unnamed-{index}` without one"),
        ("action" = String, Path, description = "`start`, `pause`, `stats` or `completion_token`"),
    ),
    responses(
        (status = 200, description = "`stats`, `completion_token`; nothing for the others", body = InputEndpointStatus),
        (status = 400, description = "`InvalidConnectorAction`", body = ErrorResponse),
        (status = 404, description = "Unknown table or connector", body = ErrorResponse),
    ))]
pub(crate) async fn table_action(
    State(state): State<ServerState>,
    Path(path): Path<TableConnector>,
) -> ApiResult<Response> {
    let identifier = Identifier::parse(&path.table);
    let tables = || {
        state
            .pipeline
            .definition()
            .tables
            .iter()
            .map(|table| table.input.relation())
    };
    let table = tables()
        .find(|table| identifier.matches(table))
        .ok_or_else(|| ApiError::unknown_table(unknown("table", &path.table, tables())))?;
    let endpoint = format!("{}.{}", table.name, path.connector);
    act(&state, &endpoint, &path.action).await
}

/// The same by endpoint name.
#[utoipa::path(get, path = "/input_endpoints/{endpoint}/{action}", tag = "Connectors",
    params(
        ("endpoint" = String, Path, description = "`table.connector`"),
        ("action" = String, Path, description = "`start`, `pause`, `stats` or `completion_token`"),
    ),
    responses(
        (status = 200, body = InputEndpointStatus),
        (status = 400, description = "`InvalidConnectorAction`", body = ErrorResponse),
        (status = 404, description = "`UnknownInputEndpoint`", body = ErrorResponse),
    ))]
pub(crate) async fn input_action(
    State(state): State<ServerState>,
    Path(path): Path<Endpoint>,
) -> ApiResult<Response> {
    act(&state, &path.endpoint, &path.action).await
}

async fn act(state: &ServerState, endpoint: &str, action: &str) -> ApiResult<Response> {
    let pipeline = &state.pipeline;
    match action {
        "start" => pipeline.set_input_paused(endpoint, false).await?,
        "pause" => pipeline.set_input_paused(endpoint, true).await?,
        "stats" => return Ok(Json(pipeline.input_status(endpoint).await?).into_response()),
        "completion_token" => {
            let token = pipeline.connector_token(endpoint).await?;
            return Ok(Json(CompletionTokenResponse { token }).into_response());
        }
        other => {
            let message = format!(
                "unknown connector action `{other}`; known are `start`, `pause`, `stats`, `completion_token`"
            );
            return Err(ApiError::new(
                StatusCode::BAD_REQUEST,
                "InvalidConnectorAction",
                message,
            ));
        }
    }
    Ok(StatusCode::OK.into_response())
}

/// Status and errors of an output connector.
#[utoipa::path(get, path = "/views/{view}/connectors/{connector}/stats", tag = "Connectors",
    params(("view" = String, Path), ("connector" = String, Path)),
    responses(
        (status = 200, body = OutputEndpointStatus),
        (status = 404, description = "Unknown view or connector", body = ErrorResponse),
    ))]
pub(crate) async fn view_stats(
    State(state): State<ServerState>,
    Path(path): Path<ViewConnector>,
) -> ApiResult<Json<OutputEndpointStatus>> {
    let identifier = Identifier::parse(&path.view);
    let views = || {
        state
            .pipeline
            .definition()
            .views
            .iter()
            .map(|view| &view.relation)
    };
    let view = views()
        .find(|view| identifier.matches(view))
        .ok_or_else(|| ApiError::unknown_relation(unknown("view", &path.view, views())))?;
    output_status(&state, &format!("{}.{}", view.name, path.connector)).await
}

/// Status and errors of an output connector or follower.
#[utoipa::path(get, path = "/output_endpoints/{endpoint}/stats", tag = "Connectors",
    params(("endpoint" = String, Path, description = "`view.connector`")),
    responses(
        (status = 200, body = OutputEndpointStatus),
        (status = 404, description = "`UnknownOutputEndpoint`", body = ErrorResponse),
    ))]
pub(crate) async fn output_stats(
    State(state): State<ServerState>,
    Path(path): Path<Endpoint>,
) -> ApiResult<Json<OutputEndpointStatus>> {
    output_status(&state, &path.endpoint).await
}

async fn output_status(
    state: &ServerState,
    endpoint: &str,
) -> ApiResult<Json<OutputEndpointStatus>> {
    let status = state.pipeline.output_status(endpoint).await;
    Ok(Json(status.map_err(ApiError::of_output)?))
}
