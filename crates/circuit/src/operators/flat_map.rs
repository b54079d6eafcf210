//! Zero or more rows per row, each with the weight of the row that it came from.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use highwater_zset::Delta;

use super::{BuildContext, Flow, Operator, OperatorError, StepContext, evaluate, record_batch};
use crate::expression::FlatMapFunction;

pub(super) struct FlatMap {
    function: Arc<dyn FlatMapFunction>,
    schema: SchemaRef,
}

impl FlatMap {
    pub(super) fn new(function: Arc<dyn FlatMapFunction>, context: &BuildContext<'_>) -> Self {
        Self {
            function,
            schema: context.node.schema.clone(),
        }
    }

    fn expand(&self, delta: &Delta) -> Result<Delta, OperatorError> {
        let function = &self.function;
        let (rows, origins) = evaluate(function.fingerprint(), delta.rows(), |rows| {
            function.evaluate(rows)
        })?;
        let weights = delta.weights();
        let weights: Vec<i64> = origins
            .iter()
            .map(|&origin| weights[origin as usize])
            .collect();
        let rows = record_batch(&self.schema, rows.columns().to_vec(), weights.len())?;
        Ok(Delta::new(rows, weights.into()))
    }
}

impl Operator for FlatMap {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let expanded = inputs[0]
            .deltas()
            .into_iter()
            .map(|delta| self.expand(&delta));
        Ok(Flow::Delta(expanded.collect::<Result<_, _>>()?))
    }
}

#[cfg(test)]
mod tests;
