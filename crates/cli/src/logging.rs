//! Logs to stderr.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging; `filter` is what `--log` said, else `RUST_LOG`, else warnings.
pub(crate) fn start(filter: Option<&str>) {
    let filter = match filter {
        Some(filter) => EnvFilter::try_new(filter),
        None => EnvFilter::try_from_default_env(),
    };
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}
