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
    /// A step takes up queued input until it has this many rows.
    pub step_rows_max: usize,
    /// A step waits for this many queued records, but not longer than `buffering_delay_max`.
    pub batch_records_min: u64,
    pub buffering_delay_max: Duration,
    /// Steps in the dataflow at once, when there is a backlog of full steps.
    pub steps_in_flight_max: usize,
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
    /// Bytes of state that stay in memory; more goes to files. `None`: no bound.
    pub state_memory_bytes_max: Option<usize>,
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
            batch_records_min: 0,
            buffering_delay_max: Duration::ZERO,
            steps_in_flight_max: 2,
            http_queued_records_max: 1_000_000,
            http_queued_bytes_max: 256 << 20,
            transaction_bytes_max: 4 << 30,
            output_queued_records_max: 1_000_000,
            follower_queued_records_max: 1_000_000,
            checkpoint_interval: Some(Duration::from_secs(60)),
            retained_checkpoints: 2,
            state_memory_bytes_max: None,
            bootstrap: BootstrapPolicy::Allow,
        }
    }
}

impl Settings {
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
