//! Aggregates that do not add up: read again from the arrangement where it changed.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::{concat, interleave, take};
use highwater_zset::{Groups, ReadLimit};

use super::NAME;
use super::slots::{Slots, Value, ValueKind};
use super::touched::{ArrangedKeys, Touched};
use crate::expression::GroupFunction;
use crate::operators::window::partitions::partition;
use crate::operators::{Flow, OperatorError, format_row};

/// Where a group's value is.
#[derive(Clone, Copy)]
enum Source {
    /// In the spine.
    Old(u32),
    /// Among the new ones.
    New(u32),
    /// The group is not in the arranged input.
    NoRows,
}

/// The present values of all touched groups, one column per value of `slots`.
pub(super) fn values(
    slots: &Slots,
    inputs: &[&Flow],
    touched: &Touched,
    old_columns: &[ArrayRef],
    row_of_group: &[Option<u32>],
) -> Result<Vec<ArrayRef>, OperatorError> {
    let read = inputs
        .iter()
        .zip(&touched.arranged)
        .enumerate()
        .map(|(input, (flow, changed))| match changed {
            None => Ok(None),
            Some(changed) => {
                let limit = read_limit(slots, input);
                let groups = flow.arranged().after.read_groups(&changed.keys, limit)?;
                Ok(Some((changed, groups)))
            }
        })
        .collect::<Result<Vec<_>, OperatorError>>()?;
    let column = |value: &Value| {
        let mut sources: Vec<Source> = row_of_group
            .iter()
            .map(|row| row.map_or(Source::NoRows, Source::Old))
            .collect();
        let new = match &read[value.input] {
            None => new_empty_array(&value.data_type),
            Some((changed, groups)) => {
                let (new, of_key) = reread(value, changed, groups)?;
                for (&group, source) in changed.groups.iter().zip(of_key) {
                    sources[group as usize] = source;
                }
                new
            }
        };
        choose(value, &old_columns[value.state_column], &new, &sources)
    };
    slots.values.iter().map(column).collect()
}

/// The first row of each group is enough unless somebody aggregates all of them.
fn read_limit(slots: &Slots, input: usize) -> ReadLimit {
    let needs_all =
        |value: &Value| value.input == input && matches!(value.kind, ValueKind::Group { .. });
    if slots.values.iter().any(needs_all) {
        ReadLimit::All
    } else {
        ReadLimit::Weight(1)
    }
}

/// New values, and per key where its one is.
fn reread(
    value: &Value,
    changed: &ArrangedKeys,
    groups: &Groups,
) -> Result<(ArrayRef, Vec<Source>), OperatorError> {
    let mut count = 0;
    let sources = (0..changed.keys.len())
        .map(|key| {
            if groups.range(key).is_empty() {
                return Source::NoRows;
            }
            count += 1;
            Source::New(count - 1)
        })
        .collect();
    let filled = (0..changed.keys.len()).filter(|&key| !groups.range(key).is_empty());
    let new = match &value.kind {
        ValueKind::First { column } => {
            let firsts: UInt32Array = filled.map(|key| groups.offsets[key]).collect();
            take(groups.rows.column(*column), &firsts, None)?
        }
        ValueKind::Group { function } => {
            let evaluate = |key| evaluate_group(function, changed, groups, key);
            let pieces: Vec<ArrayRef> = filled.map(evaluate).collect::<Result<_, _>>()?;
            match pieces.is_empty() {
                true => new_empty_array(&value.data_type),
                false => concat(
                    &pieces
                        .iter()
                        .map(|piece| piece.as_ref())
                        .collect::<Vec<_>>(),
                )?,
            }
        }
    };
    Ok((new, sources))
}

fn evaluate_group(
    function: &Arc<dyn GroupFunction>,
    changed: &ArrangedKeys,
    groups: &Groups,
    key: usize,
) -> Result<ArrayRef, OperatorError> {
    let rows = partition(groups, key, &changed.keys, NAME)?;
    function.evaluate(&rows).map_err(|error| OperatorError {
        expression: function.fingerprint().to_owned(),
        row: format_row(changed.keys.columns(), key),
        message: error.message,
    })
}

fn choose(
    value: &Value,
    old: &ArrayRef,
    new: &ArrayRef,
    sources: &[Source],
) -> Result<ArrayRef, OperatorError> {
    let is_needed = sources
        .iter()
        .any(|source| matches!(source, Source::NoRows));
    let of_no_rows = if is_needed {
        value.of_no_rows()?
    } else {
        new_empty_array(&value.data_type)
    };
    let places: Vec<(usize, usize)> = sources
        .iter()
        .map(|source| match source {
            Source::Old(row) => (0, *row as usize),
            Source::New(row) => (1, *row as usize),
            Source::NoRows => (2, 0),
        })
        .collect();
    Ok(interleave(
        &[old.as_ref(), new.as_ref(), of_no_rows.as_ref()],
        &places,
    )?)
}
