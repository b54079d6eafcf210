//! A spine: a Z-set that grows by batches, kept as few sorted batches.
//!
//! Why not one sorted batch: every step would rewrite all state. Why not keep every batch: every lookup
//! would ask each of them. So batches of about the same size are merged when there are [`FANOUT`] of
//! them, off the step path.
//!
//! Levels: a batch of `n` rows is on level `floor(log4(n))`. [`FANOUT`] = 4 idle batches of a level
//! become one, of the next level unless rows cancelled.
//!
//! Invariants
//! - I1: the contents are the sum of `batches`; a merge's inputs stay in it until its result replaces
//!   them, in one move.
//! - I2: after each insert no level holds [`FANOUT`] idle batches (idle: in no running merge).
//! - I3: after each insert there are at most [`BATCHES_MAX`] batches, or none of them is in a merge.
//! - I4: no batch is empty.
//!
//! Arithmetic
//! - Batches: 3 idle ones on each of `log4(n)` levels at most, 1.5 on average: with 10 million rows 12
//!   levels and about 18 batches, of which the lower 6 levels have less than 4,096 rows together with
//!   their index in the first caches.
//! - Work: a row is rewritten once per level: `log4(n / b)` times, if inserted in batches of `b` rows;
//!   3.3 times for 10 million rows in steps of 100,000.
//! - Fuel: a merge is done in time if each insert of `b` rows comes with `b * log4(n / b)` rows of
//!   fuel. A merge thread does 30 million rows a second or more, so it keeps up with 9 million rows
//!   a second inserted; if it does not, I3 makes inserts wait for it.
//! - A merge below [`INLINE_ROWS_MAX`] rows is done in the insert: it is faster than waking a thread.

mod balance;

use std::sync::Arc;

use crate::any_batch::AnyBatch;
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::merge::service::RunningMerge;
use crate::merge::{MergeService, Merger};
use crate::parts::Part;
use crate::run::Run;
use crate::snapshot::Snapshot;
use crate::state_files::StateFiles;

pub use balance::balance_memory;

/// Idle batches of one level that start a merge.
const FANOUT: usize = 4;
/// Most inputs of one merge.
const INPUTS_MAX: usize = 8;
/// More batches make inserts wait for merges.
const BATCHES_MAX: usize = 64;
/// Smaller merges are done at once.
const INLINE_ROWS_MAX: usize = 2_000;
/// Less than this of a spine stays in memory: it has few batches that are larger, and many that are
/// smaller and soon merged.
const SPILL_BYTES_MIN: usize = if cfg!(test) { 64 } else { 1 << 20 };
/// Most parts that a batch in memory is kept as. A restart reads from each of them.
const PARTS_MAX: usize = 24;
/// Smaller merges are written again: it costs little, and the files of their inputs, which they share
/// with others, can go.
const PARTS_ROWS_MIN: usize = if cfg!(test) { 8 } else { 20_000 };
/// Rows take about this many times more bytes in memory than in a file: hashes and indexes, and
/// compression.
const EXPANSION: usize = 3;

/// A Z-set that grows by insertion.
pub struct Spine {
    layout: Arc<Layout>,
    merges: MergeService,
    batches: Vec<Member>,
    running: Vec<Running>,
    merges_started: u64,
    snapshot: Snapshot,
}

struct Member {
    batch: AnyBatch,
    level: usize,
    /// The merge that reads it.
    merge: Option<u64>,
    /// What the budget counts for it.
    memory_bytes: usize,
}

impl Member {
    fn is_due_at(&self, level: usize) -> bool {
        self.merge.is_none() && self.level == level
    }
}

struct Running {
    merge: u64,
    rows: usize,
    /// What the budget counts for the result, if that is to be in memory.
    reserved_bytes: usize,
    work: RunningMerge,
}

impl Spine {
    pub fn new(layout: Arc<Layout>, merges: MergeService) -> Self {
        let snapshot = Snapshot::empty(Arc::clone(&layout));
        Self {
            layout,
            merges,
            batches: Vec::new(),
            running: Vec::new(),
            merges_started: 0,
            snapshot,
        }
    }

    /// A spine with the contents of another one's snapshot.
    ///
    /// # Errors
    /// If a batch has another layout, or a merge fails.
    pub fn from_batches(
        layout: Arc<Layout>,
        batches: impl IntoIterator<Item = AnyBatch>,
        merges: MergeService,
    ) -> Result<Self> {
        let mut spine = Self::new(layout, merges);
        for batch in batches {
            spine.check_layout(&batch)?;
            spine.push(batch);
        }
        let result = spine.maintain();
        spine.refresh_snapshot();
        result.map(|()| spine)
    }

    /// Adds a batch, puts finished merges in place and starts due ones. Does not wait, unless there
    /// are too many batches.
    ///
    /// # Errors
    /// If the batch has another layout, or a merge failed: a sum of weights overflowed, Arrow refused,
    /// or it panicked. The contents include the batch even so.
    pub fn insert(&mut self, batch: Arc<Batch>) -> Result<()> {
        let batch = AnyBatch::from(batch);
        self.check_layout(&batch)?;
        self.push(batch);
        let result = self.maintain();
        self.refresh_snapshot();
        result
    }

