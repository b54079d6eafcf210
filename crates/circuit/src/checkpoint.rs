//! What a checkpoint keeps of a circuit: for each worker and operator, where its batches are.
//!
//! Saving writes the batches that are only in memory, the small ones of a worker together into one
//! file, so that the number of files depends on the workers and not on the operators. A batch that was
//! written remembers its file, so the next checkpoint only names it. Restoring opens nothing: batches
//! are read when somebody asks for their rows.
//!
//! Invariants
//! - I1: every operator that keeps state is listed, also if its state is empty: an operator that is
//!   not listed was not there when the checkpoint was taken, and nothing else.
//! - I2: what is listed is what the circuit's operators gave out ([`crate::dataflow::CircuitState`]), so
//!   no operator can forget a part.
//!
//! The format is documented in `docs/internals/circuit-state-format.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_storage::{Error as StorageError, Kind, StoredFile};
use highwater_zset::{
    AnyBatch, BatchLocation, BlockCache, FileBatch, Layout, PACKED_BYTES_MAX, PackWriter,
    RowHasher, Run, Snapshot, StateFiles, write_run,
};
use serde::{Deserialize, Serialize};

use crate::dataflow::{CircuitState, WorkerState, spine_layouts};
use crate::error::Error;
use crate::plan::{OperatorId, Plan};

/// Version of [`SavedWorker`]'s JSON. A reader refuses any other.
const VERSION: u32 = 1;

/// One worker's part of a checkpoint, as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedWorker {
    version: u32,
    worker: usize,
    spines: Vec<SavedSpine>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSpine {
    operator: OperatorId,
    /// Which of the operator's spines.
    position: usize,
    batches: Vec<BatchLocation>,
}

impl SavedWorker {
    /// As JSON.
    ///
    /// # Errors
    /// Never for what [`save`] returned.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Reads what [`Self::encode`] wrote; `path` is for errors.
    ///
    /// # Errors
    /// If it is something else, or has another version.
    pub fn decode(path: &std::path::Path, bytes: &[u8]) -> Result<Self, StorageError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let corrupt = |error: serde_json::Error| {
            StorageError::corrupt(path, format!("is no state of a worker: {error}"))
        };
        let found = serde_json::from_slice::<Versioned>(bytes).map_err(corrupt)?;
        if found.version != VERSION {
            let message = format!(
                "has version {} of the state format, this program reads {VERSION}",
                found.version
            );
            let error = StorageError::new(Kind::Unsupported, path, message);
            return Err(error.with_remedy("use the version of highwater that wrote it"));
        }
        serde_json::from_slice(bytes).map_err(corrupt)
    }

    /// Names of the files that the worker's batches are in.
    pub fn files(&self) -> BTreeSet<&str> {
        let batches = self.spines.iter().flat_map(|spine| &spine.batches);
        batches.map(|batch| batch.file.as_str()).collect()
    }

    /// Rows of each operator's first spine, which is its relation if it keeps one.
    pub fn rows_by_operator(&self) -> BTreeMap<OperatorId, u64> {
        let first = self.spines.iter().filter(|spine| spine.position == 0);
        let rows = first.map(|spine| {
            let rows = spine.batches.iter().map(|batch| batch.rows).sum();
            (spine.operator, rows)
        });
        rows.collect()
    }

    /// Operators that kept state.
    pub fn operators(&self) -> BTreeSet<OperatorId> {
        self.spines.iter().map(|spine| spine.operator).collect()
    }

    /// Where the batches of one spine are, if the operator was there.
    pub fn spine(&self, operator: OperatorId, position: usize) -> Option<&[BatchLocation]> {
        let mut spines = self.spines.iter();
        let spine = spines.find(|spine| spine.operator == operator && spine.position == position);
        spine.map(|spine| spine.batches.as_slice())
    }
}

