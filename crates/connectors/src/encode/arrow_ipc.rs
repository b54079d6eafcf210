//! Arrow IPC out: one stream, a batch per delta, with the weights in a column behind the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use highwater_zset::Delta;
use serde::Deserialize;
use serde_json::Value;

use super::order::{ordered_changes, records};
use super::{Encoded, Encoder, OutputRelation, StreamStart, WEIGHT_COLUMN};
use crate::decode::parse_config;
use crate::error::{ConfigError, EncodeError};

/// `format.config` of `arrow_ipc` for outputs: nothing.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ArrowConfig {}

struct ArrowEncoder {
    relation: Arc<OutputRelation>,
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
}

/// Makes the encoder.
pub(super) fn make(
    config: &Value,
    relation: Arc<OutputRelation>,
    start: StreamStart,
) -> Result<Box<dyn Encoder>, ConfigError> {
    let ArrowConfig {} = parse_config(config)?;
    let weight = Arc::new(Field::new(WEIGHT_COLUMN, DataType::Int64, false));
    let fields = relation.schema.fields().iter().cloned().chain([weight]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    // The writer begins with the schema.
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)
        .map_err(|error| ConfigError::new(error.to_string()))?;
    if start == StreamStart::Continued {
        writer.get_mut().clear();
    }
    Ok(Box::new(ArrowEncoder {
        relation,
        schema,
        writer,
    }))
}

impl Encoder for ArrowEncoder {
    fn encode<'a>(&'a mut self, delta: &Delta) -> Result<Encoded<'a>, EncodeError> {
        let changes = ordered_changes(delta, &self.relation.key)?;
        let rows: UInt64Array = changes.iter().map(|change| change.row as u64).collect();
        let weights: Int64Array = changes.iter().map(|change| change.weight).collect();
        let columns = delta
            .rows()
            .columns()
            .iter()
            .map(|column| take(column, &rows, None));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        columns.push(Arc::new(weights));
        if !changes.is_empty() {
            self.writer
                .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        }
        let piece = std::mem::take(self.writer.get_mut());
        let pieces = (!piece.is_empty()).then_some(piece).into_iter();
        Ok(Encoded {
            records: records(&changes),
            pieces: Box::new(pieces),
        })
    }
}