    /// The contents; costs one reference, however many batches there are.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    fn check_layout(&self, batch: &AnyBatch) -> Result<()> {
        match Arc::ptr_eq(&self.layout, batch.layout()) || self.layout == *batch.layout() {
            true => Ok(()),
            false => Err(Error::Invalid("a batch of another layout".to_owned())),
        }
    }

    fn push(&mut self, batch: AnyBatch) {
        if batch.is_empty() {
            return;
        }
        // Measuring a batch takes longer than inserting a small one.
        let memory_bytes = match self.merges.state_files() {
            Some(state_files) => {
                let bytes = batch.memory_bytes();
                state_files.budget.add(bytes);
                bytes
            }
            None => 0,
        };
        self.batches.push(Member {
            level: level(batch.len()),
            batch,
            merge: None,
            memory_bytes,
        });
    }

    /// The batch of a member that leaves the spine.
    fn released(&self, member: Member) -> AnyBatch {
        if let Some(state_files) = self.merges.state_files() {
            state_files.budget.subtract(member.memory_bytes);
        }
        member.batch
    }

    fn refresh_snapshot(&mut self) {
        let batches = self.batches.iter().map(|member| member.batch.clone());
        self.snapshot = Snapshot::new(Arc::clone(&self.layout), batches);
    }

    /// Restores I2 and I3.
    fn maintain(&mut self) -> Result<()> {
        let mut fuel = self.merges.fuel_rows();
        self.install_finished(&mut 0)?;
        self.start_due_merges()?;
        while fuel > 0 && self.install_finished(&mut fuel)? {
            self.start_due_merges()?;
        }
        while self.batches.len() > BATCHES_MAX
            && let Some(smallest) = self.smallest_merge(|_| true)
        {
            self.wait_for(smallest)?;
            self.start_due_merges()?;
        }
        Ok(())
    }

    /// Puts the results of finished merges in place, smallest merge first; true if there was one.
    fn install_finished(&mut self, fuel: &mut usize) -> Result<bool> {
        self.running.sort_by_key(|running| running.rows);
        let mut position = 0;
        let mut is_any_finished = false;
        while position < self.running.len() {
            let result = self.running[position].work.poll(fuel);
            match result.transpose() {
                None => position += 1,
                Some(result) => {
                    self.install(position, result)?;
                    is_any_finished = true;
                }
            }
        }
        Ok(is_any_finished)
    }

    /// The running merge with the fewest rows of those that are wanted, by position.
    fn smallest_merge(&self, is_wanted: impl Fn(&Running) -> bool) -> Option<usize> {
        let running = self.running.iter().enumerate();
        let wanted = running.filter(|(_, running)| is_wanted(running));
        let smallest = wanted.min_by_key(|(_, running)| running.rows);
        smallest.map(|(position, _)| position)
    }

    fn wait_for(&mut self, position: usize) -> Result<()> {
        let result = self.running[position].work.wait();
        self.install(position, result)
    }

    /// Replaces a merge's inputs by its result; if it failed they become idle again.
    fn install(&mut self, position: usize, result: Result<AnyBatch>) -> Result<()> {
        let Running {
            merge,
            reserved_bytes,
            ..
        } = self.running.remove(position);
        if let Some(state_files) = self.merges.state_files() {
            state_files.budget.subtract(reserved_bytes);
        }
        match result {
            Ok(batch) => {
                let is_input = |member: &mut Member| member.merge == Some(merge);
                let inputs: Vec<Member> = self.batches.extract_if(.., is_input).collect();
                let inputs = inputs.into_iter().map(|member| self.released(member));
                let inputs: Vec<AnyBatch> = inputs.collect();
                if let AnyBatch::Memory(merged) = &batch {
                    keep_parts(merged, &inputs);
                }
                for input in &inputs {
                    if let AnyBatch::File(file) = input {
                        file.set_unwanted();
                    }
                }
                self.merges.discard(inputs);
                self.push(batch);
                Ok(())
            }
            Err(error) => {
                for member in self
                    .batches
                    .iter_mut()
                    .filter(|member| member.merge == Some(merge))
                {
                    member.merge = None;
                }
                Err(error)
            }
        }
    }

    /// Starts merges until I2 holds; small ones are finished at once and may make others due.
    fn start_due_merges(&mut self) -> Result<()> {
        while let Some(members) = self.due_merge() {
            let inputs: Vec<AnyBatch> = members
                .iter()
                .map(|member| self.batches[*member].batch.clone())
                .collect();
            let rows: usize = inputs.iter().map(AnyBatch::len).sum();
            let is_small = rows < INLINE_ROWS_MAX
                && inputs
                    .iter()
                    .all(|input| matches!(input, AnyBatch::Memory(_)));
            if !is_small {
                self.start_merge(&members, inputs);
                continue;
            }
            let mut merger = Merger::new(Arc::clone(&self.layout), inputs);
            if let Some(batch) = merger.work(&mut (2 * INLINE_ROWS_MAX))? {
                for member in members.iter().rev() {
                    let member = self.batches.swap_remove(*member);
                    drop(self.released(member));
                }
                self.push(batch);
            }
        }
        Ok(())
    }

    fn start_merge(&mut self, members: &[usize], inputs: Vec<AnyBatch>) {
        match self.merges.state_files().cloned() {
            Some(target) if belongs_in_file(&inputs, &target) => {
                self.start_writing(members, inputs, target);
            }
            state_files => self.start_merging(members, inputs, state_files.as_ref()),
        }
    }

    /// Starts a merge into memory.
    fn start_merging(
        &mut self,
        members: &[usize],
        inputs: Vec<AnyBatch>,
        state_files: Option<&StateFiles>,
    ) {
        let reserved_bytes = state_files.map_or(0, |state_files| {
            let bytes = inputs.iter().map(bytes_in_memory).sum();
            state_files.budget.add(bytes);
            bytes
        });
        let merger = Merger::new(Arc::clone(&self.layout), inputs);
        self.start(members, merger, reserved_bytes);
    }

    /// Starts a merge into a file.
    fn start_writing(&mut self, members: &[usize], inputs: Vec<AnyBatch>, target: StateFiles) {
        let merger = Merger::into_file(Arc::clone(&self.layout), inputs, target);
        self.start(members, merger, 0);
    }

    fn start(&mut self, members: &[usize], merger: Merger, reserved_bytes: usize) {
        let merge = self.merges_started;
        self.merges_started += 1;
        for member in members {
            self.batches[*member].merge = Some(merge);
        }
        self.running.push(Running {
            merge,
            rows: merger.rows_left(),
            reserved_bytes,
            work: self.merges.start(merger),
        });
    }

    /// Positions, ascending, of idle batches of one level that should become one: the lowest level
    /// that is full.
    fn due_merge(&self) -> Option<Vec<usize>> {
        let mut counts = [0_usize; LEVELS];
        for member in self.batches.iter().filter(|member| member.merge.is_none()) {
            counts[member.level] += 1;
        }
        let full = counts.iter().position(|count| *count >= FANOUT)?;
        let positions =
            (0..self.batches.len()).filter(|position| self.batches[*position].is_due_at(full));
        Some(positions.take(INPUTS_MAX).collect())
    }
}

