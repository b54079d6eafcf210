//! A batch: sorted, consolidated, immutable rows with weights. What state is made of.
//!
//! Invariants
//! - I1: rows are sorted by `(key hash, second, tie break)` as [`Layout`] says, without repeats.
//! - I2: no weight is zero.
//! - I3: floats are canonical: rows are equal in SQL's sense iff their bits are.
//! - I4: a batch shares no memory with something much larger.
//!
//! Memory per row: the columns, 8 bytes of key hash, 8 of `second` unless all columns are the key,
//! 8 of weight unless all weights are 1, and 2 to 4 of index.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat;

use crate::consolidate::consolidate;
use crate::delta::{Delta, columns_bytes, record_batch, take_columns};
use crate::error::{Error, Result};
use crate::index::HashIndex;
use crate::kernels::canonical::canonical_columns;
use crate::kernels::column::bytes_in_use;
use crate::kernels::gather::unshared;
use crate::kernels::order::order_prefixes;
use crate::layout::Layout;
use crate::parts::Parts;
use crate::probe::Keys;
use crate::sort::sorted_entries;

/// Rows of one batch are named by 29 bits at most, so that sums of a few batches stay far below 32.
pub(crate) const BATCH_ROWS_MAX: usize = 1 << 29;
/// Small batches are kept as they come, without copying, if their buffers are at most this large.
const SHARED_BYTES_MAX: usize = 4096;

/// Sorted, consolidated, immutable rows with weights.
#[derive(Debug)]
pub struct Batch {
    layout: Arc<Layout>,
    rows: RecordBatch,
    hashes: Vec<u64>,
    /// Empty if the layout has none.
    seconds: Vec<u64>,
    weights: Weights,
    index: HashIndex,
    /// Of the run that begins with this batch.
    parts: Parts,
}

/// Weights, most of which are 1 in most batches.
#[derive(Debug)]
pub(crate) enum Weights {
    /// All are 1; materialized if somebody asks for a slice.
    Ones(OnceLock<ScalarBuffer<i64>>),
    Positive(ScalarBuffer<i64>),
    Any(ScalarBuffer<i64>),
}

impl Weights {
    /// Empty if all are 1.
    pub(crate) fn new(weights: Vec<i64>) -> Self {
        // Smallest and largest: without a branch for each weight.
        let (least, most) = weights.iter().fold((1, 1), |(least, most), weight| {
            (i64::min(least, *weight), i64::max(most, *weight))
        });
        match (least, most) {
            (1, 1) => Self::ones(),
            (1, _) => Self::Positive(weights.into()),
            _ => Self::Any(weights.into()),
        }
    }

    fn ones() -> Self {
        Self::Ones(OnceLock::new())
    }

    #[inline(always)]
    pub(crate) fn get(&self, row: usize) -> i64 {
        match self {
            Self::Ones(_) => 1,
            Self::Positive(weights) | Self::Any(weights) => weights[row],
        }
    }
}

/// What a batch is made of, all of it sorted; `seconds` is empty if the layout has none.
pub(crate) struct BatchParts {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) hashes: Vec<u64>,
    pub(crate) seconds: Vec<u64>,
    pub(crate) weights: Weights,
}

impl AsRef<Self> for Batch {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Batch {
    pub fn empty(layout: Arc<Layout>) -> Self {
        let rows = layout.empty_rows().clone();
        let weights = Weights::ones();
        Self {
            layout,
            rows,
            hashes: Vec::new(),
            seconds: Vec::new(),
            weights,
            index: HashIndex::new(&[]),
            parts: Parts::default(),
        }
    }

