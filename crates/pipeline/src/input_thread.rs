//! The pipeline's end of an input: rows go through the gate and become events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::Sender;

use highwater_connectors::error::RowErrors;
use highwater_connectors::input::{
    Closed, Finished, InputChunk, InputEvent, InputSink, InputTransport,
};
use serde_json::Value;

use crate::admission::{refuse_deletions, table_input};
use crate::engine::panic_message;
use crate::error::with_causes;
use crate::event::{EndpointId, Event, InputPiece};
use crate::gate::Gate;
use crate::moment::TimeSource;

/// Where one input hands over what it has read.
#[derive(Clone, Debug)]
pub(crate) struct InputPort {
    pub(crate) endpoint: EndpointId,
    pub(crate) gate: Arc<Gate>,
    pub(crate) events: Sender<Event>,
    pub(crate) append_only: bool,
    /// Larger chunks are cut, so that steps stay bounded.
    pub(crate) piece_rows_max: usize,
    pub(crate) piece_bytes_max: u64,
}

impl InputPort {
    /// Hands over rows and errors; blocks while the queue is full or (unless `force`) the input is
    /// paused. Returns the errors, with those that the table itself had added.
    pub(crate) fn push(
        &self,
        mut chunk: InputChunk,
        records_before: u64,
        force: bool,
    ) -> Result<RowErrors, Closed> {
        if self.append_only {
            chunk.changes = refuse_deletions(chunk.changes, &mut chunk.errors, records_before);
        }
        let errors = chunk.errors.clone();
        let rows = chunk.changes.len();
        let piece_rows = self.piece_rows(rows, chunk.bytes);
        let mut start = 0;
        let mut bytes_left = chunk.bytes;
        loop {
            let length = piece_rows.min(rows - start);
            let is_last = start + length == rows;
            // The last piece carries what belongs to the whole: a position is behind all rows.
            let bytes = match is_last {
                true => bytes_left,
                false => chunk.bytes / rows as u64 * length as u64,
            };
            bytes_left -= bytes;
            self.gate.pass(length as u64, bytes, force)?;
            let piece = InputPiece {
                endpoint: self.endpoint,
                changes: table_input(chunk.changes.slice(start, length)),
                errors: if is_last {
                    std::mem::take(&mut chunk.errors)
                } else {
                    RowErrors::default()
                },
                bytes,
                position: if is_last {
                    chunk.position.clone()
                } else {
                    Value::Null
                },
                progress: chunk.progress,
            };
            let sent = self.events.send(Event::Input(piece));
            self.gate.arrived();
            sent.map_err(|_| Closed)?;
            start += length;
            if is_last {
                return Ok(errors);
            }
        }
    }

    /// Rows of a piece of a chunk.
    fn piece_rows(&self, rows: usize, bytes: u64) -> usize {
        let pieces = bytes.div_ceil(self.piece_bytes_max.max(1)).max(1);
        let pieces = usize::try_from(pieces).unwrap_or(usize::MAX);
        self.piece_rows_max.min(rows.div_ceil(pieces)).max(1)
    }
}

/// A connector's sink.
struct Sink {
    port: InputPort,
    /// Records pushed so far, bad ones included.
    records: std::sync::atomic::AtomicU64,
}

impl InputSink for Sink {
    fn push(&self, event: InputEvent) -> Result<(), Closed> {
        use std::sync::atomic::Ordering::Relaxed;
        let endpoint = self.port.endpoint;
        let event = match event {
            InputEvent::Changes(chunk) => {
                let records = chunk.changes.len() as u64 + chunk.errors.total;
                let before = self.records.fetch_add(records, Relaxed);
                return self.port.push(chunk, before, false).map(|_| ());
            }
            InputEvent::Warning(message) => Event::InputWarning { endpoint, message },
            InputEvent::EndOfInput => Event::EndOfInput { endpoint },
        };
        self.port.events.send(event).map_err(|_| Closed)
    }

    fn should_stop(&self) -> bool {
        self.port.gate.is_closed()
    }

    fn is_paused(&self) -> bool {
        self.port.gate.is_paused()
    }
}

/// Runs a transport to its end on the calling thread and reports how it ended.
pub(crate) fn run(
    transport: Box<dyn InputTransport>,
    port: InputPort,
    clock: &Arc<dyn TimeSource>,
) {
    let (endpoint, events) = (port.endpoint, port.events.clone());
    let sink = Sink {
        port,
        records: 0.into(),
    };
    let running = || transport.run(&sink, &ClockOf(clock.clone()));
    let result = catch_unwind(AssertUnwindSafe(running));
    let message = match result {
        Ok(Ok(Finished::EndOfInput | Finished::Stopped)) => return,
        Ok(Err(error)) => with_causes(&error),
        Err(panic) => format!("the connector panicked: {}", panic_message(panic.as_ref())),
    };
    // If the controller is gone, the failure of an input means nothing any more.
    let _ = events.send(Event::InputFailed { endpoint, message });
}

/// A [`TimeSource`] as the connectors' clock.
struct ClockOf(Arc<dyn TimeSource>);

impl highwater_connectors::clock::Clock for ClockOf {
    fn now(&self) -> std::time::Duration {
        self.0.now()
    }

    fn sleep(&self, duration: std::time::Duration) {
        self.0.sleep(duration);
    }
}