/// Lets a merge in memory stand for what its inputs are kept as, so that a checkpoint need not write the
/// same rows again only because they were merged. Not if there are many parts, nor if much of them has
/// cancelled: so each row is written again once per factor of [`PARTS_MAX`] that its spine grows by. And
/// not if many of the rows are only in memory, for they stay there until they are written.
fn keep_parts(merged: &Run, inputs: &[AnyBatch]) {
    let parts = inputs.iter().flat_map(|input| match input {
        AnyBatch::Memory(run) => run.parts_of_merge(),
        AnyBatch::File(_) => vec![Part::Batch(input.clone())],
    });
    let parts: Vec<Part> = parts.collect();
    let rows: usize = parts.iter().map(Part::rows).sum();
    let in_memory = parts.iter().filter(|part| part.is_in_memory());
    let rows_in_memory: usize = in_memory.map(Part::rows).sum();
    let is_worth_it = parts.len() <= PARTS_MAX
        && merged.len() >= PARTS_ROWS_MIN
        && merged.len() * 4 >= rows * 3
        && rows_in_memory * 3 <= rows;
    // What comes from one file is in it.
    if is_worth_it || parts.len() == 1 {
        merged.parts().set(parts);
    }
}

/// True if the result of a merge of these should be a file: it would be too much for the memory, where
/// the inputs stay until the result is there.
fn belongs_in_file(inputs: &[AnyBatch], state_files: &StateFiles) -> bool {
    let bytes: usize = inputs.iter().map(bytes_in_memory).sum();
    let is_any_in_file = inputs
        .iter()
        .any(|input| matches!(input, AnyBatch::File(_)));
    let budget = &state_files.budget;
    // What was written for want of memory must not come back only to be written again.
    let is_scarce = match is_any_in_file {
        true => budget.is_half_used_by(bytes),
        false => budget.is_short_by(bytes),
    };
    bytes >= SPILL_BYTES_MIN && is_scarce
}

/// What a batch would take in memory, about.
fn bytes_in_memory(batch: &AnyBatch) -> usize {
    match batch {
        AnyBatch::Memory(run) => run.bytes(),
        AnyBatch::File(batch) => EXPANSION * batch.bytes(),
    }
}

/// Levels of batches of up to 2^32 rows.
const LEVELS: usize = 16;

fn level(rows: usize) -> usize {
    rows.max(1).ilog2() as usize / 2
}

/// What the budget counted is given back.
impl Drop for Spine {
    fn drop(&mut self) {
        if let Some(state_files) = self.merges.state_files() {
            let held = self.batches.iter().map(|member| member.memory_bytes);
            let reserved = self.running.iter().map(|running| running.reserved_bytes);
            state_files.budget.subtract(held.chain(reserved).sum());
        }
    }
}

#[cfg(test)]
mod tests;
