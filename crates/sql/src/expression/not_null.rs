//! Filters on NULL: a key with a NULL joins nothing.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use highwater_circuit::expression::{self as circuit, EvaluationError, Expression};

/// True if none of some columns is NULL.
#[derive(Debug)]
struct NotNull {
    columns: Vec<usize>,
    fingerprint: String,
}

/// True for the rows that have a value in each of these columns.
pub(crate) fn not_null(columns: Vec<usize>) -> circuit::Expr {
    Arc::new(NotNull {
        fingerprint: format!("not null {columns:?}"),
        columns,
    })
}

impl Expression for NotNull {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let mut valid: Option<NullBuffer> = None;
        for &column in &self.columns {
            let nulls = rows.column(column).logical_nulls();
            valid = NullBuffer::union(valid.as_ref(), nulls.as_ref());
        }
        let values = match valid {
            Some(valid) => valid.into_inner(),
            None => BooleanBuffer::new_set(rows.num_rows()),
        };
        Ok(Arc::new(BooleanArray::new(values, None)))
    }

    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

/// True if a column is NULL.
#[derive(Debug)]
struct IsNull {
    column: usize,
    fingerprint: String,
}

/// True for the rows that have no value in this column.
pub(crate) fn is_null(column: usize) -> circuit::Expr {
    Arc::new(IsNull {
        fingerprint: format!("null {column}"),
        column,
    })
}

impl Expression for IsNull {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let values = match rows.column(self.column).logical_nulls() {
            Some(valid) => !valid.inner(),
            None => BooleanBuffer::new_unset(rows.num_rows()),
        };
        Ok(Arc::new(BooleanArray::new(values, None)))
    }

    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
