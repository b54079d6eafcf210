//! `/stats`.

use axum::Json;
use axum::extract::State;
use highwater_types::stats::PipelineStats;
use serde::Deserialize;

use crate::error::ApiResult;
use crate::extract::Params;
use crate::state::ServerState;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct StatsParams {
    /// Add the last messages of each endpoint.
    #[serde(default)]
    include_connector_errors: bool,
}

/// Counters of the pipeline, its inputs and its outputs.
#[utoipa::path(get, path = "/stats", tag = "Pipeline", params(StatsParams), responses(
    (status = 200, body = PipelineStats),
))]
pub(crate) async fn stats(
    State(state): State<ServerState>,
    Params(params): Params<StatsParams>,
) -> ApiResult<Json<PipelineStats>> {
    let stats = state
        .pipeline
        .stats(params.include_connector_errors)
        .await?;
    Ok(Json(stats))
}
