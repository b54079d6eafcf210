//! Checks a table's changes and deals them out to the workers.
//!
//! Changes of a keyed table go to the worker that owns the key, in order. Those of a table without
//! key have no home (whoever needs them by key exchanges them), so they are cut into even slices,
//! and small ones go to one worker after the other.

use arrow::array::UInt32Array;
use arrow::buffer::BooleanBuffer;
use arrow::compute::take_record_batch;
use highwater_zset::RowHasher;

use super::exchange::{Selection, owners};
use crate::error::{Error, Result};
use crate::plan::TableDefinition;
use crate::table_input::{PartialUpdates, TableInput};

/// Changes of a table without key are not cut into pieces smaller than this.
const SLICE_ROWS_MIN: usize = 1024;

/// # Errors
/// If the input does not fit the table.
pub(super) fn check(table: &TableDefinition, input: &TableInput) -> Result<()> {
    let invalid = |reason: String| Err(Error::Invalid(format!("table {}: {reason}", table.name)));
    let expected = table.schema.fields();
    let found = input.rows.schema_ref().fields();
    if expected.len() != found.len() {
        return invalid(format!("{} columns, not {}", expected.len(), found.len()));
    }
    for (expected, found) in expected.iter().zip(found) {
        if expected.data_type() != found.data_type() {
            let (name, right, wrong) = (expected.name(), expected.data_type(), found.data_type());
            return invalid(format!("column {name} is {right}, not {wrong}"));
        }
    }
    if input.weights.len() != input.rows.num_rows() {
        return invalid("as many weights as rows".to_owned());
    }
    let Some(partial) = &input.partial else {
        return Ok(());
    };
    if table.primary_key.is_empty() {
        return invalid("partial updates need a primary key".to_owned());
    }
    let is_complete = partial.is_update.len() == input.len()
        && partial.is_set.len() == expected.len()
        && partial.is_set.iter().all(|set| set.len() == input.len());
    if is_complete {
        Ok(())
    } else {
        invalid("a partial update mark per row and column".to_owned())
    }
}

/// What each worker gets. `turn` counts up, so that small inputs take turns.
///
/// # Errors
/// If Arrow refuses to take rows.
pub(super) fn split(
    table: &TableDefinition,
    input: TableInput,
    hasher: RowHasher,
    workers: usize,
    turn: &mut usize,
) -> Result<Vec<(usize, TableInput)>> {
    if input.is_empty() {
        return Ok(Vec::new());
    }
    if workers == 1 {
        return Ok(vec![(0, input)]);
    }
    if table.primary_key.is_empty() {
        return Ok(slices(&input, workers, turn));
    }
    let mut parts = Vec::new();
    let selections = owners(&input.rows, &table.primary_key, hasher, workers);
    for (worker, selection) in selections.into_iter().enumerate() {
        match selection {
            Selection::None => {}
            Selection::All => parts.push((worker, input.clone())),
            Selection::Some(indices) => parts.push((worker, take(&input, &indices)?)),
        }
    }
    Ok(parts)
}

fn slices(input: &TableInput, workers: usize, turn: &mut usize) -> Vec<(usize, TableInput)> {
    let rows = input.len();
    let size = rows.div_ceil(workers).max(SLICE_ROWS_MIN);
    let mut parts = Vec::new();
    for start in (0..rows).step_by(size) {
        let length = size.min(rows - start);
        let slice = TableInput {
            rows: input.rows.slice(start, length),
            weights: input.weights.slice(start, length),
            partial: None,
        };
        parts.push((*turn % workers, slice));
        *turn += 1;
    }
    parts
}

fn take(input: &TableInput, indices: &UInt32Array) -> Result<TableInput> {
    let invalid = |error: arrow::error::ArrowError| Error::Invalid(error.to_string());
    let rows = take_record_batch(&input.rows, indices).map_err(invalid)?;
    let positions = || indices.values().iter().map(|&row| row as usize);
    let pick = |bits: &BooleanBuffer| positions().map(|row| bits.value(row)).collect();
    let partial = input.partial.as_ref().map(|partial| PartialUpdates {
        is_update: pick(&partial.is_update),
        is_set: partial.is_set.iter().map(pick).collect(),
    });
    let weights = positions().map(|row| input.weights[row]).collect();
    Ok(TableInput {
        rows,
        weights,
        partial,
    })
}
