//! Runs a plan on timely workers, one epoch per step.

use std::sync::Arc;

use highwater_zset::{Delta, RowHasher, Snapshot};

use crate::error::Result;
use crate::plan::Plan;
use crate::table_input::TableInput;

/// How a dataflow runs.
#[derive(Clone, Debug)]
pub struct DataflowConfig {
    pub workers: usize,
    /// Its seed is drawn once per pipeline.
    pub hasher: RowHasher,
}

/// A table or a view, by its position in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RelationRef {
    Table(usize),
    View(usize),
}

/// What one step did.
#[derive(Clone, Debug)]
pub struct StepOutput {
    pub epoch: u64,
    /// Changes of each view that changed, one delta or more (from several workers).
    pub changes: Vec<(usize, Vec<Delta>)>,
    /// New contents of each materialized relation that changed: one snapshot per worker.
    pub contents: Vec<(RelationRef, Vec<Snapshot>)>,
}

/// A running circuit.
pub struct Dataflow {}

impl Dataflow {
    /// Starts the workers. Constants are emitted by the first step.
    ///
    /// # Errors
    /// If the plan is not well formed.
    pub fn start(_plan: Arc<Plan>, _config: DataflowConfig) -> Result<Self> {
        Err(crate::error::Error::Stopped)
    }

    /// Queues a step with these inputs `(table, changes)` and returns its epoch; several steps may be in flight.
    ///
    /// # Errors
    /// If an input does not fit its table, or the circuit has stopped.
    pub fn submit(&mut self, _inputs: Vec<(usize, TableInput)>) -> Result<u64> {
        Err(crate::error::Error::Stopped)
    }

    /// Waits for the oldest step in flight. Outputs come in epoch order.
    ///
    /// # Errors
    /// If the step failed; the circuit is stopped then.
    pub fn receive(&mut self) -> Result<StepOutput> {
        Err(crate::error::Error::Stopped)
    }

    /// One step from start to end.
    ///
    /// # Errors
    /// As [`Self::submit`] and [`Self::receive`].
    pub fn step(&mut self, inputs: Vec<(usize, TableInput)>) -> Result<StepOutput> {
        self.submit(inputs)?;
        self.receive()
    }
}
