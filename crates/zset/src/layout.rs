//! How a spine orders its rows.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;

use crate::hash::RowHasher;

/// Columns, key and order of a batch or spine.
///
/// Rows are sorted by `(key_hash, second, tie break)`, the first two of which are `u64`s. Without
/// order columns, `second` is the hash of the columns outside the key (a constant if there are none).
/// With order columns it is an order-preserving prefix of them (see `kernels/order.rs`). The tie
/// break compares by value: order columns with their options, then all others ascending with NULLs
/// first. So a key's rows are in the asked order, and a fixed one beyond it.
#[derive(Clone, Debug)]
pub struct Layout {
    pub schema: SchemaRef,
    /// Key columns by position; may be empty (all rows have one key).
    pub key: Vec<usize>,
    /// Order inside a key; empty for hash order.
    pub order: Vec<OrderColumn>,
    pub hasher: RowHasher,
    /// The columns outside the key.
    others: Vec<usize>,
    /// No rows: most batches of most steps. Made once, because Arrow takes its time for it.
    empty: OnceLock<RecordBatch>,
}

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderColumn {
    pub column: usize,
    pub options: SortOptions,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            schema,
            key,
            order,
            hasher,
            others: _,
            empty: _,
        } = self;
        *schema == other.schema
            && *key == other.key
            && *order == other.order
            && *hasher == other.hasher
    }
}

impl Layout {
    /// Hash order.
    pub fn hashed(schema: SchemaRef, key: Vec<usize>, hasher: RowHasher) -> Self {
        Self::ordered(schema, key, Vec::new(), hasher)
    }

    /// Keyed by all columns: what set operations and view contents use.
    pub fn all_columns(schema: SchemaRef, hasher: RowHasher) -> Self {
        let key = (0..schema.fields().len()).collect();
        Self::hashed(schema, key, hasher)
    }

    /// Ordered inside each key.
    pub fn ordered(
        schema: SchemaRef,
        key: Vec<usize>,
        order: Vec<OrderColumn>,
        hasher: RowHasher,
    ) -> Self {
        let others = (0..schema.fields().len())
            .filter(|column| !key.contains(column))
            .collect();
        Self {
            schema,
            key,
            order,
            hasher,
            others,
            empty: OnceLock::new(),
        }
    }

    /// True if rows of one key are in the order of `order`.
    pub fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }

    /// No rows of this schema.
    pub(crate) fn empty_rows(&self) -> &RecordBatch {
        self.empty
            .get_or_init(|| RecordBatch::new_empty(Arc::clone(&self.schema)))
    }

    /// The columns outside the key.
    pub(crate) fn others(&self) -> &[usize] {
        &self.others
    }

    /// True if `second` differs between rows, so that batches have to keep it.
    pub(crate) fn has_seconds(&self) -> bool {
        self.is_ordered() || !self.others.is_empty()
    }
}
