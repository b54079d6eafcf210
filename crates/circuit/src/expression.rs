//! What the circuit knows of SQL expressions: they map a batch of rows to a column.
//!
//! The implementations live in the `sql` crate, on DataFusion. Every trait has a `fingerprint`: a
//! text that is stable between runs and versions and equal only for functions that compute the
//! same; it goes into the operator's id.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;

/// Why an expression had no value for some row: overflow, a bad cast, division by zero.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct EvaluationError {
    pub message: String,
}

/// A scalar expression: one value per row.
pub trait Expression: Debug + Send + Sync {
    /// Evaluates over `rows`; the result has `rows.num_rows()` values of [`Self::data_type`].
    ///
    /// # Errors
    /// If any row has no value. The caller finds the row by evaluating halves.
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError>;
    fn data_type(&self) -> DataType;
    /// Stable text, also shown in errors.
    fn fingerprint(&self) -> &str;
    /// The columns of `rows` that the value depends on, if known: a caller may put NULLs into the
    /// others, and need not make them.
    fn input_columns(&self) -> Option<Vec<usize>> {
        None
    }
    /// The column that this expression merely copies, if so.
    fn as_column(&self) -> Option<usize> {
        None
    }
}

/// A function from the rows of one group, in order, to one value: `ARRAY_AGG`, `STRING_AGG`, ….
pub trait GroupFunction: Debug + Send + Sync {
    /// `rows` are the group's rows in the arrangement's order, a row of weight `n` repeated `n`
    /// times. Returns an array of one value.
    ///
    /// # Errors
    /// If the group has no value, e.g. on overflow.
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError>;
    fn data_type(&self) -> DataType;
    fn fingerprint(&self) -> &str;
}

/// Window functions over one partition: for its rows in order, one or more further columns.
pub trait PartitionFunction: Debug + Send + Sync {
    /// `rows` are one partition's rows in order, a row of weight `n` repeated `n` times. Returns
    /// one array of `rows.num_rows()` values per window expression.
    ///
    /// # Errors
    /// If any value cannot be computed.
    fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, EvaluationError>;
    fn data_types(&self) -> Vec<DataType>;
    fn fingerprint(&self) -> &str;
}

/// A function from one row to any number of rows: `UNNEST`.
pub trait FlatMapFunction: Debug + Send + Sync {
    /// Returns the output rows and, per output row, the index of the input row it came from.
    ///
    /// # Errors
    /// If a row cannot be expanded.
    fn evaluate(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), EvaluationError>;
    fn fingerprint(&self) -> &str;
}

/// Shared expression.
pub type Expr = Arc<dyn Expression>;

/// The expression that copies a column.
#[derive(Debug)]
pub struct Column {
    index: usize,
    data_type: DataType,
    fingerprint: String,
}

impl Column {
    /// Copies column `index`, which has the given type.
    pub fn expr(index: usize, data_type: DataType) -> Expr {
        Arc::new(Self {
            index,
            data_type,
            fingerprint: format!("#{index}"),
        })
    }
}

impl Expression for Column {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        Ok(rows.column(self.index).clone())
    }
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
    fn as_column(&self) -> Option<usize> {
        Some(self.index)
    }
}
