//! Which row comes next: the integer half of a merge.

use std::array;
use std::sync::Arc;

use crate::any_batch::AnyBatch;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::kernels::compare::TieBreaks;
use crate::kernels::equal::{Pairs, equal_pairs};
use crate::kernels::gather::RowNames;
use crate::layout::Layout;
use crate::merge::builder::Selected;

/// Names the rows of the output, chunk by chunk, and keeps the place in each input.
pub(super) struct Selection {
    heads: Vec<Head>,
    compares_values: bool,
    ties: TieBreaks,
    chunk: Chunk,
    /// Tied rows that are being merged by value: the next one of each input, and where they end.
    runs: Vec<(Head, u32)>,
    /// By input: it goes on behind its window. A row of it that is not seen yet may be the next one, so
    /// nothing is selected while such an input has no head.
    goes_on: Vec<bool>,
    any_goes_on: bool,
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
    /// Rows selected; the first four vectors are longer, to be written without growing.
    len: usize,
    sources: Vec<u32>,
    rows: Vec<u32>,
    hashes: Vec<u64>,
    seconds: Vec<u64>,
    /// An input has other weights than 1, so there is a weight per row.
    keeps_weights: bool,
    /// Otherwise empty as long as all are 1.
    weights: Vec<i64>,
    presumed_equal: Vec<[(u32, u32); 2]>,
}

impl Chunk {
    fn clear(&mut self) {
        self.len = 0;
        self.weights.clear();
        self.presumed_equal.clear();
    }

    fn push(&mut self, head: Head, weight: i64) {
        if weight != 1 || self.keeps_weights || !self.weights.is_empty() {
            self.weights.resize(self.len, 1);
            self.weights.push(weight);
        }
        let room = self.room(1);
        room.sources[0] = head.source;
        room.rows[0] = head.row;
        room.hashes[0] = (head.rank >> 64) as u64;
        room.seconds[0] = head.rank as u64;
        self.len += 1;
    }

    /// Room for this many more rows, to be written by position and then counted by [`Self::complete`].
    fn room(&mut self, rows: usize) -> Room<'_> {
        let (start, end) = (self.len, self.len + rows);
        if self.rows.len() < end {
            self.sources.resize(end, 0);
            self.rows.resize(end, 0);
            self.hashes.resize(end, 0);
            self.seconds.resize(end, 0);
        }
        Room {
            sources: &mut self.sources[start..end],
            rows: &mut self.rows[start..end],
            hashes: &mut self.hashes[start..end],
            seconds: &mut self.seconds[start..end],
        }
    }

    /// Counts rows that were written, and looks up the weights of those that have none yet.
    fn complete(&mut self, rows: usize, inputs: &[Arc<Batch>]) {
        self.len += rows;
        if self.weights.is_empty() && !self.keeps_weights {
            return;
        }
        let new = self.weights.len()..self.len;
        let names = self.sources[new.clone()].iter().zip(&self.rows[new]);
        self.weights
            .extend(names.map(|(source, row)| inputs[*source as usize].weight(*row as usize)));
    }
}

/// Part of a chunk that is being written.
struct Room<'a> {
    sources: &'a mut [u32],
    rows: &'a mut [u32],
    hashes: &'a mut [u64],
    seconds: &'a mut [u64],
}

impl Selection {
    /// No input has a window yet.
    pub(super) fn new(layout: &Layout, inputs: &[AnyBatch]) -> Self {
        let has_other_weights = |batch: &AnyBatch| match batch {
            AnyBatch::Memory(run) => run.pieces().any(|piece| !piece.has_unit_weights()),
            AnyBatch::File(_) => true,
        };
        let goes_on: Vec<bool> = inputs.iter().map(|batch| !batch.is_empty()).collect();
        Self {
            heads: Vec::with_capacity(inputs.len()),
            compares_values: layout.is_ordered(),
            ties: TieBreaks::new(inputs.len()),
            chunk: Chunk {
                keeps_weights: inputs.iter().any(has_other_weights),
                ..Chunk::default()
            },
            runs: Vec::new(),
            any_goes_on: goes_on.contains(&true),
            goes_on,
        }
    }

