//! The state of a circuit between two steps, and how it is dealt out to another number of workers.
//!
//! State is what all spines hold, as lists of immutable batches: taking it copies pointers. Every
//! spine's rows lie on the worker that owns their key hash, in contiguous ranges, so a circuit with
//! more or fewer workers gets slices of the same batches.

use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_zset::{AnyBatch, Batch, Delta, MergeService, RowHasher, Run, Snapshot, Spine};

use crate::error::{Error, Result};
use crate::plan::OperatorId;

/// Everything a circuit remembers after a step.
#[derive(Clone, Debug)]
pub struct CircuitState {
    /// The next step's epoch; constants have been emitted unless it is 0.
    pub epoch: u64,
    pub hasher: RowHasher,
    pub workers: Vec<WorkerState>,
}

/// One worker's spines, by operator and their position in it.
#[derive(Clone, Debug, Default)]
pub struct WorkerState {
    pub spines: BTreeMap<(OperatorId, usize), Snapshot>,
}

impl CircuitState {
    /// The same state for this many workers.
    ///
    /// # Errors
    /// If a batch cannot be cut.
    pub fn redistributed(self, workers: usize) -> Result<Self> {
        if self.workers.len() == workers {
            return Ok(self);
        }
        let mut redistributed = vec![WorkerState::default(); workers];
        for key in self.workers.iter().flat_map(|worker| worker.spines.keys()) {
            if redistributed[0].spines.contains_key(key) {
                continue;
            }
            let parts: Vec<&Snapshot> = self
                .workers
                .iter()
                .filter_map(|worker| worker.spines.get(key))
                .collect();
            let layout = parts[0].layout();
            let batches = parts.iter().flat_map(|part| part.batches());
            let mut slices = vec![Vec::new(); workers];
            for batch in batches {
                for (worker, slice) in cut(batch, workers)? {
                    slices[worker].push(slice);
                }
            }
            for (worker, slices) in redistributed.iter_mut().zip(slices) {
                worker
                    .spines
                    .insert(*key, Snapshot::new(layout.clone(), slices));
            }
        }
        Ok(Self {
            workers: redistributed,
            ..self
        })
    }
}

/// The non-empty ranges of a batch that each worker owns.
fn cut(batch: AnyBatch, workers: usize) -> Result<Vec<(usize, AnyBatch)>> {
    match batch {
        AnyBatch::Memory(run) => cut_in_memory(&run, workers),
        AnyBatch::File(batch) => {
            let mut parts = Vec::new();
            for worker in 0..workers {
                let owned = RowHasher::owned(worker, workers);
                let part = batch.restricted(&owned).map_err(invalid)?;
                parts.extend(part.map(|part| (worker, AnyBatch::File(Arc::new(part)))));
            }
            Ok(parts)
        }
    }
}

fn cut_in_memory(run: &Run, workers: usize) -> Result<Vec<(usize, AnyBatch)>> {
    let mut slices = Vec::new();
    for batch in run.pieces() {
        let hashes = batch.key_hashes();
        let mut start = 0;
        for worker in 0..workers {
            let length =
                hashes[start..].partition_point(|&hash| RowHasher::owner(hash, workers) == worker);
            if length == run.len() {
                return Ok(vec![(worker, AnyBatch::Memory(run.clone()))]);
            } else if length > 0 {
                let rows = batch.rows().slice(start, length);
                let delta = Delta::new(rows, batch.weights().slice(start, length));
                let slice = Batch::from_delta(batch.layout(), &delta).map_err(invalid)?;
                slices.push((worker, AnyBatch::from(slice)));
            }
            start += length;
        }
    }
    Ok(slices)
}

/// Makes a spine hold what was saved.
pub(super) fn restore_spine(
    spine: &mut Spine,
    saved: &Snapshot,
    merges: &MergeService,
) -> Result<()> {
    if spine.layout() != saved.layout() {
        return Err(Error::Invalid("saved state has another layout".to_owned()));
    }
    let layout = Arc::clone(spine.layout());
    *spine = Spine::from_batches(layout, saved.batches(), merges.clone()).map_err(invalid)?;
    Ok(())
}

fn invalid(error: highwater_zset::Error) -> Error {
    Error::Invalid(error.to_string())
}
