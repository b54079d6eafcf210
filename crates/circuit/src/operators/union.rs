//! `UNION ALL`: the deltas of all inputs, one after the other.

use arrow::datatypes::SchemaRef;
use highwater_zset::Delta;

use super::{Flow, Operator, OperatorError, StepContext, record_batch};

/// All rows of all inputs, under the column names of the first.
pub(crate) struct Union {
    schema: SchemaRef,
}

impl Union {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Union {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let mut deltas = Vec::new();
        for delta in inputs.iter().flat_map(|input| input.deltas()) {
            let (rows, weights) = delta.into_parts();
            let rows = record_batch(&self.schema, rows.columns().to_vec(), rows.num_rows())?;
            deltas.push(Delta::new(rows, weights));
        }
        Ok(Flow::Delta(deltas))
    }
}
