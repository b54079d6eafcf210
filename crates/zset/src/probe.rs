//! What lookups ask for and what they answer.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;

use crate::batch::Batch;
use crate::consolidate::distinct_keys;
use crate::delta::take_columns;
use crate::error::{Error, Result};
use crate::hash::RowHasher;
use crate::kernels::canonical::canonical_columns;
use crate::sort::{Entry, sorted_entries};

/// Distinct keys to look up, in ascending hash order, one row of key columns each.
#[derive(Clone, Debug)]
pub struct Keys {
    hashes: Vec<u64>,
    columns: Vec<ArrayRef>,
}

impl Keys {
    /// The distinct keys among `rows` rows of key columns.
    ///
    /// # Errors
    /// If a column's type cannot be compared.
    pub fn new(hasher: RowHasher, columns: &[ArrayRef], rows: usize) -> Result<Self> {
        let columns = canonical_columns(columns);
        let hashes = hasher.hash(&columns, rows);
        Self::sorted(hashes, columns.into_owned())
    }

    fn sorted(hashes: Vec<u64>, columns: Vec<ArrayRef>) -> Result<Self> {
        if hashes.len() <= 1 {
            return Ok(Self { hashes, columns });
        }
        Self::distinct(hashes.len(), sorted_entries(&hashes, &[]), columns)
    }

    /// `hashes` are ascending.
    pub(crate) fn of_sorted(hashes: &[u64], columns: Vec<ArrayRef>) -> Result<Self> {
        let entry = |(row, hash): (usize, &u64)| Entry {
            hash: *hash,
            row: row as u32,
        };
        Self::distinct(
            hashes.len(),
            hashes.iter().enumerate().map(entry).collect(),
            columns,
        )
    }

    fn distinct(rows: usize, entries: Vec<Entry>, columns: Vec<ArrayRef>) -> Result<Self> {
        let entries = distinct_keys(&columns, entries)?;
        let hashes = entries.iter().map(|entry| entry.hash).collect();
        let is_unchanged = entries.len() == rows
            && entries
                .iter()
                .enumerate()
                .all(|(row, e)| e.row as usize == row);
        if is_unchanged {
            return Ok(Self { hashes, columns });
        }
        let columns = take_columns(&columns, entries.iter().map(|entry| entry.row).collect())?;
        Ok(Self { hashes, columns })
    }

    pub fn len(&self) -> usize {
        self.hashes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    /// Ascending. Equal only for different keys that collide.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The key columns, one row per key.
    pub fn columns(&self) -> &[ArrayRef] {
        &self.columns
    }

    /// The distinct keys of all `parts`, which have the same column types and come from equal hashers.
    ///
    /// # Errors
    /// If there is no part, or types differ.
    pub fn union(parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::Invalid(
                "a union of no keys has no columns".to_owned(),
            ));
        };
        let mut filled = parts.iter().filter(|part| !part.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => return Ok(first.clone()),
            (Some(only), None) => return Ok(only.clone()),
            _ => {}
        }
        let hashes = parts
            .iter()
            .flat_map(|part| part.hashes.iter().copied())
            .collect();
        let columns = (0..first.columns.len())
            .map(|column| {
                let arrays: Vec<&dyn Array> = parts
                    .iter()
                    .map(|part| part.columns[column].as_ref())
                    .collect();
                concat(&arrays)
            })
            .collect::<std::result::Result<_, arrow::error::ArrowError>>()?;
        Self::sorted(hashes, columns)
    }

    /// These keys by position, ascending.
    pub(crate) fn pick(&self, positions: &[u32]) -> Result<Self> {
        let hashes = positions
            .iter()
            .map(|position| self.hashes[*position as usize])
            .collect();
        Ok(Self {
            hashes,
            columns: take_columns(&self.columns, positions.to_vec())?,
        })
    }
}

/// Pairs (probe row, stored row) with equal keys. Grouped by batch, in probe order inside a batch if
/// the probes' hashes are ascending; not consolidated across batches: the same row may come from two
/// batches with weights that cancel.
#[derive(Clone, Debug, Default)]
pub struct Matches {
    pub probes: Vec<u32>,
    /// What was searched: the snapshot's batches in memory, and excerpts of those in files.
    pub(crate) sources: Arc<[Arc<Batch>]>,
    /// Position in `sources`.
    pub(crate) batches: Vec<u32>,
    /// Row in that batch.
    pub(crate) rows: Vec<u32>,
    /// Of the stored rows.
    pub weights: Vec<i64>,
}

impl Matches {
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The matches at these positions. Their probes are empty if these are.
    #[must_use]
    pub fn pick(&self, positions: &[usize]) -> Self {
        let pick = |values: &[u32]| positions.iter().map(|position| values[*position]).collect();
        Self {
            probes: if self.probes.is_empty() {
                Vec::new()
            } else {
                pick(&self.probes)
            },
            sources: Arc::clone(&self.sources),
            batches: pick(&self.batches),
            rows: pick(&self.rows),
            weights: positions
                .iter()
                .map(|position| self.weights[*position])
                .collect(),
        }
    }
}

/// How much of each key to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadLimit {
    All,
    /// Stop after the row with which the sum of the positive weights reaches this.
    Weight(u64),
}

/// Rows of several keys, consolidated, in the layout's order inside a key; no weight is zero.
#[derive(Clone, Debug)]
pub struct Groups {
    /// All columns of the layout.
    pub rows: RecordBatch,
    pub weights: Vec<i64>,
    /// Rows of key `i` are `offsets[i]..offsets[i + 1]`; one more than there are keys.
    pub offsets: Vec<u32>,
}

impl Groups {
    /// Rows of one key.
    pub fn range(&self, key: usize) -> std::ops::Range<usize> {
        self.offsets[key] as usize..self.offsets[key + 1] as usize
    }
}
