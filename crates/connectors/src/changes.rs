//! What a decoder makes of a stream: the changes of one table, in order.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;

/// Changes of one table, in arrival order.
///
/// `rows` has the table's columns in order, all nullable (NOT NULL was checked by the decoder).
/// For a table without primary key a row's weight is how often it is inserted (negative: deleted).
/// With a primary key a positive weight inserts or replaces the row of that key, a negative one
/// deletes it (other columns may be NULL and do not matter), and later changes win.
#[derive(Clone, Debug, PartialEq)]
pub struct ParsedChanges {
    pub rows: RecordBatch,
    pub weights: Vec<i64>,
    pub partial: Option<PartialUpdates>,
}

/// Marks rows that change only some columns of an existing row (tables with primary key only).
#[derive(Clone, Debug, PartialEq)]
pub struct PartialUpdates {
    /// Per row: is it a partial update? Its weight is 1 and means nothing.
    pub is_update: BooleanBuffer,
    /// Per column, per row: does the update set this column? False in rows that are no updates.
    pub is_set: Vec<BooleanBuffer>,
}

impl ParsedChanges {
    /// No change.
    pub fn empty(schema: SchemaRef) -> Self {
        Self {
            rows: RecordBatch::new_empty(schema),
            weights: Vec::new(),
            partial: None,
        }
    }

    /// Inserts every row once.
    pub fn insertions(rows: RecordBatch) -> Self {
        let weights = vec![1; rows.num_rows()];
        Self {
            rows,
            weights,
            partial: None,
        }
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    /// Bytes that the columns occupy in memory.
    pub fn memory_bytes(&self) -> usize {
        let columns = self.rows.columns().iter();
        columns.map(|column| column.get_array_memory_size()).sum()
    }

    /// The changes `start .. start + length`, sharing memory.
    pub fn slice(&self, start: usize, length: usize) -> Self {
        let partial = self.partial.as_ref().map(|partial| PartialUpdates {
            is_update: partial.is_update.slice(start, length),
            is_set: partial
                .is_set
                .iter()
                .map(|set| set.slice(start, length))
                .collect(),
        });
        Self {
            rows: self.rows.slice(start, length),
            weights: self.weights[start..start + length].to_vec(),
            partial,
        }
    }
}
