//! `null_output`: takes everything and keeps nothing; for measuring and for views that must run.

use highwater_types::connector::ConnectorConfig;
use serde::Deserialize;
use serde_json::Value;

use super::{Opened, OutputTransport};
use crate::decode::parse_config;
use crate::encode::StreamStart;
use crate::error::TransportError;

/// `transport.config`: nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NullConfig {}

struct NullOutput;

/// Makes the transport.
pub(super) fn open(config: &ConnectorConfig, _: Option<Value>) -> Opened {
    let NullConfig {} = parse_config(&config.transport.config)
        .map_err(|error| error.within("transport `null_output`"))?;
    Ok(Box::new(NullOutput))
}

impl OutputTransport for NullOutput {
    fn write(&mut self, _: u64, _: &[u8]) -> Result<(), TransportError> {
        Ok(())
    }

    fn step_done(&mut self, _: u64) -> Result<(), TransportError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    fn position(&self) -> Value {
        Value::Null
    }

    fn start(&self) -> StreamStart {
        StreamStart::Beginning
    }
}