    /// An input has a window of new rows; behind them it goes on, or not.
    pub(super) fn open(&mut self, source: usize, window: &Batch, goes_on: bool) {
        self.goes_on[source] = goes_on;
        self.any_goes_on = self.goes_on.contains(&true);
        self.ties = TieBreaks::new(self.goes_on.len());
        if window.is_empty() {
            return;
        }
        let head = Head {
            rank: window.rank(0),
            source: source as u32,
            row: 0,
        };
        let position = self
            .heads
            .partition_point(|other| other.source < head.source);
        self.heads.insert(position, head);
    }

    /// The input must get its next window before anything is selected.
    pub(super) fn is_starved(&self, source: usize) -> bool {
        let is_here = |head: &Head| head.source as usize == source;
        self.goes_on[source]
            && !self.heads.iter().any(is_here)
            && !self.runs.iter().any(|(head, _)| is_here(head))
    }

    fn is_any_starved(&self) -> bool {
        self.any_goes_on && (0..self.goes_on.len()).any(|source| self.is_starved(source))
    }

    /// What the last call of [`Self::next`] selected.
    pub(super) fn selected(&self) -> Selected<'_> {
        let rows = ..self.chunk.len;
        Selected {
            names: RowNames {
                sources: &self.chunk.sources[rows],
                rows: &self.chunk.rows[rows],
            },
            hashes: &self.chunk.hashes[rows],
            seconds: &self.chunk.seconds[rows],
            weights: &self.chunk.weights,
        }
    }

    /// Selects the next rows: about `input_rows` of the inputs, or all that is left. Returns how many
    /// input rows were used.
    pub(super) fn next(&mut self, inputs: &[Arc<Batch>], input_rows: usize) -> Result<usize> {
        let start = (self.heads.clone(), self.runs.clone());
        let used = self.select(inputs, input_rows, self.compares_values)?;
        if self.presumptions_hold(inputs)? {
            return Ok(used);
        }
        (self.heads, self.runs) = start;
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
        while used < input_rows && !(self.heads.is_empty() && self.runs.is_empty()) {
            if !self.runs.is_empty() {
                used += self.merge_by_value(inputs, input_rows - used)?;
                continue;
            }
            if self.is_any_starved() {
                break;
            }
            used += match self.heads.len() {
                1 => self.select_rest(inputs, input_rows - used),
                2 => self.select_of_two(inputs, input_rows - used),
                3 => self.select_of_few::<3>(inputs, input_rows - used),
                4 => self.select_of_few::<4>(inputs, input_rows - used),
                _ => self.select_of_many(inputs, input_rows - used),
            };
            if self.is_any_starved() {
                break;
            }
            let (first, is_tied) = first_head(&self.heads);
            if is_tied && used < input_rows {
                used += self.select_tied(inputs, self.heads[first].rank, compares_values)?;
            }
        }
        Ok(used)
    }

    /// Rows of the only input that is left.
    fn select_rest(&mut self, inputs: &[Arc<Batch>], rows_max: usize) -> usize {
        let head = self.heads[0];
        let batch = &inputs[head.source as usize];
        let start = head.row as usize;
        let rows = rows_max.min(batch.len() - start);
        let room = self.chunk.room(rows);
        room.sources.fill(head.source);
        for (position, row) in room.rows.iter_mut().enumerate() {
            *row = head.row + position as u32;
        }
        room.hashes
            .copy_from_slice(&batch.key_hashes()[start..start + rows]);
        if !batch.seconds().is_empty() {
            room.seconds
                .copy_from_slice(&batch.seconds()[start..start + rows]);
        }
        self.chunk.complete(rows, inputs);
        self.move_heads(inputs, &[(start + rows) as u32]);
        rows
    }

    /// Rows of the two inputs that are left, up to a tie or the end of one: no branch depends on the
    /// rows, because no processor can guess hashes.
    fn select_of_two(&mut self, inputs: &[Arc<Batch>], rows_max: usize) -> usize {
        let [a, b] = [self.heads[0], self.heads[1]];
        let (batch_a, batch_b) = (&inputs[a.source as usize], &inputs[b.source as usize]);
        let [mut i, mut j] = [a.row as usize, b.row as usize];
        let rows_max = rows_max.min(batch_a.len() - i + batch_b.len() - j);
        let room = self.chunk.room(rows_max);
        let (hashes_a, hashes_b) = (batch_a.key_hashes(), batch_b.key_hashes());
        let (seconds_a, seconds_b) = (batch_a.seconds(), batch_b.seconds());
        let has_seconds = !seconds_a.is_empty();
        let mut rows = 0;
        while rows < rows_max && i < hashes_a.len() && j < hashes_b.len() {
            let (hash_a, hash_b) = (hashes_a[i], hashes_b[j]);
            let (second_a, second_b) = if has_seconds {
                (seconds_a[i], seconds_b[j])
            } else {
                (0, 0)
            };
            if hash_a == hash_b && second_a == second_b {
                break;
            }
            let is_a = (hash_a < hash_b) | ((hash_a == hash_b) & (second_a < second_b));
            let mask = 0_u128.wrapping_sub(u128::from(is_a));
            let pick = |of_a: u64, of_b: u64| picked(mask, of_a.into(), of_b.into()) as u64;
            room.sources[rows] = pick(a.source.into(), b.source.into()) as u32;
            room.rows[rows] = pick(i as u64, j as u64) as u32;
            room.hashes[rows] = pick(hash_a, hash_b);
            room.seconds[rows] = pick(second_a, second_b);
            i += usize::from(is_a);
            j += usize::from(!is_a);
            rows += 1;
        }
        self.chunk.complete(rows, inputs);
        self.move_heads(inputs, &[i as u32, j as u32]);
        rows
    }

    /// As [`Self::select_of_many`] for exactly `N` inputs, with all of their heads in registers.
    fn select_of_few<const N: usize>(&mut self, inputs: &[Arc<Batch>], rows_max: usize) -> usize {
        let heads: [Head; N] = array::from_fn(|head| self.heads[head]);
        let batches = heads.map(|head| &inputs[head.source as usize]);
        let hashes = batches.map(|batch| batch.key_hashes());
        let seconds = batches.map(|batch| batch.seconds());
        let mut ranks = heads.map(|head| head.rank);
        let mut next = heads.map(|head| head.row);
        let left: usize = (0..N)
            .map(|head| hashes[head].len() - next[head] as usize)
            .sum();
        let rows_max = rows_max.min(left);
        let room = self.chunk.room(rows_max);
        let mut rows = 0;
        while rows < rows_max {
            let (mut first, mut rank) = (0, ranks[0]);
            for (head, other) in ranks.iter().enumerate().skip(1) {
                let mask = 0_u128.wrapping_sub(u128::from(*other < rank));
                rank = picked(mask, *other, rank);
                first = picked(mask, head as u128, first as u128) as usize;
            }
            let equal: u32 = ranks.iter().map(|other| u32::from(*other == rank)).sum();
            if equal > 1 {
                break;
            }
            room.sources[rows] = heads[first].source;
            room.rows[rows] = next[first];
            room.hashes[rows] = (rank >> 64) as u64;
            room.seconds[rows] = rank as u64;
            rows += 1;
            next[first] += 1;
            let row = next[first] as usize;
            let Some(hash) = hashes[first].get(row) else {
                break;
            };
            let second = seconds[first].get(row).copied().unwrap_or_default();
            ranks[first] = u128::from(*hash) << 64 | u128::from(second);
        }
        self.chunk.complete(rows, inputs);
        self.move_heads(inputs, &next);
        rows
    }

    /// Rows of several inputs, up to a tie or the end of one.
    fn select_of_many(&mut self, inputs: &[Arc<Batch>], rows_max: usize) -> usize {
        let left = self
            .heads
            .iter()
            .map(|head| inputs[head.source as usize].len() - head.row as usize);
        let rows_max = rows_max.min(left.sum());
        let room = self.chunk.room(rows_max);
        let mut rows = 0;
        while rows < rows_max {
            let (first, is_tied) = first_head(&self.heads);
            if is_tied {
                break;
            }
            let head = &mut self.heads[first];
            room.sources[rows] = head.source;
            room.rows[rows] = head.row;
            room.hashes[rows] = (head.rank >> 64) as u64;
            room.seconds[rows] = head.rank as u64;
            rows += 1;
            head.row += 1;
            let batch = &inputs[head.source as usize];
            if head.row as usize == batch.len() {
                self.heads.remove(first);
                break;
            }
            head.rank = batch.rank(head.row as usize);
        }
        self.chunk.complete(rows, inputs);
        rows
    }

    /// Puts the heads at these rows; removes those at their end.
    fn move_heads(&mut self, inputs: &[Arc<Batch>], rows: &[u32]) {
        for (head, row) in self.heads.iter_mut().zip(rows) {
            head.row = *row;
            let batch = &inputs[head.source as usize];
            if (*row as usize) < batch.len() {
                head.rank = batch.rank(*row as usize);
            }
        }
        self.heads
            .retain(|head| (head.row as usize) < inputs[head.source as usize].len());
    }

    /// Takes the rows of this rank, which several inputs have, for equal, or leaves them in `runs` to
    /// be merged by value.
    fn select_tied(
        &mut self,
        inputs: &[Arc<Batch>],
        rank: u128,
        compares_values: bool,
    ) -> Result<usize> {
        for head in &mut self.heads {
            if head.rank == rank {
                let batch = &inputs[head.source as usize];
                let rows = head.row as usize..batch.len();
                let length = rows
                    .clone()
                    .position(|row| batch.rank(row) != rank)
                    .unwrap_or(rows.len());
                let end = head.row + length as u32;
                self.runs.push((*head, end));
                head.row = end;
                if (end as usize) < batch.len() {
                    head.rank = batch.rank(end as usize);
                }
            }
        }
        self.heads
            .retain(|head| (head.row as usize) < inputs[head.source as usize].len());
        let is_one_each = self.runs.iter().all(|(head, end)| end - head.row == 1);
        match compares_values || !is_one_each {
            true => Ok(0),
            false => Ok(self.presume_equal(inputs)),
        }
    }

    /// Takes the tied rows, one of each input, for equal. If their weights overflow, they are left to
    /// be compared.
    fn presume_equal(&mut self, inputs: &[Arc<Batch>]) -> usize {
        let weights = self
            .runs
            .iter()
            .map(|(head, _)| inputs[head.source as usize].weight(head.row as usize));
        let Some(sum) = weights.into_iter().try_fold(0_i64, i64::checked_add) else {
            return 0;
        };
        let first = self.runs[0].0;
        let others = self.runs[1..].iter();
        let pairs = others.map(|(head, _)| [(first.source, first.row), (head.source, head.row)]);
        self.chunk.presumed_equal.extend(pairs);
        if sum != 0 {
            self.chunk.push(first, sum);
        }
        let used = self.runs.len();
        self.runs.clear();
        used
    }

    /// Merges tied rows by value.
    fn merge_by_value(&mut self, inputs: &[Arc<Batch>], rows_max: usize) -> Result<usize> {
        let mut used = 0;
        while used < rows_max && !self.runs.is_empty() {
            let mut first = self.runs[0].0;
            for (head, _) in &self.runs[1..] {
                let (a, b) = ((head.source, head.row), (first.source, first.row));
                if self.ties.compare(inputs, a, b)?.is_lt() {
                    first = *head;
                }
            }
            let mut sum = 0_i64;
            for (head, _) in &mut self.runs {
                let (a, b) = ((head.source, head.row), (first.source, first.row));
                if a == b || self.ties.compare(inputs, a, b)?.is_eq() {
                    let weight = inputs[head.source as usize].weight(head.row as usize);
                    sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
                    head.row += 1;
                    used += 1;
                }
            }
            if sum != 0 {
                self.chunk.push(first, sum);
            }
            self.runs.retain(|(head, end)| head.row < *end);
        }
        Ok(used)
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

/// `chosen` if the mask is all ones, `other` if it is zero: a choice that is not a branch.
#[inline(always)]
fn picked(mask: u128, chosen: u128, other: u128) -> u128 {
    other ^ ((chosen ^ other) & mask)
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
