//! A delta: rows with weights, in no particular order.

use arrow::array::RecordBatch;
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::SchemaRef;

/// A change of a relation. Row `i` of `rows` is inserted `weights[i]` times, deleted if negative.
/// Rows may repeat and weights may be zero or cancel.
#[derive(Clone, Debug)]
pub struct Delta {
    rows: RecordBatch,
    weights: ScalarBuffer<i64>,
}

impl Delta {
    /// # Panics
    /// If there are not as many weights as rows.
    pub fn new(rows: RecordBatch, weights: ScalarBuffer<i64>) -> Self {
        assert_eq!(rows.num_rows(), weights.len(), "one weight per row");
        Self { rows, weights }
    }

    /// Inserts every row once.
    pub fn insertions(rows: RecordBatch) -> Self {
        let weights = vec![1; rows.num_rows()].into();
        Self { rows, weights }
    }

    /// No change.
    pub fn empty(schema: SchemaRef) -> Self {
        Self { rows: RecordBatch::new_empty(schema), weights: Vec::new().into() }
    }

    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    pub fn weights(&self) -> &ScalarBuffer<i64> {
        &self.weights
    }

    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Number of rows, whatever their weights.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// The same rows with the other sign.
    pub fn negated(&self) -> Self {
        let weights = self.weights.iter().map(|weight| -weight).collect();
        Self { rows: self.rows.clone(), weights }
    }

    pub fn into_parts(self) -> (RecordBatch, ScalarBuffer<i64>) {
        (self.rows, self.weights)
    }
}
