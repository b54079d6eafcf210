//! Which row comes next: the integer half of a merge.

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kernels::compare::TieBreaks;
use crate::kernels::equal::{Pairs, equal_pairs};
use crate::layout::Layout;

/// Names the rows of the output, chunk by chunk, and keeps the place in each input.
pub(super) struct Selection {
    heads: Vec<Head>,
    compares_values: bool,
    ties: TieBreaks,
    chunk: Chunk,
}

/// An input that is not used up, at its next row.
#[derive(Clone, Copy, Debug)]
struct Head {
    rank: u128,
    source: u32,
    row: u32,
}

/// Rows of the output, and pairs of input rows that were taken for equal.
#[derive(Default)]
struct Chunk {
    sources: Vec<u32>,
    rows: Vec<u32>,
    ranks: Vec<u128>,
    weights: Vec<i64>,
    presumed_equal: Vec<[(u32, u32); 2]>,
}

impl Chunk {
    fn clear(&mut self) {
        let Self {
            sources,
            rows,
            ranks,
            weights,
            presumed_equal,
        } = self;
        sources.clear();
        rows.clear();
        ranks.clear();
        weights.clear();
        presumed_equal.clear();
    }

    #[inline(always)]
    fn push(&mut self, head: Head, weight: i64) {
        self.sources.push(head.source);
        self.rows.push(head.row);
        self.ranks.push(head.rank);
        self.weights.push(weight);
    }
}

impl Selection {
    pub(super) fn new(layout: &Layout, inputs: &[Arc<Batch>]) -> Self {
        let heads = inputs
            .iter()
            .enumerate()
            .filter(|(_, batch)| !batch.is_empty());
        let heads = heads.map(|(source, batch)| Head {
            rank: batch.rank(0),
            source: source as u32,
            row: 0,
        });
        Self {
            heads: heads.collect(),
            compares_values: layout.is_ordered(),
            ties: TieBreaks::new(inputs.len()),
            chunk: Chunk::default(),
        }
    }

    pub(super) fn sources(&self) -> &[u32] {
        &self.chunk.sources
    }

    pub(super) fn rows(&self) -> &[u32] {
        &self.chunk.rows
    }

    pub(super) fn ranks(&self) -> &[u128] {
        &self.chunk.ranks
    }

    pub(super) fn weights(&self) -> &[i64] {
        &self.chunk.weights
    }

    /// Selects the next rows: about `input_rows` of the inputs, or all that is left. Returns how many
    /// input rows were used.
    pub(super) fn next(&mut self, inputs: &[Arc<Batch>], input_rows: usize) -> Result<usize> {
        let start = self.heads.clone();
        let used = self.select(inputs, input_rows, self.compares_values)?;
        if self.presumptions_hold(inputs)? {
            return Ok(used);
        }
        self.heads = start;
        self.select(inputs, input_rows, true)
    }

    fn select(
        &mut self,
        inputs: &[Arc<Batch>],
        input_rows: usize,
        compares_values: bool,
    ) -> Result<usize> {
        self.chunk.clear();
        let mut used = 0;
        while used < input_rows && !self.heads.is_empty() {
            let (first, is_tied) = first_head(&self.heads);
            if is_tied {
                used += self.select_tied(inputs, self.heads[first].rank, compares_values)?;
                continue;
            }
            let head = &mut self.heads[first];
            let batch = &inputs[head.source as usize];
            self.chunk.push(*head, batch.weight(head.row as usize));
            used += 1;
            head.row += 1;
            if head.row as usize == batch.len() {
                self.heads.remove(first);
            } else {
                head.rank = batch.rank(head.row as usize);
            }
        }
        Ok(used)
    }

