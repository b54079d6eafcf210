//! One row per group.
//!
//! Linear aggregates come in as states that add up ([`linear`]); the operator keeps their sums. The
//! others are read again from an arrangement, for the groups that changed in it ([`reread`]). All
//! that is kept is one spine with one row per group: the group columns (the key), `row_count`, the
//! state columns of each linear call, and the present value of each other call.
//!
//! Invariants
//! - I1: a group has a row in the spine, of weight 1, iff its row count or a state is not zero.
//! - I2: a group has an output row iff its row count is above zero, or it is the one group of a
//!   global aggregate. The output row is a function of the spine's row.

mod boolean;
mod count;
mod decimal_sum;
mod exact_sum;
mod float_sum;
mod integer_sum;
pub(super) mod linear;
mod reread;
mod slots;
mod touched;
mod variance;
mod xor;

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, UInt32Array};
use arrow::compute::{concat, filter, interleave, take};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef};
use highwater_zset::{Batch, Delta, Keys, Layout, ReadLimit, RowHasher, Spine, equal_rows};

use super::partial_aggregate::linear_error;
use super::window::partitions::negative_multiplicity;
use super::{BuildContext, Flow, Operator, OperatorError, StepContext, record_batch};
use crate::plan::AggregateSpec;
use linear::{WeightedRows, add_counts, clear_unless_zero};
use slots::{Output, Slots};
use touched::Touched;

const NAME: &str = "aggregate";

pub(super) struct Aggregate {
    group_columns: usize,
    is_global: bool,
    slots: Slots,
    schema: SchemaRef,
    spine: Spine,
}

/// The rows of the touched groups as the spine has them.
struct Old {
    group_columns: Vec<ArrayRef>,
    /// Row counts, states, values.
    columns: Vec<ArrayRef>,
    /// Per row: its group.
    groups: Vec<u32>,
    /// Per group: its row, if any.
    row_of_group: Vec<Option<u32>>,
}

/// Output rows: the columns of the calls, and which of their rows each group has.
struct Side {
    columns: Vec<ArrayRef>,
    row_of_group: Vec<Option<u32>>,
}

impl Aggregate {
    pub(super) fn new(spec: &AggregateSpec, context: &BuildContext<'_>) -> Self {
        let inputs: Vec<SchemaRef> = context
            .inputs
            .iter()
            .map(|input| input.schema.clone())
            .collect();
        let slots = Slots::new(spec, &inputs);
        let group_fields = inputs[0].fields()[..spec.group_columns].iter();
        let mut fields: Vec<Field> = group_fields.map(|field| field.as_ref().clone()).collect();
        fields.extend(slots.fields());
        let key = (0..spec.group_columns).collect();
        let layout = Layout::hashed(Arc::new(Schema::new(fields)), key, context.hasher);
        Self {
            group_columns: spec.group_columns,
            is_global: spec.is_global,
            slots,
            schema: context.node.schema.clone(),
            spine: Spine::new(Arc::new(layout), context.merges.clone()),
        }
    }

    fn read_old(&self, keys: &Keys) -> Result<Old, OperatorError> {
        let read = self.spine.snapshot().read_groups(keys, ReadLimit::All)?;
        let mut row_of_group = vec![None; keys.len()];
        let mut groups = Vec::with_capacity(read.weights.len());
        for (key, row_of_group) in row_of_group.iter_mut().enumerate() {
            let rows = read.range(key);
            if rows.is_empty() {
                continue;
            }
            assert!(
                rows.len() == 1 && read.weights[rows.start] == 1,
                "I1: one state per group"
            );
            *row_of_group = Some(rows.start as u32);
            groups.push(key as u32);
        }
        let (group_columns, columns) = read.rows.columns().split_at(self.group_columns);
        let (group_columns, columns) = (group_columns.to_vec(), columns.to_vec());
        Ok(Old {
            group_columns,
            columns,
            groups,
            row_of_group,
        })
    }

