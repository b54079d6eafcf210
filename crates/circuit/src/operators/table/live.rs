//! Finds the one current row of each key in a table's spine.
//!
//! A snapshot is several batches: a key's row may be inserted in one and retracted in a later one.
//! Nearly always a key has a single match of weight 1, which is the row. Only for the other keys
//! are matches summed up.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, UInt32Type};
use highwater_zset::{Delta, Error, Matches, Snapshot};

use crate::operators::{OperatorError, record_batch};

/// The rows that some keys have now.
pub(crate) struct LiveRows {
    pub rows: RecordBatch,
    /// For every key its position in `rows`, if it has a row.
    pub row_of_key: Vec<Option<u32>>,
}

/// Looks up distinct keys.
pub(crate) fn live_rows(
    contents: &Snapshot,
    hashes: &[u64],
    keys: &[ArrayRef],
) -> Result<LiveRows, OperatorError> {
    let schema = &contents.layout().schema;
    let mut row_of_key = vec![None; hashes.len()];
    let matches = contents.probe(hashes, keys)?;
    if matches.probes.is_empty() {
        return Ok(LiveRows {
            rows: RecordBatch::new_empty(schema.clone()),
            row_of_key,
        });
    }
    let (single, several) = split(matches, hashes.len());
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let columns = contents.gather(&single, &all)?;
    let mut rows = record_batch(schema, columns, single.probes.len())?;
    let mut probes = single.probes;
    if !several.probes.is_empty() {
        let (summed, summed_probes) = sum_up(contents, &several, &all)?;
        rows = concat_batches(schema, [&rows, &summed])?;
        probes.extend(summed_probes);
    }
    for (row, &probe) in (0u32..).zip(&probes) {
        if row_of_key[probe as usize].replace(row).is_some() {
            return Err(Error::Invalid("a primary key has two rows".to_owned()).into());
        }
    }
    Ok(LiveRows { rows, row_of_key })
}

/// The matches of keys that have exactly one, of weight 1; and the others.
fn split(matches: Matches, keys: usize) -> (Matches, Matches) {
    let mut counts = vec![0u32; keys];
    for (&probe, &weight) in matches.probes.iter().zip(&matches.weights) {
        counts[probe as usize] += if weight == 1 { 1 } else { 2 };
    }
    let is_single = |position: &usize| counts[matches.probes[*position] as usize] == 1;
    let (single, several): (Vec<usize>, Vec<usize>) = (0..matches.len()).partition(is_single);
    if several.is_empty() {
        return (matches, Matches::default());
    }
    (matches.pick(&single), matches.pick(&several))
}

/// The rows whose weights sum to one, with the key each belongs to.
fn sum_up(
    contents: &Snapshot,
    matches: &Matches,
    all: &[usize],
) -> Result<(RecordBatch, Vec<u32>), OperatorError> {
    let layout = contents.layout();
    // With the key's number as a further column, equal rows of different keys stay apart.
    let number = Arc::new(Field::new("key", DataType::UInt32, true));
    let fields = layout.schema.fields().iter().cloned().chain([number]);
    let numbered = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut columns = contents.gather(matches, all)?;
    columns.push(Arc::new(UInt32Array::from(matches.probes.clone())));
    let rows = record_batch(&numbered, columns, matches.probes.len())?;
    let delta = Delta::new(rows, matches.weights.clone().into()).consolidated(layout.hasher)?;
    if delta.weights().iter().any(|&weight| weight != 1) {
        return Err(
            Error::Invalid("a row of a primary key has another weight than 1".to_owned()).into(),
        );
    }
    let (rows, _) = delta.into_parts();
    let probes = rows
        .column(all.len())
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec();
    Ok((rows.project(all)?, probes))
}