    /// Sorts and consolidates.
    ///
    /// # Errors
    /// If the delta's columns are not those of the layout, or a sum of weights overflows.
    pub fn from_delta(layout: &Arc<Layout>, delta: &Delta) -> Result<Self> {
        check_types(layout, delta.rows())?;
        let count = delta.len();
        if count == 0 || (count == 1 && delta.weights()[0] == 0) {
            return Ok(Self::empty(Arc::clone(layout)));
        }
        if count > BATCH_ROWS_MAX {
            return Err(Error::Invalid(format!(
                "a delta of {count} rows is too large for one batch"
            )));
        }
        let columns = canonical_columns(delta.rows().columns());
        let hashes = key_hashes(layout, &columns, count);
        let seconds = seconds(layout, &columns, count);
        if count == 1 {
            let weights = Weights::new(delta.weights().to_vec());
            let columns = owned(columns)?;
            return Self::from_parts(
                layout,
                BatchParts {
                    columns,
                    hashes,
                    seconds,
                    weights,
                },
            );
        }
        let entries = sorted_entries(&hashes, &seconds);
        let sorted = consolidate(layout, &columns, entries, &seconds, delta.weights())?;
        let entries = sorted.entries.iter();
        let parts = BatchParts {
            columns: copied(&columns, entries.clone().map(|entry| entry.row).collect())?,
            hashes: entries.clone().map(|entry| entry.hash).collect(),
            seconds: match layout.has_seconds() {
                true => entries.map(|entry| seconds[entry.row as usize]).collect(),
                false => Vec::new(),
            },
            weights: Weights::new(sorted.weights),
        };
        Self::from_parts(layout, parts)
    }

    /// The parts must be sorted and consolidated.
    pub(crate) fn from_parts(layout: &Arc<Layout>, parts: BatchParts) -> Result<Self> {
        let BatchParts {
            columns,
            hashes,
            seconds,
            weights,
        } = parts;
        let rows = record_batch(&layout.schema, columns, hashes.len())?;
        let index = HashIndex::new(&hashes);
        Ok(Self {
            layout: Arc::clone(layout),
            rows,
            hashes,
            seconds,
            weights,
            index,
            parts: Parts::default(),
        })
    }

    /// Rows that were stored, in order; their hashes are computed again.
    pub(crate) fn from_stored(
        layout: &Arc<Layout>,
        columns: Vec<ArrayRef>,
        weights: Vec<i64>,
    ) -> Result<Self> {
        let count = weights.len();
        let hashes = key_hashes(layout, &columns, count);
        let seconds = seconds(layout, &columns, count);
        let weights = Weights::new(weights);
        let parts = BatchParts {
            columns,
            hashes,
            seconds,
            weights,
        };
        Self::from_parts(layout, parts)
    }

    /// Some of the rows; shares their columns.
    pub(crate) fn slice(&self, start: usize, length: usize) -> Result<Self> {
        let rows = start..start + length;
        let columns = self.rows.columns().iter();
        let parts = BatchParts {
            columns: columns.map(|column| column.slice(start, length)).collect(),
            hashes: self.hashes[rows.clone()].to_vec(),
            seconds: self
                .seconds
                .get(rows.clone())
                .map_or_else(Vec::new, <[u64]>::to_vec),
            weights: Weights::new(rows.map(|row| self.weight(row)).collect()),
        };
        Self::from_parts(&self.layout, parts)
    }

    /// The rows of both, which are in order and have no row in common.
    pub(crate) fn joined(&self, next: &Self) -> Result<Self> {
        let columns = self.rows.columns().iter().zip(next.rows.columns());
        let columns = columns.map(|(left, right)| concat(&[left.as_ref(), right.as_ref()]));
        let weights = [self, next]
            .into_iter()
            .flat_map(|part| (0..part.len()).map(|row| part.weight(row)));
        let parts = BatchParts {
            columns: columns.collect::<std::result::Result<_, _>>()?,
            hashes: [self.key_hashes(), next.key_hashes()].concat(),
            seconds: [self.seconds(), next.seconds()].concat(),
            weights: Weights::new(weights.collect()),
        };
        Self::from_parts(&self.layout, parts)
    }

