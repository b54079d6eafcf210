//! What connectors hand to a table: ordered changes.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};

/// Changes of one table, in arrival order.
///
/// `rows` has the table's columns, all nullable. For a table without primary key a row's weight is
/// how often it is inserted (negative: deleted). For a table with primary key a positive weight
/// inserts or replaces the row of that key, a negative one deletes the row of that key (other
/// columns are ignored), and later changes win.
#[derive(Clone, Debug)]
pub struct TableInput {
    pub rows: RecordBatch,
    pub weights: ScalarBuffer<i64>,
    pub partial: Option<PartialUpdates>,
}

/// Marks rows that change only some columns of an existing row (tables with primary key only).
/// A partial update of a key that does not exist is ignored.
#[derive(Clone, Debug)]
pub struct PartialUpdates {
    /// Per row: is it a partial update? Its weight is then ignored.
    pub is_update: BooleanBuffer,
    /// Per column, per row: does the update set this column?
    pub is_set: Vec<BooleanBuffer>,
}

impl TableInput {
    /// Inserts every row once.
    pub fn insertions(rows: RecordBatch) -> Self {
        let weights = vec![1; rows.num_rows()].into();
        Self {
            rows,
            weights,
            partial: None,
        }
    }

    /// Deletes every row once.
    pub fn deletions(rows: RecordBatch) -> Self {
        let weights = vec![-1; rows.num_rows()].into();
        Self {
            rows,
            weights,
            partial: None,
        }
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// True if there is no change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the columns occupy.
    pub fn bytes(&self) -> usize {
        self.rows
            .columns()
            .iter()
            .map(|column| column.get_array_memory_size())
            .sum()
    }
}
