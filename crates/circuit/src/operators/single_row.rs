//! The check of a scalar subquery: at most one row per key. Passes its input on.

use super::{Arranged, BuildContext, Flow, Operator, OperatorError, StepContext, format_row};

pub(super) struct SingleRow;

impl SingleRow {
    pub(super) fn new(_context: &BuildContext<'_>) -> Self {
        Self
    }

    fn check(arranged: &Arranged) -> Result<(), OperatorError> {
        // Only keys that gained rows can have become too many.
        let keys = arranged.delta.keys()?;
        let counts = arranged.after.key_weights(keys.hashes(), keys.columns())?;
        match counts.iter().position(|&count| count > 1) {
            None => Ok(()),
            Some(key) => Err(OperatorError {
                expression: "scalar subquery".to_owned(),
                row: format_row(keys.columns(), key),
                message: "a scalar subquery returned more than one row".to_owned(),
            }),
        }
    }
}

impl Operator for SingleRow {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let arranged = inputs[0].arranged();
        if arranged.delta.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        Self::check(arranged)?;
        Ok(Flow::Delta(inputs[0].deltas()))
    }
}

#[cfg(test)]
mod tests;