/// A circuit's state, all of it in files.
#[derive(Debug)]
pub struct SavedCircuit {
    pub workers: Vec<SavedWorker>,
    /// Every file that the workers name. Not yet durable.
    pub files: Vec<Arc<StoredFile>>,
    /// Bytes of files that were written for this checkpoint.
    pub bytes_written: u64,
}

/// How saving goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saving {
    /// So many bytes, as they are in memory, are to be written. The first thing that is said.
    Expected { memory_bytes: u64 },
    /// A batch is written.
    Batch { memory_bytes: u64 },
    /// A file is complete.
    File { bytes: u64 },
}

/// What a checkpoint keeps of a worker's spines: files, and batches in memory that are to be written.
type Kept = BTreeMap<(OperatorId, usize), Vec<AnyBatch>>;

/// Writes what is only in memory, and says how that goes. A batch that no spine holds any more leaves
/// the memory as soon as it is written.
///
/// # Errors
/// If a file cannot be written. What was written is used by the next attempt.
pub fn save(
    state: CircuitState,
    state_files: &StateFiles,
    progress: &mut dyn FnMut(Saving),
) -> Result<SavedCircuit, highwater_zset::Error> {
    let mut saved = SavedCircuit {
        workers: Vec::new(),
        files: Vec::new(),
        bytes_written: 0,
    };
    let workers: Vec<Kept> = state.workers.into_iter().map(kept).collect();
    let parts = workers.iter().flat_map(Kept::values).flatten();
    let memory_bytes = parts.map(|part| part.memory_bytes() as u64).sum();
    progress(Saving::Expected { memory_bytes });
    let mut files: BTreeMap<String, Arc<StoredFile>> = BTreeMap::new();
    for (number, mut worker) in workers.into_iter().enumerate() {
        let state_files = StateFiles {
            worker: number,
            ..state_files.clone()
        };
        for file in write(&mut worker, &state_files, progress)? {
            saved.bytes_written += file.size_bytes();
            progress(Saving::File {
                bytes: file.size_bytes(),
            });
        }
        saved.workers.push(describe(number, worker, &mut files)?);
    }
    saved.files = files.into_values().collect();
    Ok(saved)
}

/// The snapshots go: a merge that stands for files need not stay in memory.
fn kept(worker: WorkerState) -> Kept {
    let spines = worker.spines.into_iter();
    let kept = spines.map(|(key, snapshot)| {
        let parts = snapshot.batches().flat_map(|batch| batch.kept_as());
        let parts: Vec<AnyBatch> = parts.collect();
        for part in &parts {
            if let AnyBatch::Memory(run) = part {
                run.promise_file();
            }
        }
        (key, parts)
    });
    kept.collect()
}

/// Writes a worker's batches that are only in memory, or in a file whose sync failed; the new files.
fn write(
    worker: &mut Kept,
    state_files: &StateFiles,
    progress: &mut dyn FnMut(Saving),
) -> Result<Vec<Arc<StoredFile>>, highwater_zset::Error> {
    let StateFiles { files, cache, .. } = state_files;
    let mut written = |run: &Run| {
        progress(Saving::Batch {
            memory_bytes: run.bytes() as u64,
        });
    };
    let mut new_files = Vec::new();
    let mut small = Vec::new();
    for part in worker.values_mut().flatten() {
        let run = match part {
            AnyBatch::Memory(run) => run.clone(),
            AnyBatch::File(batch) => {
                let file = batch.file();
                if file.is_poisoned() {
                    new_files.push(file.rewrite(state_files.worker)?);
                }
                continue;
            }
        };
        if run.bytes() <= PACKED_BYTES_MAX {
            small.push((part, run));
            continue;
        }
        let file = write_run(files, state_files.worker, &run, cache)?;
        new_files.push(file.file());
        replace(part, &run, file);
        written(&run);
    }
    if small.is_empty() {
        return Ok(new_files);
    }
    let mut pack = PackWriter::new(files, state_files.worker)?;
    for (_, run) in &small {
        pack = pack.append(run)?;
        written(run);
    }
    let packed = pack.finish(cache)?;
    new_files.extend(packed.first().map(FileBatch::file));
    for ((part, run), file) in small.into_iter().zip(packed) {
        replace(part, &run, file);
    }
    Ok(new_files)
}

