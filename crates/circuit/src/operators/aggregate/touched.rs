//! The groups that a step touches, and what each input does to them.

use std::ops::Range;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;
use highwater_zset::{Delta, Grouping, Keys, RowHasher};

use super::slots::Slots;
use crate::operators::{Flow, OperatorError};

/// The touched groups: groups are positions in `keys`.
pub(super) struct Touched {
    pub keys: Keys,
    /// Per input; `None` if it is not linear.
    pub linear: Vec<Option<LinearDelta>>,
    /// Per input; `None` unless it is arranged and changed.
    pub arranged: Vec<Option<ArrangedKeys>>,
}

/// The states that a linear input adds in this step.
pub(super) struct LinearDelta {
    /// All columns of the input; none if there are no rows.
    columns: Vec<ArrayRef>,
    weights: Vec<i64>,
    /// Per row.
    groups: Vec<u32>,
}

/// The groups that changed in an arranged input.
pub(super) struct ArrangedKeys {
    pub keys: Keys,
    /// Per key.
    pub groups: Vec<u32>,
}

impl Touched {
    /// `with_empty_key` counts the group without columns as touched.
    pub(super) fn collect(
        slots: &Slots,
        inputs: &[&Flow],
        group_columns: usize,
        hasher: RowHasher,
        with_empty_key: bool,
    ) -> Result<Self, OperatorError> {
        let mut parts: Vec<(Vec<ArrayRef>, usize)> = Vec::with_capacity(inputs.len());
        let mut linear = Vec::with_capacity(inputs.len());
        let mut arranged = Vec::with_capacity(inputs.len());
        for (slots, flow) in slots.linear.iter().zip(inputs) {
            let is_linear = slots.is_some();
            linear.push(is_linear.then(|| LinearDelta::of(flow)).transpose()?);
            let is_changed = !is_linear && !flow.is_unchanged();
            arranged.push(is_changed.then(|| ArrangedKeys::of(flow)).transpose()?);
        }
        for delta in linear.iter().flatten().filter(|delta| delta.len() > 0) {
            parts.push((delta.columns[..group_columns].to_vec(), delta.len()));
        }
        for changed in arranged.iter().flatten() {
            parts.push((changed.keys.columns().to_vec(), changed.keys.len()));
        }
        let rows = parts.iter().map(|(_, rows)| rows).sum::<usize>() + usize::from(with_empty_key);
        let columns = concat_columns(&parts, group_columns)?;
        let (keys, groups) = Grouping::new(hasher, &columns, rows)?.into_keys()?;
        let mut rest = &groups[..];
        let mut next = |count: usize| {
            let (these, others) = rest.split_at(count);
            rest = others;
            these.to_vec()
        };
        for delta in linear.iter_mut().flatten() {
            delta.groups = next(delta.len());
        }
        for changed in arranged.iter_mut().flatten() {
            changed.groups = next(changed.keys.len());
        }
        Ok(Self {
            keys,
            linear,
            arranged,
        })
    }
}

fn concat_columns(
    parts: &[(Vec<ArrayRef>, usize)],
    columns: usize,
) -> Result<Vec<ArrayRef>, OperatorError> {
    match parts {
        [] => Ok(Vec::new()),
        [(only, _)] => Ok(only.clone()),
        _ => (0..columns)
            .map(|column| {
                let pieces: Vec<&dyn Array> = parts
                    .iter()
                    .map(|(columns, _)| columns[column].as_ref())
                    .collect();
                Ok(concat(&pieces)?)
            })
            .collect(),
    }
}

impl ArrangedKeys {
    fn of(flow: &Flow) -> Result<Self, OperatorError> {
        let keys = flow.arranged().delta.keys()?;
        Ok(Self {
            keys,
            groups: Vec::new(),
        })
    }
}

impl LinearDelta {
    fn of(flow: &Flow) -> Result<Self, OperatorError> {
        let deltas = flow.deltas();
        let Some(first) = deltas.first() else {
            return Ok(Self {
                columns: Vec::new(),
                weights: Vec::new(),
                groups: Vec::new(),
            });
        };
        let all = Delta::concat(&first.schema(), &deltas)?;
        let (rows, weights) = all.into_parts();
        Ok(Self {
            columns: rows.columns().to_vec(),
            weights: weights.to_vec(),
            groups: Vec::new(),
        })
    }

    fn len(&self) -> usize {
        self.weights.len()
    }

    /// True if the rows are the new states of all groups, in their order, if these had none.
    pub(super) fn is_one_row_per_group(&self, group_count: usize) -> bool {
        self.len() == group_count
            && self
                .groups
                .iter()
                .enumerate()
                .all(|(row, &group)| row == group as usize)
            && self.weights.iter().all(|&weight| weight == 1)
    }

    /// Groups and weights of these old rows, of weight 1, followed by those of the delta.
    pub(super) fn after(&self, old_groups: &[u32]) -> (Vec<u32>, Vec<i64>) {
        let mut weights = vec![1; old_groups.len()];
        weights.extend_from_slice(&self.weights);
        ([old_groups, &self.groups].concat(), weights)
    }

    /// Some old columns, followed by those of the delta that belong to them.
    pub(super) fn columns_after(
        &self,
        old: &[ArrayRef],
        columns: Range<usize>,
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        if self.len() == 0 {
            return Ok(old.to_vec());
        }
        let delta = &self.columns[columns];
        if old.iter().all(|old| old.is_empty()) {
            return Ok(delta.to_vec());
        }
        let both = old
            .iter()
            .zip(delta)
            .map(|(old, new)| concat(&[old.as_ref(), new.as_ref()]));
        Ok(both.collect::<Result<_, _>>()?)
    }
}
