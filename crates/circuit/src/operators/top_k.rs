//! The first rows of each partition, by rank in the arrangement's order.
//!
//! For each partition that changed, the head of the partition is read before and after the step,
//! and the difference goes out. So a step costs what it touches times the size of the heads,
//! however long the partitions are.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use highwater_zset::{Delta, Groups, Keys, Layout, ReadLimit, Snapshot, equal_rows};

use super::window::partitions::{Partitions, difference, negative_multiplicity};
use super::{BuildContext, Flow, Operator, OperatorError, StepContext, record_batch};
use crate::plan::{Rank, TopKSpec};

/// Ties may make a head longer than its limit. How much longer is not known before reading, so
/// reading starts over with so many times the limit.
const LIMIT_GROWTH: u64 = 8;

pub(super) struct TopK {
    spec: TopKSpec,
    schema: SchemaRef,
}

/// Rows that pass, by their positions among those that were read.
#[derive(Debug, Default, PartialEq)]
struct Passed {
    rows: Vec<u32>,
    weights: Vec<i64>,
    ranks: Vec<u64>,
    /// Where each partition starts, and the end.
    offsets: Vec<u32>,
}

impl TopK {
    pub(super) fn new(spec: &TopKSpec, context: &BuildContext<'_>) -> Self {
        Self {
            spec: spec.clone(),
            schema: context.node.schema.clone(),
        }
    }

    /// The passing rows of these partitions.
    fn heads(&self, snapshot: &Snapshot, keys: &Keys) -> Result<Partitions, OperatorError> {
        let last = self.spec.offset.saturating_add(self.spec.fetch);
        // One more row than can pass shows that no further row ties with the last one.
        let mut limit = match self.spec.rank {
            Rank::RowNumber => last,
            Rank::Rank | Rank::DenseRank => last.saturating_add(1),
        };
        loop {
            let read_limit = if limit == u64::MAX {
                ReadLimit::All
            } else {
                ReadLimit::Weight(limit)
            };
            let groups = snapshot.read_groups(keys, read_limit)?;
            if let Some(key) = first_negative(&groups, keys) {
                return Err(negative_multiplicity("top k", keys, key));
            }
            if let Some(passed) = self.pass(snapshot.layout(), &groups, limit)? {
                return self.emit(&groups, passed);
            }
            limit = limit.saturating_mul(LIMIT_GROWTH);
        }
    }

    /// `None` if `limit` rows are too few to tell.
    fn pass(
        &self,
        layout: &Layout,
        groups: &Groups,
        limit: u64,
    ) -> Result<Option<Passed>, OperatorError> {
        let ties = match self.spec.rank {
            Rank::RowNumber => Vec::new(),
            Rank::Rank | Rank::DenseRank => ties_with_previous(layout, groups)?,
        };
        let mut passed = Passed::default();
        passed.offsets.push(0);
        for key in 0..groups.offsets.len() - 1 {
            let range = groups.range(key);
            let weights = &groups.weights[range.clone()];
            let is_decided = match self.spec.rank {
                Rank::RowNumber => {
                    self.pass_by_number(range.start, weights, &mut passed);
                    true
                }
                _ => self.pass_by_rank(range.start, weights, &ties[range], &mut passed),
            };
            let total: u64 = weights.iter().map(|weight| weight.unsigned_abs()).sum();
            if !is_decided && total >= limit && limit < u64::MAX {
                return Ok(None);
            }
            passed.offsets.push(passed.rows.len() as u32);
        }
        Ok(Some(passed))
    }

    fn pass_by_number(&self, first: usize, weights: &[i64], passed: &mut Passed) {
        let end = self.spec.offset.saturating_add(self.spec.fetch);
        let mut position = 0_u64;
        for (row, weight) in (first..).zip(weights) {
            let from = position.max(self.spec.offset);
            position = position.saturating_add(weight.unsigned_abs());
            let copies = from..position.min(end);
            if copies.is_empty() {
                continue;
            }
            if self.spec.with_rank {
                // Copies of a row differ in their numbers.
                for number in copies {
                    passed.push(row, 1, number + 1);
                }
            } else {
                passed.push(row, (copies.end - copies.start) as i64, copies.start + 1);
            }
        }
    }

    /// True if a row was met that is too far down, so that nothing further can pass.
    fn pass_by_rank(
        &self,
        first: usize,
        weights: &[i64],
        ties: &[bool],
        passed: &mut Passed,
    ) -> bool {
        let last = self.spec.offset.saturating_add(self.spec.fetch);
        let is_dense = self.spec.rank == Rank::DenseRank;
        let (mut rank, mut rows_before) = (0_u64, 0_u64);
        for (index, (&weight, &is_tie)) in weights.iter().zip(ties).enumerate() {
            if index == 0 || !is_tie {
                rank = if is_dense { rank + 1 } else { rows_before + 1 };
            }
            if rank > last {
                return true;
            }
            if rank > self.spec.offset {
                passed.push(first + index, weight, rank);
            }
            rows_before = rows_before.saturating_add(weight.unsigned_abs());
        }
        false
    }

    fn emit(&self, groups: &Groups, passed: Passed) -> Result<Partitions, OperatorError> {
        let count = passed.rows.len();
        let rows = UInt32Array::from(passed.rows);
        let columns = groups
            .rows
            .columns()
            .iter()
            .map(|column| take(column, &rows, None));
        let mut columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        if self.spec.with_rank {
            columns.push(Arc::new(UInt64Array::from(passed.ranks)));
        }
        let rows = record_batch(&self.schema, columns, count)?;
        Ok(Partitions {
            rows: Delta::new(rows, passed.weights.into()),
            offsets: passed.offsets,
        })
    }
}

impl Passed {
    fn push(&mut self, row: usize, weight: i64, rank: u64) {
        self.rows.push(row as u32);
        self.weights.push(weight);
        self.ranks.push(rank);
    }
}

/// Per row: is it equal to the one before in all order columns? Meaningless at a key's first row.
fn ties_with_previous(layout: &Layout, groups: &Groups) -> Result<Vec<bool>, OperatorError> {
    let rows = groups.weights.len() as u32;
    let columns: Vec<ArrayRef> = layout
        .order
        .iter()
        .map(|order| groups.rows.column(order.column).clone())
        .collect();
    let these: Vec<u32> = (0..rows).collect();
    let previous: Vec<u32> = (0..rows).map(|row| row.saturating_sub(1)).collect();
    Ok(equal_rows(&columns, &these, &columns, &previous)?)
}

fn first_negative(groups: &Groups, keys: &Keys) -> Option<usize> {
    let row = groups.weights.iter().position(|&weight| weight < 0)?;
    (0..keys.len()).find(|&key| groups.range(key).contains(&row))
}

impl Operator for TopK {
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        let arranged = inputs[0].arranged();
        if arranged.delta.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        let keys = arranged.delta.keys()?;
        let before = self.heads(&arranged.before, &keys)?;
        let after = self.heads(&arranged.after, &keys)?;
        Ok(Flow::of(
            difference(&before, &after)?.consolidated(context.hasher)?,
        ))
    }
}

#[cfg(test)]
mod tests;
