//! The thread of an output connector: changes in, bytes out, a report for each step.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;

use arrow::datatypes::SchemaRef;
use highwater_connectors::error::{EncodeError, TransportError};
use highwater_connectors::output::{OutputConnector, Transmitted};
use highwater_zset::Delta;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::definition::combined;
use crate::engine::panic_message;
use crate::error::with_causes;
use crate::event::{EndpointId, Event, OutputMessage};

/// What writes a connector's changes.
pub(crate) struct OutputWriter {
    pub(crate) connector: OutputConnector,
    pub(crate) schema: SchemaRef,
}

/// Writes until the pipeline says that nothing follows.
pub(crate) fn run(
    mut writer: OutputWriter,
    output: EndpointId,
    mut messages: UnboundedReceiver<OutputMessage>,
    events: &Sender<Event>,
) {
    let mut writing = || write_all(&mut writer, output, &mut messages, events);
    let result = catch_unwind(AssertUnwindSafe(&mut writing));
    let message = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => with_causes(&error),
        Err(panic) => format!("the connector panicked: {}", panic_message(panic.as_ref())),
    };
    // If the controller is gone, the failure of an output means nothing any more.
    let _ = events.send(Event::OutputFailed { output, message });
}

fn write_all(
    writer: &mut OutputWriter,
    output: EndpointId,
    messages: &mut UnboundedReceiver<OutputMessage>,
    events: &Sender<Event>,
) -> Result<(), TransportError> {
    while let Some(message) = messages.blocking_recv() {
        let (step, deltas) = match message {
            OutputMessage::Changes { step, deltas } => (step, deltas),
            // Connectors are there from the first step on: they have all contents as changes.
            OutputMessage::Snapshot { .. } => continue,
            OutputMessage::Sync { step } => {
                let position = writer.connector.sync(step)?;
                if events
                    .send(Event::OutputSynced { output, position })
                    .is_err()
                {
                    return Ok(());
                }
                continue;
            }
            OutputMessage::End { .. } => return Ok(()),
        };
        let Transmitted { records, bytes } = match writer.write(step, &deltas) {
            Ok(transmitted) => transmitted,
            Err(TransportError::Encode(error)) => {
                let message = format!("step {step}: {error}");
                // The send that follows finds out whether the controller is gone.
                let _ = events.send(Event::EncodeFailed { output, message });
                Transmitted::default()
            }
            Err(error) => return Err(error),
        };
        let delivered = Event::Delivered {
            output,
            step,
            records,
            bytes,
        };
        if events.send(delivered).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

impl OutputWriter {
    /// Writes the changes of a step.
    fn write(&mut self, step: u64, deltas: &[Delta]) -> Result<Transmitted, TransportError> {
        let delta = combined(&self.schema, deltas).map_err(EncodeError::from)?;
        let transmitted = self.connector.write(step, &delta)?;
        self.connector.step_done(step)?;
        Ok(transmitted)
    }
}
