//! The HTTP interface of a pipeline.
//!
//! [`serve`] answers requests until it is told to stop. Routes are listed in [`routes`]; each group
//! is a file there. [`error`] is the one table from error kinds to status codes, `names` the rules
//! for identifiers in paths. [`definition`] turns a compiled program into what a pipeline runs.

mod approval;
pub mod definition;
pub mod error;

mod drain;
mod extract;
mod names;
pub mod routes;
mod state;

use std::future::Future;
use std::time::Duration;

use tokio::net::TcpListener;

pub use approval::await_approval;
pub use state::ServerState;

/// How long open connections may take to end once the pipeline has stopped.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// Answers requests on `listener` until `shutdown` resolves; stops the pipeline then, and returns
/// when the connections have ended.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: ServerState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let pipeline = state.pipeline.clone();
    let (stopped, has_stopped) = tokio::sync::oneshot::channel();
    let stopping = async move {
        shutdown.await;
        pipeline.stop().await;
        // The other end waits until the server returns.
        let _ = stopped.send(());
    };
    let impatience = async {
        if has_stopped.await.is_ok() {
            tokio::time::sleep(SHUTDOWN_PATIENCE).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let serving = axum::serve(listener, routes::router(state)).with_graceful_shutdown(stopping);
    tokio::select! {
        served = serving => served,
        () = impatience => Ok(()),
    }
}
