//! How a spine orders its rows.

use arrow::compute::SortOptions;
use arrow::datatypes::SchemaRef;

use crate::hash::RowHasher;

/// Columns, key and order of a batch or spine.
///
/// Rows are sorted by `(key_hash, second, tie break)`. Without order columns, `second` is the hash
/// of the columns outside the key, and the tie break (two different rows with equal hashes) is the
/// rows' Arrow row format. With order columns, `second` is the first 8 bytes of the row format of
/// (order columns, then all others), and the tie break is the whole of it: a key's rows are then in
/// the asked order, and equal only if equal in every column.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub schema: SchemaRef,
    /// Key columns by position; may be empty (all rows have one key).
    pub key: Vec<usize>,
    /// Order inside a key; empty for hash order.
    pub order: Vec<OrderColumn>,
    pub hasher: RowHasher,
}

/// A column to order by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OrderColumn {
    pub column: usize,
    pub options: SortOptions,
}

impl Layout {
    /// Hash order.
    pub fn hashed(schema: SchemaRef, key: Vec<usize>, hasher: RowHasher) -> Self {
        Self { schema, key, order: Vec::new(), hasher }
    }

    /// Keyed by all columns: what set operations and view contents use.
    pub fn all_columns(schema: SchemaRef, hasher: RowHasher) -> Self {
        let key = (0..schema.fields().len()).collect();
        Self::hashed(schema, key, hasher)
    }

    /// Ordered inside each key.
    pub fn ordered(schema: SchemaRef, key: Vec<usize>, order: Vec<OrderColumn>, hasher: RowHasher) -> Self {
        Self { schema, key, order, hasher }
    }

    /// True if rows of one key are in the order of `order`.
    pub fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }
}
