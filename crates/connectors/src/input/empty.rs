//! `empty_input`: ends at once; for programs whose table is filled by other means.

use std::sync::Arc;

use highwater_types::connector::ConnectorConfig;
use serde::Deserialize;
use serde_json::Value;

use super::stream::end_input;
use super::{Finished, InputSink, InputTransport, Opened, wait_while_paused};
use crate::clock::Clock;
use crate::decode::parse_config;
use crate::error::TransportError;
use crate::table::InputTable;

/// `transport.config`: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyConfig {}

struct EmptyInput;

/// Makes the transport.
pub(super) fn open(config: &ConnectorConfig, _: &Arc<InputTable>, _: Option<Value>) -> Opened {
    let EmptyConfig {} = parse_config(&config.transport.config)
        .map_err(|error| error.within("transport `empty_input`"))?;
    Ok(Box::new(EmptyInput))
}

impl InputTransport for EmptyInput {
    fn run(
        self: Box<Self>,
        sink: &dyn InputSink,
        clock: &dyn Clock,
    ) -> Result<Finished, TransportError> {
        if !wait_while_paused(sink, clock, |_| ()) {
            return Ok(Finished::Stopped);
        }
        Ok(end_input(sink))
    }
}
