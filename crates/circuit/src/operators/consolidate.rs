//! Sums the weights of equal rows, so that a view's followers see each row at most once per step.

use arrow::datatypes::SchemaRef;
use highwater_zset::Delta;

use super::{Flow, Operator, OperatorError, StepContext};

/// One delta of distinct rows without zero weights. Keeps nothing between steps.
pub(crate) struct Consolidate {
    schema: SchemaRef,
}

impl Consolidate {
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self { schema }
    }
}

impl Operator for Consolidate {
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        let deltas = inputs[0].deltas();
        if deltas.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        // The batch of an arrangement is consolidated already.
        if let Flow::Arranged(_) = inputs[0] {
            return Ok(Flow::Delta(deltas));
        }
        let all = Delta::concat(&self.schema, &deltas)?;
        Ok(Flow::of(all.consolidated(context.hasher)?))
    }
}
