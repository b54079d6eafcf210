//! Errors of a running circuit.

use crate::plan::OperatorId;

/// Why a step failed. The circuit is stopped afterwards; its state is that of the step before.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// An expression had no value: overflow, a bad cast, division by zero, a scalar subquery with two rows.
    #[error(
        "{message} in {expression} of {operator_label} ({operator}){}",
        of_row(row)
    )]
    Evaluation {
        operator: OperatorId,
        /// What the operator is, e.g. `map for view v1`.
        operator_label: String,
        expression: String,
        /// The row, or its key, as `(value, value, …)`; empty if no row is to blame.
        row: String,
        message: String,
    },
    /// A broken invariant or a panic in a worker.
    #[error("worker {worker} panicked: {message}")]
    WorkerPanic { worker: usize, message: String },
    /// The circuit has stopped after an earlier error.
    #[error("the circuit has stopped")]
    Stopped,
    /// The plan cannot run, e.g. an input has the wrong columns.
    #[error("{0}")]
    Invalid(String),
}

fn of_row(row: &str) -> String {
    match row {
        "" => String::new(),
        row => format!(", row {row}"),
    }
}

pub type Result<T> = std::result::Result<T, Error>;
