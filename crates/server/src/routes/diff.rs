//! `/diff`: what starting another program on the last checkpoint would change.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use highwater_pipeline::Definition;
use highwater_pipeline::difference::{bootstrapped_views, difference};
use highwater_pipeline::storage::SavedPipeline;
use highwater_sql::{CompileOptions, compile};
use highwater_types::difference::{DiffRequest, PipelineDiff};
use highwater_types::error::ErrorResponse;
use highwater_types::program::Diagnostic;
use highwater_zset::RowHasher;

use crate::definition::definition;
use crate::error::{ApiError, ApiResult};
use crate::extract::Body;
use crate::state::ServerState;

/// Compares a program with the one that runs: tables, views and connectors, and the stored rows that new
/// and changed views would be computed from, as of the last checkpoint.
#[utoipa::path(post, path = "/diff", tag = "Checkpoints", request_body = DiffRequest, responses(
    (status = 200, body = PipelineDiff),
    (status = 400, description = "`InvalidNewProgramSql`: the new program does not compile; \
        `InvalidParam`: the body is not what it should be", body = ErrorResponse),
))]
pub(crate) async fn diff(
    State(state): State<ServerState>,
    Body(request): Body<DiffRequest>,
) -> ApiResult<Json<PipelineDiff>> {
    let Some(text) = request.program_code else {
        return Ok(Json(PipelineDiff {
            program_diff: Some(Default::default()),
            ..PipelineDiff::default()
        }));
    };
    // Compiling and reading a checkpoint take milliseconds of a processor and a disk.
    let compared = tokio::task::spawn_blocking(move || compare(&state, &text)).await;
    let compared = compared.map_err(|error| {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        ApiError::new(status, "InternalError", error.to_string())
    });
    compared?.map(Json)
}

fn compare(state: &ServerState, text: &str) -> ApiResult<PipelineDiff> {
    let hasher = RowHasher::new(state.pipeline.settings().hash_seed);
    let new = compiled(state, text, hasher)?;
    let old = state.pipeline.definition().recorded_program();
    let mut diff = difference(&old, &new.recorded_program());
    if let Some(saved) = last_checkpoint(state) {
        let program = &saved.record().program;
        diff.bootstrapped_views = bootstrapped_views(&new, hasher, program, saved.workers());
    }
    Ok(diff)
}

fn compiled(state: &ServerState, text: &str, hasher: RowHasher) -> ApiResult<Definition> {
    let invalid = |errors: Vec<Diagnostic>| {
        let texts: Vec<String> = errors.iter().map(Diagnostic::render).collect();
        let code = "InvalidNewProgramSql";
        ApiError::new(StatusCode::BAD_REQUEST, code, texts.join("\n"))
    };
    let program = compile(text, &CompileOptions { hasher }).map_err(invalid)?;
    definition(&program, &state.base).map_err(invalid)
}

/// Without storage, or before the first checkpoint, nothing is known of stored rows.
fn last_checkpoint(state: &ServerState) -> Option<Arc<SavedPipeline>> {
    let store = state.pipeline.store()?;
    let newest = store.entries().pop()?;
    let saved = store.read(newest.uuid()).and_then(SavedPipeline::read);
    match saved {
        Ok(saved) => Some(Arc::new(saved)),
        Err(error) => {
            tracing::warn!(%error, "the last checkpoint cannot be read");
            None
        }
    }
}
