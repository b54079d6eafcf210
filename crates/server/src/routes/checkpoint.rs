//! `/checkpoint`, `/checkpoint_status`, `/checkpoints`, `/suspend`, `/suspendable`.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use highwater_types::checkpoint::{CheckpointMetadata, CheckpointResponse, CheckpointStatus};
use highwater_types::error::ErrorResponse;
use highwater_types::suspend::SuspendableResponse;
use serde::Deserialize;
use uuid::Uuid;

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::state::ServerState;

pub(super) fn routes() -> Router<ServerState> {
    Router::new()
        .route("/checkpoint", post(checkpoint))
        .route("/checkpoint_status", get(status))
        .route("/checkpoints", get(checkpoints))
        .route("/checkpoints/remote", get(remote))
        .route("/suspend", post(suspend))
        .route("/suspendable", get(suspendable))
}

/// Asks for a checkpoint of everything that was received before. It is durable when
/// `/checkpoint_status` has its number as `success`.
#[utoipa::path(post, path = "/checkpoint", tag = "Checkpoints", responses(
    (status = 200, body = CheckpointResponse),
    (status = 400, description = "`StorageRequired`: state is in memory only", body = ErrorResponse),
))]
pub(crate) async fn checkpoint(
    State(state): State<ServerState>,
) -> ApiResult<Json<CheckpointResponse>> {
    let checkpoint_sequence_number = state.pipeline.checkpoint().await?;
    Ok(Json(CheckpointResponse {
        checkpoint_sequence_number,
        incarnation_uuid: Some(state.pipeline.incarnation()),
    }))
}

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatusParams {
    /// The run that was asked, as `/checkpoint` told it.
    incarnation_uuid: Option<Uuid>,
}

/// How the checkpoints that were asked for went: the last one that is durable, and the last failure,
/// which no later success clears.
#[utoipa::path(get, path = "/checkpoint_status", tag = "Checkpoints", params(StatusParams), responses(
    (status = 200, body = CheckpointStatus),
    (status = 400, description = "`IncarnationUuidMismatch`: the pipeline was restarted since", body = ErrorResponse),
))]
pub(crate) async fn status(
    State(state): State<ServerState>,
    Params(params): Params<StatusParams>,
) -> ApiResult<Json<CheckpointStatus>> {
    let status = state.pipeline.checkpoint_status(params.incarnation_uuid);
    Ok(Json(status.await?))
}

/// The checkpoints on disk, oldest first; none without storage.
#[utoipa::path(get, path = "/checkpoints", tag = "Checkpoints", responses(
    (status = 200, body = Vec<CheckpointMetadata>),
))]
pub(crate) async fn checkpoints(State(state): State<ServerState>) -> Json<Vec<CheckpointMetadata>> {
    Json(listed(&state))
}

/// The checkpoints on disk.
pub(crate) fn listed(state: &ServerState) -> Vec<CheckpointMetadata> {
    let entries = state.pipeline.store().map(|store| store.entries());
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.metadata).collect()
}

/// The checkpoints in the bucket. There is no bucket.
#[utoipa::path(get, path = "/checkpoints/remote", tag = "Checkpoints", responses(
    (status = 400, description = "`NoBucket`: checkpoints are kept on local disk only", body = ErrorResponse),
))]
pub(crate) async fn remote() -> ApiError {
    let message = "no bucket is configured: checkpoints are kept on local disk only";
    ApiError::new(StatusCode::BAD_REQUEST, "NoBucket", message)
}

/// Takes a checkpoint of everything that was received, and ends the process. Asking twice is fine.
/// Should the checkpoint fail, the pipeline goes on, and `/checkpoint_status` tells why.
#[utoipa::path(post, path = "/suspend", tag = "Checkpoints", responses(
    (status = 202, body = String),
    (status = 400, description = "`StorageRequired`: state is in memory only", body = ErrorResponse),
))]
pub(crate) async fn suspend(
    State(state): State<ServerState>,
) -> ApiResult<(StatusCode, Json<&'static str>)> {
    state.pipeline.suspend().await?;
    Ok((
        StatusCode::ACCEPTED,
        Json("The pipeline is being suspended"),
    ))
}

/// Whether the pipeline could ever be suspended.
#[utoipa::path(get, path = "/suspendable", tag = "Checkpoints", responses(
    (status = 200, body = SuspendableResponse),
))]
pub(crate) async fn suspendable(
    State(state): State<ServerState>,
) -> ApiResult<Json<SuspendableResponse>> {
    let reasons = state.pipeline.permanent_suspend_errors().await?;
    Ok(Json(SuspendableResponse::new(reasons)))
}
