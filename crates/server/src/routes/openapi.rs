//! `/openapi.json`: this interface, for programs.

use axum::Json;
use utoipa::OpenApi;

use super::{
    checkpoint, completion, config, connectors, diff, egress, graph, ingress, lifecycle, metrics,
    query, stats, transaction,
};

/// Collects what the routes say of themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Highwater pipeline",
        description = "Every path is also there under `/v0/pipelines/{name}`."
    ),
    paths(
        ingress::ingress,
        egress::egress,
        query::query,
        completion::status,
        transaction::start,
        transaction::commit,
        lifecycle::status,
        lifecycle::start,
        lifecycle::pause,
        stats::stats,
        metrics::metrics,
        graph::graph,
        checkpoint::checkpoint,
        checkpoint::status,
        checkpoint::checkpoints,
        checkpoint::remote,
        checkpoint::suspend,
        checkpoint::suspendable,
        diff::diff,
        connectors::table_action,
        connectors::input_action,
        connectors::view_stats,
        connectors::output_stats,
        config::healthz,
        config::authentication,
        config::configuration,
    )
)]
struct Document;

pub(crate) async fn document() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
