//! Transports out: where encoded changes go.

use serde_json::Value;

use crate::error::TransportError;

/// A sink of encoded changes.
pub trait OutputTransport: Send {
    /// Writes a piece of the output of `step`.
    fn write(&mut self, step: u64, piece: &[u8]) -> Result<(), TransportError>;

    /// Makes everything up to `step` visible to readers.
    fn step_done(&mut self, step: u64) -> Result<(), TransportError>;

    /// The place behind the last step that is done; opening there discards what was written later.
    fn position(&self) -> Value;
}
