//! `/query`: ad-hoc SQL over the present contents of materialized relations.
//!
//! A query sees the contents that were published last when it began: all of some step and nothing
//! of the next, however long it runs. A query that is wrong is answered with 400; one that fails on
//! the data with 200 and the format's own way to say so, as clients expect of a stream of rows.

mod arrow_ipc;
mod json;
mod parquet;
mod text;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use highwater_pipeline::{Contents, Definition, Pipeline};
use highwater_sql::{Program, QueryEngine, QueryErrorKind};
use highwater_types::error::ErrorResponse;
use highwater_zset::Snapshot;
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::state::ServerState;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct QueryParams {
    /// A SELECT over materialized tables and views.
    sql: String,
    /// `text` (default), `json`, `arrow_ipc` or `parquet`.
    format: Option<String>,
}

/// A query's result.
pub(crate) struct Answer {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

/// What a query failed with while it ran.
pub(crate) struct Failure(pub(crate) String);

/// Answers queries for one program.
pub(crate) struct Queries {
    engine: QueryEngine,
    definition: Arc<Definition>,
}

impl Queries {
    pub(crate) fn new(program: &Program, definition: Arc<Definition>) -> Self {
        Self {
            engine: QueryEngine::new(program),
            definition,
        }
    }

    /// Runs a query; the outer error is a query that is wrong, the inner one what its rows did.
    async fn answer(&self, pipeline: &Pipeline, sql: &str) -> ApiResult<Result<Answer, Failure>> {
        // One look at the contents: all relations are of one step.
        let contents = pipeline.contents();
        let snapshots = |name: &str| self.snapshots(&contents, name);
        match self.engine.query(sql, &snapshots).await {
            Ok((schema, batches)) => Ok(Ok(Answer { schema, batches })),
            Err(error) => match error.kind {
                QueryErrorKind::Planning => Err(failed(error.message)),
                QueryErrorKind::Runtime => Ok(Err(Failure(error.message))),
            },
        }
    }

    /// The contents of a relation; none if they are not kept.
    fn snapshots(&self, contents: &Contents, name: &str) -> Option<Vec<Snapshot>> {
        let mut relations = self.definition.relations();
        let (reference, _) = relations.find(|(_, relation)| relation.name == name)?;
        let is_kept = self.definition.is_materialized(reference);
        is_kept.then(|| contents.snapshots(reference))
    }
}

/// Answers an ad-hoc query over materialized tables and views, as of one step.
#[utoipa::path(get, path = "/query", tag = "Data", params(QueryParams), responses(
    (status = 200, description = "The rows; or, in the format's way, what the query failed with on the data", content(
        (String = "text/plain"), (String = "application/json"), (String = "application/octet-stream"))),
    (status = 400, description = "`AdHocQueryError`: the query cannot be planned; or `InvalidParam`", body = ErrorResponse),
    (status = 500, description = "`PipelineTerminated`: a step failed", body = ErrorResponse),
))]
pub(crate) async fn query(
    State(state): State<ServerState>,
    Params(params): Params<QueryParams>,
) -> ApiResult<Response> {
    let format = params.format.as_deref().unwrap_or("text");
    let formats = ["text", "json", "arrow_ipc", "parquet"];
    if !formats.contains(&format) {
        return Err(ApiError::invalid(format!(
            "unknown query format `{format}`; known are `{}`",
            formats.join("`, `")
        )));
    }
    // A pipeline that has ended says so.
    state.pipeline.is_running().await?;
    let answer = state.queries.answer(&state.pipeline, &params.sql).await?;
    match format {
        "json" => Ok(json::respond(answer)),
        "arrow_ipc" => arrow_ipc::respond(answer),
        "parquet" => parquet::respond(answer),
        _ => text::respond(answer),
    }
}

/// A body that is made as it is sent. Clients compare the type as a whole, so it has no charset.
fn streamed(
    content_type: &'static str,
    pieces: impl Iterator<Item = Vec<u8>> + Send + 'static,
) -> Response {
    let pieces = futures::stream::iter(pieces.map(Ok::<_, std::convert::Infallible>));
    (
        [(header::CONTENT_TYPE, content_type)],
        Body::from_stream(pieces),
    )
        .into_response()
}

fn failed(message: String) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "AdHocQueryError", message)
}
