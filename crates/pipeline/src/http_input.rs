//! The pipeline's end of HTTP ingress. All requests of one table and format share an endpoint.

use std::sync::Arc;

use highwater_connectors::decode::Decoded;
use highwater_connectors::error::RowErrors;
use highwater_connectors::input::{Closed, InputChunk, Progress};
use highwater_connectors::table::InputTable;
use serde_json::Value;

use crate::input_thread::InputPort;

/// An open HTTP input.
#[derive(Clone, Debug)]
pub struct HttpInput {
    pub(crate) port: InputPort,
    pub(crate) table: Arc<InputTable>,
}

impl HttpInput {
    /// The table to decode for.
    pub fn table(&self) -> &Arc<InputTable> {
        &self.table
    }

    /// True while the pipeline or this endpoint is paused. Does not block.
    pub fn is_paused(&self) -> bool {
        self.port.gate.is_paused()
    }

    /// Hands over decoded rows; waits while the queue is full, and while the pipeline is paused
    /// unless `force`: call it on a thread that may block. `records_before` counts the records of the request before these. Returns all
    /// errors of the piece: the decoder's and the table's.
    ///
    /// # Errors
    /// [`Closed`] if the pipeline ends.
    pub fn push(
        &self,
        decoded: Decoded,
        records_before: u64,
        force: bool,
    ) -> Result<RowErrors, Closed> {
        let chunk = InputChunk {
            changes: decoded.changes,
            errors: decoded.errors,
            bytes: decoded.bytes,
            position: Value::Null,
            progress: Progress::default(),
        };
        self.port.push(chunk, records_before, force)
    }
}
