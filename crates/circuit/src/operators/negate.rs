//! The same rows with the other sign: the right side of a bag difference.

use highwater_zset::Delta;

use super::{Flow, Operator, OperatorError, StepContext};

/// Negates weights.
pub(crate) struct Negate;

impl Operator for Negate {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        Ok(Flow::Delta(
            inputs[0].deltas().iter().map(Delta::negated).collect(),
        ))
    }
}