    /// The integers that rows are sorted by do not descend.
    pub(crate) fn is_in_order(&self) -> bool {
        (1..self.len()).all(|row| self.rank(row - 1) <= self.rank(row))
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Number of distinct rows.
    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// The rows in order, with canonical floats.
    pub fn rows(&self) -> &RecordBatch {
        &self.rows
    }

    /// One weight per row, none of them zero. Large batches make this slice when it is first asked
    /// for, if all weights are 1.
    pub fn weights(&self) -> &ScalarBuffer<i64> {
        match &self.weights {
            Weights::Ones(ones) => ones.get_or_init(|| vec![1; self.len()].into()),
            Weights::Positive(weights) | Weights::Any(weights) => weights,
        }
    }

    /// The weight of one row.
    #[inline(always)]
    pub(crate) fn weight(&self, row: usize) -> i64 {
        self.weights.get(row)
    }

    /// One key hash per row, ascending.
    pub fn key_hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// Both integers of a row's place: rows are sorted by this, then by value.
    #[inline(always)]
    pub(crate) fn rank(&self, row: usize) -> u128 {
        let second = self.seconds.get(row).copied().unwrap_or_default();
        u128::from(self.hashes[row]) << 64 | u128::from(second)
    }

    /// Empty if the layout has none.
    pub(crate) fn seconds(&self) -> &[u64] {
        &self.seconds
    }

    pub(crate) fn has_unit_weights(&self) -> bool {
        matches!(self.weights, Weights::Ones(_))
    }

    /// No row is retracted: what this batch adds to a sum of weights is not negative.
    pub(crate) fn has_positive_weights(&self) -> bool {
        !matches!(self.weights, Weights::Any(_))
    }

    pub(crate) fn index(&self) -> &HashIndex {
        &self.index
    }

    /// Of the run that begins with this batch.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        let weights = match &self.weights {
            Weights::Ones(ones) => ones.get().map_or(0, |ones| ones.len()),
            Weights::Positive(weights) | Weights::Any(weights) => weights.len(),
        };
        let integers = self.hashes.capacity() + self.seconds.capacity() + weights;
        columns_bytes(self.rows.columns()) + integers * size_of::<u64>() + self.index.bytes()
    }

    /// The same rows and weights; shares memory.
    pub fn to_delta(&self) -> Delta {
        Delta::new(self.rows.clone(), self.weights().clone())
    }

    /// The distinct keys of this batch, in hash order.
    ///
    /// # Errors
    /// If a key column's type cannot be compared.
    pub fn keys(&self) -> Result<Keys> {
        Keys::of_sorted(&self.hashes, self.key_columns())
    }

    /// Bytes of variable width that a row has in its widest column, on average.
    pub(crate) fn row_bytes(&self) -> usize {
        let columns = self.rows.columns().iter();
        let widest = columns.map(|column| bytes_in_use(column.as_ref())).max();
        widest.unwrap_or_default() / self.len().max(1)
    }

    pub(crate) fn key_columns(&self) -> Vec<ArrayRef> {
        self.layout
            .key
            .iter()
            .map(|column| Arc::clone(self.rows.column(*column)))
            .collect()
    }
}

fn check_types(layout: &Layout, rows: &RecordBatch) -> Result<()> {
    if Arc::ptr_eq(&layout.schema, rows.schema_ref()) {
        return Ok(());
    }
    let expected = layout.schema.fields();
    let is_same = expected.len() == rows.num_columns()
        && expected
            .iter()
            .zip(rows.columns())
            .all(|(field, column)| field.data_type() == column.data_type());
    match is_same {
        true => Ok(()),
        false => Err(Error::Invalid(format!(
            "rows of {:?} for a layout of {:?}",
            rows.columns()
                .iter()
                .map(|column| column.data_type().to_string())
                .collect::<Vec<_>>(),
            expected
                .iter()
                .map(|field| field.data_type().to_string())
                .collect::<Vec<_>>(),
        ))),
    }
}

fn pick(columns: &[ArrayRef], positions: &[usize]) -> Vec<ArrayRef> {
    positions
        .iter()
        .map(|position| Arc::clone(&columns[*position]))
        .collect()
}

fn key_hashes(layout: &Layout, columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    layout.hasher.hash(&pick(columns, &layout.key), rows)
}

fn seconds(layout: &Layout, columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    if layout.is_ordered() {
        order_prefixes(columns, &layout.order, rows)
    } else if layout.has_seconds() {
        layout.hasher.hash(&pick(columns, layout.others()), rows)
    } else {
        Vec::new()
    }
}

/// Columns that may be kept: a small slice of large buffers is copied.
fn owned(columns: Cow<'_, [ArrayRef]>) -> Result<Vec<ArrayRef>> {
    let columns = columns.into_owned();
    let rows = columns.first().map_or(0, |column| column.len());
    let bytes: usize = columns
        .iter()
        .map(|column| column.get_buffer_memory_size())
        .sum();
    if bytes <= SHARED_BYTES_MAX {
        return Ok(columns);
    }
    copied(&columns, (0..rows as u32).collect())
}

/// Rows that share no memory with the columns.
fn copied(columns: &[ArrayRef], rows: Vec<u32>) -> Result<Vec<ArrayRef>> {
    Ok(take_columns(columns, rows)?
        .into_iter()
        .map(unshared)
        .collect())
}

#[cfg(test)]
mod tests;
