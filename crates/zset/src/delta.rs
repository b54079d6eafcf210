//! A delta: rows with weights, in no particular order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat, filter_record_batch, prep_null_mask_filter, take};
use arrow::datatypes::SchemaRef;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::hash::RowHasher;
use crate::layout::Layout;

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
        Self {
            rows: RecordBatch::new_empty(schema),
            weights: Vec::new().into(),
        }
    }

    /// All rows of `deltas`, in order.
    ///
    /// # Errors
    /// If their columns do not have the types of `schema`.
    pub fn concat(schema: &SchemaRef, deltas: &[Self]) -> Result<Self> {
        let mut filled = deltas.iter().filter(|delta| !delta.is_empty());
        match (filled.next(), filled.next()) {
            (None, _) => return Ok(Self::empty(Arc::clone(schema))),
            (Some(only), None) => {
                return Ok(Self {
                    rows: with_schema(schema, &only.rows)?,
                    weights: only.weights.clone(),
                });
            }
            _ => {}
        }
        let filled: Vec<&Self> = deltas.iter().filter(|delta| !delta.is_empty()).collect();
        let rows = filled.iter().map(|delta| delta.len()).sum();
        let mut weights = Vec::with_capacity(rows);
        filled
            .iter()
            .for_each(|delta| weights.extend_from_slice(&delta.weights));
        let columns = (0..schema.fields().len())
            .map(|column| {
                let parts: Vec<&dyn Array> = filled
                    .iter()
                    .map(|delta| delta.rows.column(column).as_ref())
                    .collect();
                concat(&parts)
            })
            .collect::<std::result::Result<_, arrow::error::ArrowError>>()?;
        Ok(Self {
            rows: record_batch(schema, columns, rows)?,
            weights: weights.into(),
        })
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

    /// Bytes that the rows and weights occupy; shared buffers count by the part that is used.
    pub fn bytes(&self) -> usize {
        columns_bytes(self.rows.columns()) + self.weights.len() * size_of::<i64>()
    }

    /// The same rows with the other sign.
    pub fn negated(&self) -> Self {
        let weights = self.weights.iter().map(|weight| -weight).collect();
        Self {
            rows: self.rows.clone(),
            weights,
        }
    }

    /// Equal rows summed up and zeros dropped; sorted by the hash of all columns. Floats are made
    /// canonical (`0.0` for `-0.0`, one NaN).
    ///
    /// # Errors
    /// If a sum of weights overflows.
    pub fn consolidated(&self, hasher: RowHasher) -> Result<Self> {
        let layout = Arc::new(Layout::all_columns(self.schema(), hasher));
        Ok(Batch::from_delta(&layout, self)?.to_delta())
    }

    /// The rows for which `keep` is true.
    ///
    /// # Errors
    /// If `keep` has another length.
    pub fn filter(&self, keep: &BooleanArray) -> Result<Self> {
        if keep.len() != self.len() {
            return Err(Error::Invalid(format!(
                "a filter of {} rows for {} rows",
                keep.len(),
                self.len()
            )));
        }
        let is_kept = match keep.nulls() {
            None => keep.clone(),
            Some(_) => prep_null_mask_filter(keep),
        };
        let kept_rows = is_kept.true_count();
        if kept_rows == self.len() {
            return Ok(self.clone());
        }
        let mut weights = Vec::with_capacity(kept_rows);
        for (start, end) in is_kept.values().set_slices() {
            weights.extend_from_slice(&self.weights[start..end]);
        }
        Ok(Self {
            rows: filter_record_batch(&self.rows, &is_kept)?,
            weights: weights.into(),
        })
    }

    /// The rows at `indices`, in that order; repeats allowed.
    ///
    /// # Errors
    /// If an index is out of range.
    pub fn take(&self, indices: &[u32]) -> Result<Self> {
        if let Some(index) = indices.iter().find(|index| **index as usize >= self.len()) {
            return Err(Error::Invalid(format!("row {index} of {}", self.len())));
        }
        let weights = indices
            .iter()
            .map(|index| self.weights[*index as usize])
            .collect();
        let columns = take_columns(self.rows.columns(), indices.to_vec())?;
        Ok(Self {
            rows: record_batch(self.rows.schema_ref(), columns, indices.len())?,
            weights,
        })
    }

    /// As a bag: a row of weight `n` repeated `n` times.
    ///
    /// # Errors
    /// If a weight is negative, or the rows are too many for one batch.
    pub fn expanded(&self) -> Result<RecordBatch> {
        if self.weights.iter().all(|weight| *weight == 1) {
            return Ok(self.rows.clone());
        }
        let mut indices = Vec::with_capacity(self.len());
        for (row, weight) in self.weights.iter().enumerate() {
            let times = usize::try_from(*weight).map_err(|_| {
                Error::Invalid(format!("a row of weight {weight} in what should be a bag"))
            })?;
            if indices.len().saturating_add(times) > i32::MAX as usize {
                return Err(Error::Invalid("too many rows for one batch".to_owned()));
            }
            indices.extend(std::iter::repeat_n(row as u32, times));
        }
        let rows = indices.len();
        record_batch(
            self.rows.schema_ref(),
            take_columns(self.rows.columns(), indices)?,
            rows,
        )
    }

    pub fn into_parts(self) -> (RecordBatch, ScalarBuffer<i64>) {
        (self.rows, self.weights)
    }
}

/// A record batch that may have no columns.
pub(crate) fn record_batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

/// The same columns under other labels.
pub(crate) fn with_schema(schema: &SchemaRef, rows: &RecordBatch) -> Result<RecordBatch> {
    if Arc::ptr_eq(schema, rows.schema_ref()) {
        return Ok(rows.clone());
    }
    record_batch(schema, rows.columns().to_vec(), rows.num_rows())
}

pub(crate) fn take_columns(columns: &[ArrayRef], indices: Vec<u32>) -> Result<Vec<ArrayRef>> {
    let indices = UInt32Array::new(indices.into(), None);
    Ok(columns
        .iter()
        .map(|column| take(column.as_ref(), &indices, None))
        .collect::<std::result::Result<_, arrow::error::ArrowError>>()?)
}

/// Bytes of the parts of the buffers that the columns use.
pub(crate) fn columns_bytes(columns: &[ArrayRef]) -> usize {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or(0);
    columns.iter().map(bytes).sum()
}

#[cfg(test)]
mod tests;
