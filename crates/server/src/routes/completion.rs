//! `/completion_status`.

use axum::Json;
use axum::extract::State;
use highwater_types::api::{CompletionStatus, CompletionStatusResponse};
use highwater_types::error::ErrorResponse;
use serde::Deserialize;

use crate::error::ApiResult;
use crate::extract::Params;
use crate::state::ServerState;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TokenParams {
    /// From `/ingress/{table}` or `…/completion_token`.
    token: String,
}

/// Whether a token's records are visible to queries and delivered to all outputs.
#[utoipa::path(get, path = "/completion_status", tag = "Data", params(TokenParams), responses(
    (status = 200, body = CompletionStatusResponse),
    (status = 400, description = "`InvalidParam`: not a token", body = ErrorResponse),
    (status = 410, description = "`PipelineRestarted` or `UnknownEndpointInCompletionToken`", body = ErrorResponse),
))]
pub(crate) async fn status(
    State(state): State<ServerState>,
    Params(params): Params<TokenParams>,
) -> ApiResult<Json<CompletionStatusResponse>> {
    let (step, is_complete) = state.pipeline.completion(&params.token).await?;
    let status = if is_complete {
        CompletionStatus::Complete
    } else {
        CompletionStatus::InProgress
    };
    Ok(Json(CompletionStatusResponse { status, step }))
}
