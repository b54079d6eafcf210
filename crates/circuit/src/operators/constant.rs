//! Rows that are there from the first step on: `VALUES`, and what an empty query begins with.

use arrow::datatypes::SchemaRef;
use highwater_zset::Delta;

use super::{Flow, Operator, OperatorError, StepContext, record_batch};

/// Emits its rows in the first step, on the first worker.
pub(crate) struct Constant {
    rows: Delta,
    schema: SchemaRef,
}

impl Constant {
    pub(crate) fn new(rows: &Delta, schema: SchemaRef) -> Self {
        Self {
            rows: rows.clone(),
            schema,
        }
    }
}

impl Operator for Constant {
    fn step(&mut self, _inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        if !context.is_first || context.worker != 0 {
            return Ok(Flow::UNCHANGED);
        }
        let (rows, weights) = self.rows.clone().into_parts();
        let rows = record_batch(&self.schema, rows.columns().to_vec(), rows.num_rows())?;
        Ok(Flow::of(Delta::new(rows, weights)))
    }
}
