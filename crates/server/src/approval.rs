//! Waits for somebody to approve that a changed program goes on from a checkpoint.
//!
//! There is no pipeline yet, so there are few routes: `/status` tells the difference, `/approve` ends the
//! waiting, everything else is told to come back.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use highwater_types::api::{RuntimeStatus, RuntimeStatusDetails, StatusResponse};
use highwater_types::difference::PipelineDiff;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::error::ApiError;

#[derive(Clone)]
struct Waiting {
    diff: Arc<PipelineDiff>,
    approved: Arc<Notify>,
}

/// Serves until the difference is approved.
///
/// # Errors
/// If the listener fails.
pub async fn await_approval(listener: TcpListener, diff: PipelineDiff) -> std::io::Result<()> {
    let waiting = Waiting {
        diff: Arc::new(diff),
        approved: Arc::new(Notify::new()),
    };
    let approved = waiting.approved.clone();
    let routes = || {
        Router::new()
            .route("/status", get(status))
            .route("/approve", post(approve))
    };
    let router = Router::new()
        .merge(routes())
        .nest("/v0/pipelines/{name}", routes())
        .fallback(not_yet)
        .with_state(waiting);
    let until_approved = async move { approved.notified().await };
    axum::serve(listener, router)
        .with_graceful_shutdown(until_approved)
        .await
}

async fn status(State(waiting): State<Waiting>) -> Json<StatusResponse> {
    Json(StatusResponse {
        runtime_status: RuntimeStatus::AwaitingApproval,
        runtime_status_details: RuntimeStatusDetails {
            approval_diff: Some(PipelineDiff::clone(&waiting.diff)),
            ..RuntimeStatusDetails::default()
        },
        runtime_desired_status: RuntimeStatus::Running,
        storage_status_details: json!({}),
    })
}

async fn approve(State(waiting): State<Waiting>) -> Json<&'static str> {
    waiting.approved.notify_one();
    Json("Approved")
}

async fn not_yet(_: Request) -> Response {
    let message =
        "the program has changed since the checkpoint: see /status, and POST /approve to go on";
    let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "AwaitingApproval", message);
    ([(header::RETRY_AFTER, "5")], error).into_response()
}
