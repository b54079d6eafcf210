//! Logs to stderr.

use std::io::IsTerminal;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// Starts logging; `filter` is what `--log` said, else `RUST_LOG`, else warnings.
pub(crate) fn start(filter: Option<&str>) -> Result<()> {
    let filter = match filter {
        Some(filter) => {
            EnvFilter::try_new(filter).with_context(|| format!("--log {filter}: not a filter"))?
        }
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn")),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    Ok(())
}
