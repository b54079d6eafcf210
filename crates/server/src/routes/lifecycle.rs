//! `/status`, `/start` (also `/resume`), `/pause`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use highwater_types::api::{ConnectorStats, RuntimeStatus, RuntimeStatusDetails, StatusResponse};
use highwater_types::error::ErrorResponse;
use serde_json::json;

use super::checkpoint;
use crate::error::ApiResult;
use crate::state::ServerState;

/// What the pipeline does. A pipeline that an error has terminated answers with that error.
#[utoipa::path(get, path = "/status", tag = "Pipeline", responses(
    (status = 200, body = StatusResponse),
    (status = 500, description = "`PipelineTerminated`: a step failed", body = ErrorResponse),
))]
pub(crate) async fn status(State(state): State<ServerState>) -> ApiResult<Json<StatusResponse>> {
    let is_running = state.pipeline.is_running().await?;
    let desired = if is_running {
        RuntimeStatus::Running
    } else {
        RuntimeStatus::Paused
    };
    Ok(Json(StatusResponse {
        runtime_status: desired,
        runtime_status_details: RuntimeStatusDetails {
            connector_stats: ConnectorStats {
                num_errors: state.pipeline.errors_total().await?,
            },
            approval_diff: None,
        },
        runtime_desired_status: desired,
        storage_status_details: json!({"checkpoints": checkpoint::listed(&state)}),
    }))
}

/// Lets the pipeline run. Running already is fine.
#[utoipa::path(post, path = "/start", tag = "Pipeline", responses(
    (status = 202, body = String),
    (status = 500, description = "`PipelineTerminated`", body = ErrorResponse),
))]
pub(crate) async fn start(
    State(state): State<ServerState>,
) -> ApiResult<(StatusCode, Json<&'static str>)> {
    state.pipeline.resume().await?;
    Ok((StatusCode::ACCEPTED, Json("The pipeline is running")))
}

/// Stops inputs and steps until `/start`. Queries, statistics and followers go on.
#[utoipa::path(post, path = "/pause", tag = "Pipeline", responses(
    (status = 202, body = String),
    (status = 500, description = "`PipelineTerminated`", body = ErrorResponse),
))]
pub(crate) async fn pause(
    State(state): State<ServerState>,
) -> ApiResult<(StatusCode, Json<&'static str>)> {
    state.pipeline.pause().await?;
    Ok((StatusCode::ACCEPTED, Json("The pipeline is paused")))
}