    /// Merges the rows of this rank, which several inputs have.
    fn select_tied(
        &mut self,
        inputs: &[Arc<Batch>],
        rank: u128,
        compares_values: bool,
    ) -> Result<usize> {
        let mut runs: Vec<(Head, u32)> = Vec::with_capacity(self.heads.len());
        for head in &mut self.heads {
            if head.rank == rank {
                let batch = &inputs[head.source as usize];
                let rows = head.row as usize..batch.len();
                let length = rows
                    .clone()
                    .position(|row| batch.rank(row) != rank)
                    .unwrap_or(rows.len()) as u32;
                runs.push((*head, head.row + length));
                head.row += length;
                if (head.row as usize) < batch.len() {
                    head.rank = batch.rank(head.row as usize);
                }
            }
        }
        self.heads
            .retain(|head| (head.row as usize) < inputs[head.source as usize].len());
        let used = runs
            .iter()
            .map(|(head, end)| (end - head.row) as usize)
            .sum();
        if !compares_values && runs.iter().all(|(head, end)| end - head.row == 1) {
            self.presume_equal(inputs, &runs)?;
        } else {
            self.merge_by_value(inputs, runs)?;
        }
        Ok(used)
    }

    fn presume_equal(&mut self, inputs: &[Arc<Batch>], runs: &[(Head, u32)]) -> Result<()> {
        let first = runs[0].0;
        let mut sum = 0_i64;
        for (head, _) in runs {
            let weight = inputs[head.source as usize].weight(head.row as usize);
            sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
            if head.source != first.source {
                self.chunk
                    .presumed_equal
                    .push([(first.source, first.row), (head.source, head.row)]);
            }
        }
        if sum != 0 {
            self.chunk.push(first, sum);
        }
        Ok(())
    }

    fn merge_by_value(&mut self, inputs: &[Arc<Batch>], mut runs: Vec<(Head, u32)>) -> Result<()> {
        while !runs.is_empty() {
            let mut first = runs[0].0;
            for (head, _) in &runs[1..] {
                let (a, b) = ((head.source, head.row), (first.source, first.row));
                if self.ties.compare(inputs, a, b)?.is_lt() {
                    first = *head;
                }
            }
            let mut sum = 0_i64;
            for (head, _) in &mut runs {
                let (a, b) = ((head.source, head.row), (first.source, first.row));
                if a == b || self.ties.compare(inputs, a, b)?.is_eq() {
                    let weight = inputs[head.source as usize].weight(head.row as usize);
                    sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
                    head.row += 1;
                }
            }
            if sum != 0 {
                self.chunk.push(first, sum);
            }
            runs.retain(|(head, end)| head.row < *end);
        }
        Ok(())
    }

    /// Are the rows that were taken for equal really equal?
    fn presumptions_hold(&mut self, inputs: &[Arc<Batch>]) -> Result<bool> {
        let presumed = &mut self.chunk.presumed_equal;
        if presumed.is_empty() {
            return Ok(true);
        }
        presumed.sort_unstable_by_key(|[a, b]| (a.0, b.0));
        for pairs in presumed.chunk_by(|[a, b], [c, d]| (a.0, b.0) == (c.0, d.0)) {
            let left: Vec<u32> = pairs.iter().map(|[a, _]| a.1).collect();
            let right: Vec<u32> = pairs.iter().map(|[_, b]| b.1).collect();
            let [(source, _), (other, _)] = pairs[0];
            let (source, other) = (
                inputs[source as usize].rows(),
                inputs[other as usize].rows(),
            );
            let pairs = Pairs {
                left: &left,
                right: &right,
            };
            let equal = equal_pairs(source.columns().iter(), other.columns().iter(), pairs)?;
            if !equal.iter().all(|equal| *equal) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The head with the smallest rank, and whether another one has the same.
#[inline(always)]
fn first_head(heads: &[Head]) -> (usize, bool) {
    let mut first = 0;
    let mut is_tied = false;
    for other in 1..heads.len() {
        is_tied = if heads[other].rank < heads[first].rank {
            first = other;
            false
        } else {
            is_tied | (heads[other].rank == heads[first].rank)
        };
    }
    (first, is_tied)
}
