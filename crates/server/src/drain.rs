//! Reads what a handler has left of a request body before the reply goes out.
//!
//! A connection whose request was not read to its end cannot be used again: the server closes it, and
//! a client that has just sent its next request on it sees that fail. So a refused request (a wrong
//! name, a bad format) is read to its end first, if that end is near.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use tokio::sync::Mutex;

/// Larger rests, and slower ones, cost the connection.
const DRAINED_BYTES_MAX: usize = 1 << 20;
const DRAINING_TIME_MAX: Duration = Duration::from_secs(1);

/// The body, shared by the handler and what comes after it; none once it has ended.
type SharedBody = Arc<Mutex<Option<BodyDataStream>>>;

/// Middleware around all routes.
pub(crate) async fn drain(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let shared: SharedBody = Arc::new(Mutex::new(Some(body.into_data_stream())));
    let pieces = futures::stream::unfold(shared.clone(), |shared| async move {
        let piece = next_piece(&shared).await?;
        Some((piece, shared))
    });
    let request = Request::from_parts(parts, Body::from_stream(pieces));
    let response = next.run(request).await;
    let rest = async {
        let mut drained = 0;
        while let Some(Ok(piece)) = next_piece(&shared).await {
            drained += piece.len();
            if drained > DRAINED_BYTES_MAX {
                break;
            }
        }
    };
    // Out of time is as good as out of bytes: the reply goes out.
    let _ = tokio::time::timeout(DRAINING_TIME_MAX, rest).await;
    response
}

async fn next_piece(shared: &SharedBody) -> Option<Result<Bytes, axum::Error>> {
    let mut body = shared.lock().await;
    let piece = body.as_mut()?.next().await;
    if !matches!(piece, Some(Ok(_))) {
        *body = None;
    }
    piece
}
