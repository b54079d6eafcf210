//! What every operator has done so far.

use std::time::{Duration, Instant};

use highwater_zset::Snapshot;

use crate::plan::OperatorId;

/// One operator, all workers together.
#[derive(Clone, Debug, PartialEq)]
pub struct OperatorStatistics {
    pub operator: OperatorId,
    pub label: String,
    /// Rows of all deltas that the operator put out.
    pub rows_out: u64,
    /// Steps in which it ran, on any worker.
    pub steps: u64,
    /// Time spent in it, if it was measured.
    pub busy: Duration,
    /// Rows in its spines, before consolidation across batches.
    pub state_rows: u64,
    pub state_bytes: u64,
    pub state_batches: u64,
}

/// One operator on one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeStatistics {
    pub rows_out: u64,
    pub steps: u64,
    pub busy: Duration,
    pub state_rows: u64,
    pub state_bytes: u64,
    pub state_batches: u64,
}

impl NodeStatistics {
    pub(super) fn record(&mut self, rows: usize, began: Option<Instant>) {
        self.rows_out += rows as u64;
        self.steps += 1;
        if let Some(began) = began {
            self.busy += began.elapsed();
        }
    }

    pub(super) fn add_spine(&mut self, spine: &Snapshot) {
        self.state_rows += spine.rows_upper_bound() as u64;
        self.state_bytes += spine.bytes() as u64;
        self.state_batches += spine.batch_count() as u64;
    }
}

impl OperatorStatistics {
    pub(super) fn new(operator: OperatorId, label: &str) -> Self {
        Self {
            operator,
            label: label.to_owned(),
            rows_out: 0,
            steps: 0,
            busy: Duration::ZERO,
            state_rows: 0,
            state_bytes: 0,
            state_batches: 0,
        }
    }

    pub(super) fn add(&mut self, worker: &NodeStatistics) {
        self.rows_out += worker.rows_out;
        self.steps += worker.steps;
        self.busy += worker.busy;
        self.state_rows += worker.state_rows;
        self.state_bytes += worker.state_bytes;
        self.state_batches += worker.state_batches;
    }
}