    /// Row counts and states of the touched groups after the step: old ones plus all deltas.
    fn new_states(&self, touched: &Touched, old: &Old) -> Result<Vec<ArrayRef>, OperatorError> {
        let count = touched.keys.len();
        let mut columns = Vec::with_capacity(old.columns.len());
        for (input, slots) in self.slots.linear.iter().enumerate() {
            let (Some(slots), Some(delta)) = (slots, &touched.linear[input]) else {
                continue;
            };
            let (groups, weights) = delta.after(&old.groups);
            let failed = |name| move |error| linear_error(name, &error, touched.keys.columns());
            let rows = WeightedRows::new(&weights, &groups, count).map_err(failed("COUNT"))?;
            let is_first = old.groups.is_empty() && delta.is_one_row_per_group(count);
            if input == 0 {
                let row_count = self.group_columns..self.group_columns + 1;
                let both = delta.columns_after(&old.columns[..1], row_count)?;
                columns.push(add_counts(&both[0], &rows).map_err(failed("COUNT"))?);
            }
            for slot in slots {
                let old_states = &old.columns[slot.state_columns.clone()];
                let both = delta.columns_after(old_states, slot.input_columns.clone())?;
                if is_first {
                    columns.extend(both);
                } else {
                    columns.extend(slot.state.add(&both, &rows).map_err(failed(slot.name))?);
                }
            }
        }
        Ok(columns)
    }

    /// The columns of the calls, from state columns whose row `i` is of group `groups(i)`.
    fn finish(
        &self,
        columns: &[ArrayRef],
        keys: &Keys,
        group_of_row: impl Fn(usize) -> usize,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let finish = |output: &Output| match output {
            Output::Value { state_column } => Ok(columns[*state_column].clone()),
            Output::Linear {
                name,
                state,
                state_columns,
            } => state
                .finish(&columns[state_columns.clone()])
                .map_err(|mut error| {
                    error.group = group_of_row(error.group);
                    linear_error(name, &error, keys.columns())
                }),
        };
        self.slots.outputs.iter().map(finish).collect()
    }

    /// The output rows before the step.
    fn old_side(&self, old: &Old, keys: &Keys, is_first: bool) -> Result<Side, OperatorError> {
        if self.is_global && old.groups.is_empty() {
            // I1 and I2: no state, but a row, unless there was no step yet.
            let row = (!is_first).then_some(0);
            let columns = self.finish(&self.slots.zero()?, keys, |_| 0)?;
            return Ok(Side {
                columns,
                row_of_group: vec![row; keys.len()],
            });
        }
        let columns = self.finish(&old.columns, keys, |row| old.groups[row] as usize)?;
        let row_counts = old.columns[0].as_primitive::<Int64Type>().values();
        let is_output = |row: &u32| self.is_global || row_counts[*row as usize] > 0;
        let row_of_group = old
            .row_of_group
            .iter()
            .map(|row| row.filter(is_output))
            .collect();
        Ok(Side {
            columns,
            row_of_group,
        })
    }

    /// The output rows after the step.
    fn new_side(&self, columns: &[ArrayRef], keys: &Keys) -> Result<Side, OperatorError> {
        let row_counts = columns[0].as_primitive::<Int64Type>().values();
        if let Some(group) = row_counts.iter().position(|&count| count < 0) {
            return Err(negative_multiplicity(NAME, keys, group));
        }
        let row_of_group = (0_u32..)
            .zip(row_counts.iter())
            .map(|(group, &count)| (self.is_global || count > 0).then_some(group))
            .collect();
        Ok(Side {
            columns: self.finish(columns, keys, |group| group)?,
            row_of_group,
        })
    }

