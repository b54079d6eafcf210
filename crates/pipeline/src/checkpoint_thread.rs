//! Writes checkpoints beside the steps: the thread that owns the storage root.
//!
//! It is told three things: write what a snapshot has only in memory; publish what was written, with
//! the pipeline's record; forget it. What it answers are events. Until the publication the new
//! checkpoint is invisible; if the thread ends before, its folder is removed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{Receiver, Sender};

use highwater_circuit::checkpoint::{SavedCircuit, Saving, save};
use highwater_circuit::dataflow::CircuitState;
use highwater_storage::paths;
use highwater_storage::{CheckpointDetails, NewCheckpoint, Store};
use highwater_types::checkpoint::{CheckpointMetadata, PSpineBatches};
use highwater_types::record::PipelineRecord;
use highwater_zset::StateFiles;

use crate::controller::Written;
use crate::engine::panic_message;
use crate::event::Event;

/// What the thread is told.
pub(crate) enum Command {
    Write(Box<CircuitState>),
    Publish(Box<PipelineRecord>),
    Abandon,
}

/// The thread's own.
pub(crate) struct CheckpointWriter {
    pub(crate) store: Store,
    pub(crate) state_files: StateFiles,
    pub(crate) retained_checkpoints: usize,
    /// Names what the circuit computes.
    pub(crate) fingerprint: u64,
    pub(crate) progress: Arc<CheckpointProgress>,
}

/// How far the checkpoint is that is being written. Counters only: whoever looks reads them as they are.
#[derive(Debug, Default)]
pub(crate) struct CheckpointProgress {
    is_writing: AtomicBool,
    expected_bytes: AtomicU64,
    done_bytes: AtomicU64,
}

impl CheckpointProgress {
    fn note(&self, saving: Saving) {
        match saving {
            Saving::Expected { memory_bytes } => {
                self.expected_bytes.store(memory_bytes, Relaxed);
                self.done_bytes.store(0, Relaxed);
                self.is_writing.store(true, Relaxed);
            }
            Saving::Batch { memory_bytes } => {
                self.done_bytes.fetch_add(memory_bytes, Relaxed);
            }
            Saving::File { .. } => {}
        }
    }

    fn end(&self) {
        self.is_writing.store(false, Relaxed);
    }

    /// Bytes of state that are written, and that are to be, while a checkpoint is being written.
    pub(crate) fn bytes(&self) -> Option<(u64, u64)> {
        let is_writing = self.is_writing.load(Relaxed);
        let expected = self.expected_bytes.load(Relaxed);
        is_writing.then(|| (self.done_bytes.load(Relaxed).min(expected), expected))
    }
}

/// A checkpoint that lacks only the pipeline's record.
struct Pending {
    checkpoint: NewCheckpoint,
    saved: SavedCircuit,
}

/// Runs until nobody can tell it anything any more.
pub(crate) fn run(writer: &CheckpointWriter, commands: &Receiver<Command>, events: &Sender<Event>) {
    // Compressing a checkpoint must not take time from steps.
    highwater_zset::yield_to_steps();
    let mut pending: Option<Pending> = None;
    while let Ok(command) = commands.recv() {
        let event = match command {
            Command::Write(state) => {
                // One that was not published is forgotten before room for another is asked for.
                drop(pending.take());
                let written = guarded(|| writer.write(*state));
                Event::CheckpointWritten(written.map(|new| {
                    let (written, new) = new;
                    pending = Some(new);
                    written
                }))
            }
            Command::Publish(record) => {
                let published = match pending.take() {
                    Some(pending) => guarded(|| writer.publish(pending, &record)),
                    None => Err("there is no checkpoint to publish".to_owned()),
                };
                Event::CheckpointPublished(published)
            }
            Command::Abandon => {
                pending = None;
                continue;
            }
        };
        // Nobody listens if the pipeline has ended; what was published stays.
        let _ = events.send(event);
    }
}

/// A panic fails the checkpoint and nothing else.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(format!(
            "the checkpoint panicked: {}",
            panic_message(panic.as_ref())
        ))
    })
}

impl CheckpointWriter {
    fn write(&self, state: CircuitState) -> Result<(Written, Pending), String> {
        let checkpoint = self.store.begin().map_err(|error| error.to_string())?;
        let mut written = Written::default();
        let mut listen = |saving| {
            self.progress.note(saving);
            if let Saving::File { bytes } = saving {
                written.bytes += bytes;
                written.files += 1;
            }
        };
        let saved = save(state, &self.state_files, &mut listen);
        self.progress.end();
        let saved = saved.map_err(|error| error.to_string())?;
        Ok((written, Pending { checkpoint, saved }))
    }

    fn publish(
        &self,
        pending: Pending,
        record: &PipelineRecord,
    ) -> Result<CheckpointMetadata, String> {
        let Pending {
            mut checkpoint,
            saved,
        } = pending;
        let describe = |error: highwater_storage::Error| error.to_string();
        for (number, worker) in saved.workers.iter().enumerate() {
            let state = worker.encode().map_err(|error| error.to_string())?;
            let name = paths::worker_state(number);
            checkpoint.write_state(&name, &state).map_err(describe)?;
            let batches = PSpineBatches {
                files: worker.files().into_iter().map(str::to_owned).collect(),
            };
            let batches = serde_json::to_vec(&batches).map_err(|error| error.to_string())?;
            let name = paths::worker_batches(number);
            checkpoint.write_state(&name, &batches).map_err(describe)?;
        }
        let state = serde_json::to_vec(record).map_err(|error| error.to_string())?;
        let name = paths::PIPELINE_STATE;
        checkpoint.write_state(name, &state).map_err(describe)?;
        saved
            .files
            .into_iter()
            .for_each(|file| checkpoint.refer(file));
        let details = CheckpointDetails {
            identifier: None,
            fingerprint: self.fingerprint,
            steps: Some(record.steps),
            processed_records: Some(record.counters.processed_records),
            retain: self.retained_checkpoints,
        };
        let entry = checkpoint.publish(details).map_err(describe)?;
        tracing::info!(
            checkpoint = %entry.uuid(),
            step = record.steps,
            bytes = saved.bytes_written,
            "checkpoint published"
        );
        if let Some(Err(error)) = self.store.last_collection() {
            tracing::warn!(%error, "old checkpoints are not removed");
        }
        Ok(entry.metadata)
    }
}