/// The run has a file now: for this checkpoint, and for later ones.
fn replace(part: &mut AnyBatch, run: &Run, file: FileBatch) {
    let file = Arc::new(file);
    run.set_file(Arc::clone(&file));
    *part = AnyBatch::File(file);
}

/// Lists the worker's spines, all of whose batches have files.
fn describe(
    number: usize,
    worker: Kept,
    files: &mut BTreeMap<String, Arc<StoredFile>>,
) -> Result<SavedWorker, highwater_zset::Error> {
    let mut spines = Vec::new();
    for ((operator, position), parts) in worker {
        let mut batches = Vec::new();
        for part in parts {
            let AnyBatch::File(part) = part else {
                let message = "a batch was not written".to_owned();
                return Err(highwater_zset::Error::Invalid(message));
            };
            let location = part.location();
            files.insert(location.file.clone(), part.file());
            batches.push(location);
        }
        spines.push(SavedSpine {
            operator,
            position,
            batches,
        });
    }
    Ok(SavedWorker {
        version: VERSION,
        worker: number,
        spines,
    })
}

/// What a plan finds in a checkpoint.
#[derive(Debug)]
pub struct Restored {
    /// The state of all operators of the plan; that of new ones is empty.
    pub state: CircuitState,
    /// Operators of the plan that keep state and were not there when the checkpoint was taken.
    pub new_operators: BTreeSet<OperatorId>,
}

/// The state of a plan's operators as a checkpoint has it. Reads no rows.
///
/// # Errors
/// If a file cannot be opened, or an operator has only some of its spines.
pub fn restore(
    plan: &Plan,
    hasher: RowHasher,
    epoch: u64,
    workers: &[SavedWorker],
    cache: &Arc<BlockCache>,
    open: &mut dyn FnMut(&str) -> Result<Arc<StoredFile>, StorageError>,
) -> Result<Restored, highwater_zset::Error> {
    let layouts = spine_layouts(plan, hasher);
    let mut state = CircuitState {
        epoch,
        hasher,
        workers: Vec::with_capacity(workers.len()),
    };
    let mut new_operators = BTreeSet::new();
    for saved in workers {
        let saved: BTreeMap<(OperatorId, usize), &[BatchLocation]> = saved
            .spines
            .iter()
            .map(|spine| ((spine.operator, spine.position), spine.batches.as_slice()))
            .collect();
        let mut worker = WorkerState::default();
        for (key, layout) in &layouts {
            let locations = saved.get(key).copied().unwrap_or_else(|| {
                new_operators.insert(key.0);
                &[]
            });
            let batches = open_batches(layout, locations, cache, open)?;
            let snapshot = Snapshot::new(Arc::clone(layout), batches);
            worker.spines.insert(*key, snapshot);
        }
        state.workers.push(worker);
    }
    Ok(Restored {
        state,
        new_operators,
    })
}

fn open_batches(
    layout: &Arc<Layout>,
    locations: &[BatchLocation],
    cache: &Arc<BlockCache>,
    open: &mut dyn FnMut(&str) -> Result<Arc<StoredFile>, StorageError>,
) -> Result<Vec<AnyBatch>, highwater_zset::Error> {
    let mut batches = Vec::with_capacity(locations.len());
    for location in locations {
        let batch = FileBatch::new(
            Arc::clone(layout),
            open(&location.file)?,
            location.clone(),
            Arc::clone(cache),
        );
        batches.push(AnyBatch::File(Arc::new(batch)));
    }
    Ok(batches)
}

#[cfg(test)]
mod tests;