    /// Retractions of old output rows and insertions of new ones, where they differ.
    fn changes(&self, keys: &Keys, old: &Side, new: &Side) -> Result<Delta, OperatorError> {
        let (mut both, mut old_rows, mut new_rows) = (Vec::new(), Vec::new(), Vec::new());
        for (group, rows) in old.row_of_group.iter().zip(&new.row_of_group).enumerate() {
            if let (Some(old_row), Some(new_row)) = rows {
                both.push(group);
                old_rows.push(*old_row);
                new_rows.push(*new_row);
            }
        }
        let equal = equal_rows(&old.columns, &old_rows, &new.columns, &new_rows)?;
        let mut is_same = vec![false; keys.len()];
        for (&group, equal) in both.iter().zip(equal) {
            is_same[group] = equal;
        }
        let mut groups: Vec<u32> = Vec::new();
        let mut places: Vec<(usize, usize)> = Vec::new();
        let mut weights: Vec<i64> = Vec::new();
        for (source, (side, weight)) in [(old, -1), (new, 1)].into_iter().enumerate() {
            for (group, row) in side.row_of_group.iter().enumerate() {
                if let (Some(row), false) = (row, is_same[group]) {
                    groups.push(group as u32);
                    places.push((source, *row as usize));
                    weights.push(weight);
                }
            }
        }
        let groups = UInt32Array::from(groups);
        let of_groups = keys
            .columns()
            .iter()
            .map(|column| take(column, &groups, None));
        let calls = old.columns.iter().zip(&new.columns);
        let of_calls = calls.map(|(old, new)| interleave(&[old.as_ref(), new.as_ref()], &places));
        let columns = of_groups.chain(of_calls).collect::<Result<Vec<_>, _>>()?;
        Ok(Delta::new(
            record_batch(&self.schema, columns, weights.len())?,
            weights.into(),
        ))
    }

    /// Replaces the rows of the touched groups in the spine.
    fn store(&mut self, keys: &Keys, old: Old, new: &[ArrayRef]) -> Result<(), OperatorError> {
        // I1: values do not count.
        let mut is_zero = vec![true; keys.len()];
        let state_columns = new.len() - self.slots.values.len();
        new[..state_columns]
            .iter()
            .for_each(|column| clear_unless_zero(column, &mut is_zero));
        let is_kept: BooleanArray = is_zero.iter().map(|is_zero| Some(!is_zero)).collect();
        let kept = is_kept.true_count();
        let old_columns = old.group_columns.iter().chain(&old.columns);
        let columns = old_columns
            .zip(keys.columns().iter().chain(new))
            .map(|(old, new)| {
                let new = if kept == keys.len() {
                    new.clone()
                } else {
                    filter(new, &is_kept)?
                };
                if old.is_empty() {
                    Ok(new)
                } else {
                    concat(&[old.as_ref(), new.as_ref()])
                }
            });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let mut weights = vec![-1; old.groups.len()];
        weights.resize(old.groups.len() + kept, 1);
        let layout = self.spine.layout().clone();
        let rows = record_batch(&layout.schema, columns, weights.len())?;
        let batch = Batch::from_delta(&layout, &Delta::new(rows, weights.into()))?;
        if !batch.is_empty() {
            self.spine.insert(Arc::new(batch))?;
        }
        Ok(())
    }
}

impl Operator for Aggregate {
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        let hasher = context.hasher;
        let is_owner = || {
            let hash = hasher.hash(&[], 1)[0];
            RowHasher::owner(hash, context.workers) == context.worker
        };
        let with_empty_key = self.is_global && context.is_first && is_owner();
        let touched = Touched::collect(
            &self.slots,
            inputs,
            self.group_columns,
            hasher,
            with_empty_key,
        )?;
        let keys = &touched.keys;
        if keys.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        let old = self.read_old(keys)?;
        let mut new = self.new_states(&touched, &old)?;
        let values = reread::values(
            &self.slots,
            inputs,
            &touched,
            &old.columns,
            &old.row_of_group,
        )?;
        new.extend(values);
        let old_side = self.old_side(&old, keys, context.is_first)?;
        let new_side = self.new_side(&new, keys)?;
        let changes = self.changes(keys, &old_side, &new_side)?;
        self.store(keys, old, &new)?;
        Ok(Flow::of(changes))
    }

    fn spines(&self) -> Vec<&Spine> {
        vec![&self.spine]
    }

    fn spines_mut(&mut self) -> Vec<&mut Spine> {
        vec![&mut self.spine]
    }
}

#[cfg(test)]
mod tests;
