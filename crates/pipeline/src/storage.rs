//! A storage root that a pipeline keeps its checkpoints in, opened before the program is compiled:
//! the seed that orders rows is part of what was saved, and the plan depends on it.
//!
//! Finding the checkpoint to start from is a ladder: the newest one whose files are all there and
//! whose parts can be read. What cannot be read is marked unusable with the reason, and the one before
//! is tried; when none is left, the start fails rather than beginning with nothing.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use highwater_circuit::checkpoint::SavedWorker;
use highwater_storage::store::PassedOver;
use highwater_storage::{Disk, Error as StorageError, Kind, SavedCheckpoint, Store, paths};
use highwater_types::difference::PipelineDiff;
use highwater_types::record::{PipelineRecord, RECORD_VERSION};
use highwater_zset::RowHasher;
use serde::Deserialize;

use crate::definition::Definition;
use crate::difference::{bootstrapped_views, difference};

/// A root, and the checkpoint to start from, if there is one.
#[derive(Debug)]
pub struct OpenedStorage {
    pub(crate) store: Store,
    pub(crate) saved: Option<SavedPipeline>,
    passed_over: Vec<PassedOver>,
}

/// A checkpoint whose small files have been read.
#[derive(Debug)]
pub struct SavedPipeline {
    pub(crate) checkpoint: SavedCheckpoint,
    pub(crate) record: PipelineRecord,
    pub(crate) workers: Vec<SavedWorker>,
}

impl OpenedStorage {
    /// Opens a root, or makes one, and finds the checkpoint to start from.
    ///
    /// # Errors
    /// If another process uses it, it is none of ours, or no checkpoint in it can be used although
    /// there are some.
    pub fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, StorageError> {
        let store = Store::open(disk, root)?;
        let mut passed_over = Vec::new();
        loop {
            let ladder = store.newest_usable()?;
            passed_over.extend(ladder.passed_over);
            let Some(checkpoint) = ladder.checkpoint else {
                return Ok(Self {
                    store,
                    saved: None,
                    passed_over,
                });
            };
            let uuid = checkpoint.uuid();
            match SavedPipeline::read(checkpoint) {
                Ok(saved) => {
                    return Ok(Self {
                        store,
                        saved: Some(saved),
                        passed_over,
                    });
                }
                Err(error) if error.kind() == Kind::Corrupt => {
                    store.quarantine(uuid, &error.to_string())?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The seed that all state in the root was ordered with.
    pub fn hash_seed(&self) -> Option<u64> {
        self.saved.as_ref().map(|saved| saved.record.hash_seed)
    }

    /// How a definition differs from what the checkpoint was taken of; `None` if it does not, or there
    /// is no checkpoint.
    pub fn difference(&self, definition: &Definition, hash_seed: u64) -> Option<PipelineDiff> {
        let saved = self.saved.as_ref()?;
        let old = &saved.record.program;
        let mut diff = difference(old, &definition.recorded_program());
        let hasher = RowHasher::new(hash_seed);
        diff.bootstrapped_views = bootstrapped_views(definition, hasher, old, &saved.workers);
        (!diff.is_empty()).then_some(diff)
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The checkpoint that a pipeline would start from.
    pub fn saved(&self) -> Option<&SavedPipeline> {
        self.saved.as_ref()
    }

    /// Newer checkpoints that are damaged, and why.
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }
}

impl SavedPipeline {
    /// Reads the small files of a checkpoint.
    ///
    /// # Errors
    /// If one of them is not what this program writes.
    pub fn read(checkpoint: SavedCheckpoint) -> Result<Self, StorageError> {
        let path = Path::new(paths::PIPELINE_STATE);
        let record = decode_record(path, &checkpoint.state(paths::PIPELINE_STATE)?)?;
        let mut workers = Vec::with_capacity(record.workers);
        for worker in 0..record.workers {
            let name = paths::worker_state(worker);
            let state = checkpoint.state(&name)?;
            workers.push(SavedWorker::decode(Path::new(&name), &state)?);
        }
        Ok(Self {
            checkpoint,
            record,
            workers,
        })
    }

    pub fn checkpoint(&self) -> &SavedCheckpoint {
        &self.checkpoint
    }

    pub fn record(&self) -> &PipelineRecord {
        &self.record
    }

    /// One per worker that the state was kept by.
    pub fn workers(&self) -> &[SavedWorker] {
        &self.workers
    }
}

impl fmt::Display for SavedPipeline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PipelineRecord {
            steps, taken_at, ..
        } = &self.record;
        let uuid = self.checkpoint.uuid();
        let taken_at = taken_at.format("%Y-%m-%d %H:%M:%S UTC");
        write!(
            formatter,
            "checkpoint {uuid} of step {steps}, taken {taken_at}"
        )
    }
}

fn decode_record(path: &Path, bytes: &[u8]) -> Result<PipelineRecord, StorageError> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }
    let corrupt = |error: serde_json::Error| {
        StorageError::corrupt(path, format!("is no record of a pipeline: {error}"))
    };
    let version = serde_json::from_slice::<Versioned>(bytes)
        .map_err(corrupt)?
        .version;
    if version != RECORD_VERSION {
        let message = format!("has version {version}, this program reads {RECORD_VERSION}");
        let error = StorageError::new(Kind::Unsupported, path, message);
        return Err(error.with_remedy("use the version of highwater that wrote it"));
    }
    serde_json::from_slice(bytes).map_err(corrupt)
}
