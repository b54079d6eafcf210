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
//! - I2: after each insert no level holds [`FANOUT`] idle batches (idle: in no running merge), except
//!   of batches that are too large to be merged.
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
//!
//! Known limitation: batches whose strings could overflow Arrow's 32-bit offsets are not merged any
//! more, so their number grows by one per 256 MiB of strings in one column.

use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::merge::service::RunningMerge;
use crate::merge::{MergeService, Merger};
use crate::snapshot::Snapshot;

/// Idle batches of one level that start a merge.
const FANOUT: usize = 4;
/// Most inputs of one merge.
const INPUTS_MAX: usize = 8;
/// More batches make inserts wait for merges.
const BATCHES_MAX: usize = 64;
/// Smaller merges are done at once.
const INLINE_ROWS_MAX: usize = 2_000;

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
    batch: Arc<Batch>,
    /// `None` if it is too large to be merged.
    level: Option<usize>,
    /// The merge that reads it.
    merge: Option<u64>,
}

impl Member {
    fn is_due_at(&self, level: usize) -> bool {
        self.merge.is_none() && self.level == Some(level)
    }
}

struct Running {
    merge: u64,
    rows: usize,
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
        batches: Vec<Arc<Batch>>,
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

    fn check_layout(&self, batch: &Batch) -> Result<()> {
        match Arc::ptr_eq(&self.layout, batch.layout()) || self.layout == *batch.layout() {
            true => Ok(()),
            false => Err(Error::Invalid("a batch of another layout".to_owned())),
        }
    }

    fn push(&mut self, batch: Arc<Batch>) {
        if !batch.is_empty() {
            let level = batch.is_mergeable().then(|| level(batch.len()));
            self.batches.push(Member {
                batch,
                level,
                merge: None,
            });
        }
    }

    fn refresh_snapshot(&mut self) {
        let batches = self
            .batches
            .iter()
            .map(|member| Arc::clone(&member.batch))
            .collect();
        self.snapshot = Snapshot::of_filled(Arc::clone(&self.layout), batches);
    }

    /// Restores I2 and I3.
    fn maintain(&mut self) -> Result<()> {
        let mut fuel = self.merges.fuel_rows();
        self.install_finished(&mut 0)?;
        self.start_due_merges()?;
        while fuel > 0 && self.install_finished(&mut fuel)? {
            self.start_due_merges()?;
        }
        while self.batches.len() > BATCHES_MAX && !self.running.is_empty() {
            self.wait_for_smallest()?;
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

    fn wait_for_smallest(&mut self) -> Result<()> {
        let Some(smallest) =
            (0..self.running.len()).min_by_key(|position| self.running[*position].rows)
        else {
            return Ok(());
        };
        let result = self.running[smallest].work.wait();
        self.install(smallest, result)
    }

    /// Replaces a merge's inputs by its result; if it failed they become idle again.
    fn install(&mut self, position: usize, result: Result<Batch>) -> Result<()> {
        let merge = self.running.remove(position).merge;
        match result {
            Ok(batch) => {
                let inputs = self
                    .batches
                    .extract_if(.., |member| member.merge == Some(merge));
                let inputs = inputs.map(|member| member.batch).collect();
                self.merges.discard(inputs);
                self.push(Arc::new(batch));
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
            let inputs: Vec<_> = members
                .iter()
                .map(|member| Arc::clone(&self.batches[*member].batch))
                .collect();
            let rows = inputs.iter().map(|batch| batch.len()).sum();
            let mut merger = Merger::new(Arc::clone(&self.layout), inputs);
            if rows < INLINE_ROWS_MAX {
                if let Some(batch) = merger.work(&mut (2 * INLINE_ROWS_MAX))? {
                    members
                        .iter()
                        .rev()
                        .for_each(|member| drop(self.batches.swap_remove(*member)));
                    self.push(Arc::new(batch));
                }
                continue;
            }
            let merge = self.merges_started;
            self.merges_started += 1;
            members
                .iter()
                .for_each(|member| self.batches[*member].merge = Some(merge));
            self.running.push(Running {
                merge,
                rows,
                work: self.merges.start(merger),
            });
        }
        Ok(())
    }

    /// Positions, ascending, of idle batches of one level that should become one: the lowest level
    /// that is full.
    fn due_merge(&self) -> Option<Vec<usize>> {
        let mut counts = [0_usize; LEVELS];
        for member in self.batches.iter().filter(|member| member.merge.is_none()) {
            if let Some(level) = member.level {
                counts[level] += 1;
            }
        }
        let full = counts.iter().position(|count| *count >= FANOUT)?;
        let positions =
            (0..self.batches.len()).filter(|position| self.batches[*position].is_due_at(full));
        Some(positions.take(INPUTS_MAX).collect())
    }
}

/// Levels of batches of up to 2^32 rows.
const LEVELS: usize = 16;

fn level(rows: usize) -> usize {
    rows.max(1).ilog2() as usize / 2
}

#[cfg(test)]
mod tests;
