//! How a pipeline runs: limits and sizes, with their defaults.

use std::sync::Arc;
use std::time::Duration;

use crate::gate::Gate;

/// Settings of a pipeline.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The pipeline's name, for its checkpoints.
    pub name: String,
    pub workers: usize,
    /// Draws the order of rows in state; once per pipeline.
    pub hash_seed: u64,
    /// A step takes up queued input until it has this many rows …
    pub step_rows_max: usize,
    /// … or this many bytes (as read).
    pub step_bytes_max: u64,
    /// A step waits for this many queued records, but not longer than `buffering_delay_max`.
    pub batch_records_min: u64,
    pub buffering_delay_max: Duration,
    /// Steps in the dataflow at once, when there is a backlog of full steps.
    pub steps_in_flight_max: usize,
    /// Bytes that all input connectors have queued, but for those with a bound of their own.
    pub connector_queued_bytes_max: u64,
    /// Bounds of what an HTTP input has queued.
    pub http_queued_records_max: u64,
    pub http_queued_bytes_max: u64,
    /// Bytes of input (as read) that a transaction gathers; beyond them input waits for the commit.
    pub transaction_bytes_max: u64,
    /// Changes that an output has not delivered yet; beyond them steps wait.
    pub output_queued_records_max: u64,
    /// Changes that a follower without back-pressure has not read yet; beyond them it is cut off.
    pub follower_queued_records_max: u64,
    /// From the end of a checkpoint to the next one; `None` for checkpoints on request only.
    pub checkpoint_interval: Option<Duration>,
    /// How many of the newest checkpoints are kept, besides pinned and named ones.
    pub retained_checkpoints: usize,
    /// Bytes of state that stay in memory; more goes to files.
    pub state_bytes_max: usize,
    /// Bytes of blocks of files that are kept in memory.
    pub cache_bytes_max: usize,
    /// What to do if the program is not the one of the checkpoint.
    pub bootstrap: BootstrapPolicy,
}

/// Whether a changed program may go on from a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BootstrapPolicy {
    /// What is new is computed from stored rows.
    #[default]
    Allow,
    /// The start fails.
    Reject,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: "main".to_owned(),
            workers: 1,
            hash_seed: 0,
            step_rows_max: 100_000,
            step_bytes_max: u64::MAX,
            batch_records_min: 0,
            buffering_delay_max: Duration::ZERO,
            steps_in_flight_max: 2,
            connector_queued_bytes_max: u64::MAX,
            http_queued_records_max: 1_000_000,
            http_queued_bytes_max: 256 << 20,
            transaction_bytes_max: 4 << 30,
            output_queued_records_max: 1_000_000,
            follower_queued_records_max: 1_000_000,
            checkpoint_interval: Some(Duration::from_secs(60)),
            retained_checkpoints: 2,
            state_bytes_max: usize::MAX,
            // What a restart reads first, and more.
            cache_bytes_max: 256 << 20,
            bootstrap: BootstrapPolicy::Allow,
        }
    }
}

/// Least bound that [`Settings::within_memory`] can keep: half of it is taken anyway.
pub const MEMORY_BYTES_MIN: usize = 256 << 20;
/// What is taken however little data may take: 64 MiB by the program, its compiler and its threads; the
/// rest by merges, which have some blocks of each input, and by what the allocator keeps.
const PROCESS_BYTES: usize = 144 << 20;
/// Bytes that a changed record takes in an output's queue, if it is a long one.
const OUTPUT_RECORD_BYTES: usize = 1 << 10;

impl Settings {
    /// Divides the memory that the process may take, at least [`MEMORY_BYTES_MIN`]. Of what data may take
    /// - 1/4 is for batches of state, and as much again for those that a checkpoint still writes when
    ///   the state has others already;
    /// - 1/8 for blocks of files, 1/8 for the queues of inputs, 1/16 for those of outputs;
    /// - the rest for steps: two are in flight, and each holds what came in and what every operator
    ///   made of it, some ten times 1/64 in most programs. A join that makes a thousand rows of one takes
    ///   more: no bound on input is one on output.
    #[must_use]
    pub fn within_memory(self, bytes_max: usize) -> Self {
        let bytes = bytes_max.max(MEMORY_BYTES_MIN) - PROCESS_BYTES;
        let share = |part: usize| (bytes / part) as u64;
        Self {
            state_bytes_max: bytes / 4,
            cache_bytes_max: bytes / 8,
            step_bytes_max: share(64),
            connector_queued_bytes_max: share(8),
            http_queued_bytes_max: self.http_queued_bytes_max.min(share(32)),
            transaction_bytes_max: self.transaction_bytes_max.min(share(8)),
            output_queued_records_max: self
                .output_queued_records_max
                .min(share(16 * OUTPUT_RECORD_BYTES)),
            ..self
        }
    }

    /// A gate for an HTTP input.
    pub(crate) fn http_gate(&self) -> Arc<Gate> {
        let (records_max, bytes_max) = (self.http_queued_records_max, self.http_queued_bytes_max);
        Arc::new(Gate::new(records_max, bytes_max, true))
    }
}

/// A seed for [`Settings::hash_seed`], so that input cannot be crafted against the order of rows.
pub fn draw_hash_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}
