//! All routes, each under `/` and under `/v0/pipelines/{name}/`.

mod checkpoint;
mod completion;
mod config;
mod connectors;
mod console;
mod diff;
mod egress;
mod graph;
mod ingress;
mod lifecycle;
mod metrics;
mod openapi;
pub(crate) mod query;
mod stats;
mod transaction;

use axum::Router;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use crate::drain::drain;
use crate::error::{ApiError, ApiResult};
use crate::state::ServerState;

/// The application.
pub fn router(state: ServerState) -> Router {
    let named = pipeline_routes().layer(middleware::from_fn_with_state(
        state.clone(),
        check_pipeline_name,
    ));
    Router::new()
        .route("/", get(console::page))
        .route("/healthz", get(config::healthz))
        .route("/config/authentication", get(config::authentication))
        .route("/openapi.json", get(openapi::document))
        .route("/v0/config", get(config::configuration))
        .merge(pipeline_routes())
        .nest("/v0/pipelines/{name}", named)
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::map_response(no_cache))
        .layer(middleware::from_fn(drain))
        .with_state(state)
}

fn pipeline_routes() -> Router<ServerState> {
    Router::new()
        .route("/status", get(lifecycle::status))
        .route("/start", get(lifecycle::start).post(lifecycle::start))
        .route("/resume", get(lifecycle::start).post(lifecycle::start))
        .route("/pause", get(lifecycle::pause).post(lifecycle::pause))
        .route("/stats", get(stats::stats))
        .route("/metrics", get(metrics::metrics))
        .route("/ingress/{table}", post(ingress::ingress))
        .route(
            "/egress/{relation}",
            get(egress::egress).post(egress::egress),
        )
        .route("/query", get(query::query))
        .route("/completion_status", get(completion::status))
        .route("/start_transaction", post(transaction::start))
        .route("/commit_transaction", post(transaction::commit))
        .route("/dataflow_graph", get(graph::graph))
        .route("/diff", post(diff::diff))
        .merge(connectors::routes())
        .merge(checkpoint::routes())
}

/// There is one pipeline here; another name is an error rather than an alias.
async fn check_pipeline_name(
    State(state): State<ServerState>,
    params: RawPathParams,
    request: Request,
    next: Next,
) -> ApiResult<Response> {
    let name = params.iter().find(|(key, _)| *key == "name");
    match name {
        Some((_, name)) if name == &*state.name => Ok(next.run(request).await),
        other => {
            let asked = other.map_or("", |(_, name)| name);
            let message = format!(
                "there is no pipeline `{asked}` here; this one is `{}`",
                state.name
            );
            Err(ApiError::new(
                StatusCode::NOT_FOUND,
                "UnknownPipelineName",
                message,
            ))
        }
    }
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "UnknownRoute",
        format!("there is no route `{}`; see /openapi.json", uri.path()),
    )
}

async fn wrong_method(request: Request) -> ApiError {
    let message = format!(
        "`{}` does not take {}; see /openapi.json",
        request.uri().path(),
        request.method()
    );
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "WrongMethod", message)
}

async fn no_cache(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
