//! Runs a plan on timely workers, one epoch per step.
//!
//! The calling thread and the workers talk through one channel to each worker and one back. A step
//! is a command to every worker; each reports what its part of the step did, and the step is done
//! when all have. Steps may overlap: [`Dataflow::submit`] several, then [`Dataflow::receive`].
//!
//! Inside: `fragments` cuts the plan at its exchanges, `circuit` is a worker's operators and epochs
//! in flight, `worker` the thread around them, `exchange` and `input` deal out rows, `state` is what
//! is saved and restored.
//!
//! Invariants
//! - I1: every worker gets every epoch's command, in order, whether it has input or not.
//! - I2: outputs come in epoch order, and a step that fails anywhere shows nothing.
//! - I3: after an error no step runs; the workers are told to stop at once.

mod circuit;
mod exchange;
mod fragments;
mod input;
mod state;
mod statistics;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use highwater_zset::{Delta, Layout, RowHasher, Snapshot, StateFiles};
use timely::CommunicationConfig;
use timely::communication::{Allocator, WorkerGuards, initialize_from};

pub use circuit::spine_layouts;
pub use state::{CircuitState, WorkerState};
pub use statistics::OperatorStatistics;

use crate::error::{Error, Result};
use crate::plan::{OperatorSpec, Plan};
use crate::table_input::TableInput;
use circuit::{WorkerStep, materialized};
use fragments::Fragments;
use worker::{Command, Report, WorkerSeed};

/// How long [`Dataflow::receive`] looks for reports before it blocks, where there is a core to spare:
/// longer than a small step takes, because to be woken costs as much as such a step.
const SPIN: Duration = Duration::from_micros(200);

/// How a dataflow runs.
#[derive(Clone, Debug)]
pub struct DataflowConfig {
    pub workers: usize,
    /// Its seed is drawn once per pipeline.
    pub hasher: RowHasher,
    /// Where state may go besides memory; the worker's number is filled in.
    pub state_files: Option<StateFiles>,
}

impl DataflowConfig {
    /// All state in memory, none of it in files.
    pub fn in_memory(workers: usize, hasher: RowHasher) -> Self {
        Self {
            workers,
            hasher,
            state_files: None,
        }
    }
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
pub struct Dataflow {
    plan: Arc<Plan>,
    config: DataflowConfig,
    /// One per worker.
    commands: Vec<Sender<Command>>,
    threads: WorkerGuards<()>,
    reports: Receiver<Report>,
    spins: bool,
    /// The epoch that the next submitted step gets.
    next_submitted: u64,
    /// The epoch that is received next.
    next_received: u64,
    /// Parts of steps that are not complete or not asked for yet.
    parts: BTreeMap<u64, Vec<Option<WorkerStep>>>,
    /// By epoch, until it is asked for.
    failures: BTreeMap<u64, Error>,
    contents: BTreeMap<RelationRef, Vec<Snapshot>>,
    stopped: bool,
    /// Deals out inputs of tables without key.
    turn: usize,
}

impl Dataflow {
    /// Starts the workers. Constants are emitted by the first step.
    ///
    /// # Errors
    /// If the plan is not well formed.
    pub fn start(plan: Arc<Plan>, config: DataflowConfig) -> Result<Self> {
        Self::launch(plan, config, None)
    }

    /// Starts the workers with the state of an earlier run of the same plan, also of one with
    /// another number of workers.
    ///
    /// # Errors
    /// If the plan is not well formed, or the state is not one of this plan and hasher.
    pub fn restore(plan: Arc<Plan>, config: DataflowConfig, state: CircuitState) -> Result<Self> {
        if state.hasher != config.hasher {
            return Err(Error::Invalid(
                "the state was hashed with another seed".to_owned(),
            ));
        }
        let state = state.redistributed(config.workers)?;
        Self::launch(plan, config, Some(state))
    }

    fn launch(
        plan: Arc<Plan>,
        config: DataflowConfig,
        state: Option<CircuitState>,
    ) -> Result<Self> {
        check_plan(&plan, &config)?;
        let epoch = state.as_ref().map_or(0, |state| state.epoch);
        let contents = initial_contents(&plan, &config, state.as_ref());
        let fragments = Arc::new(Fragments::new(&plan, config.workers));
        let (report_sender, reports) = channel();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let spins = config.workers < cores;
        let mut states = state.map(|state| state.workers.into_iter());
        let mut commands = Vec::new();
        let mut seeds = Vec::new();
        for worker in 0..config.workers {
            let (sender, receiver) = channel();
            commands.push(sender);
            seeds.push(Some(WorkerSeed {
                plan: plan.clone(),
                fragments: fragments.clone(),
                config: config.clone(),
                worker,
                epoch,
                state: states.as_mut().and_then(Iterator::next),
                commands: receiver,
                reports: report_sender.clone(),
                spins,
            }));
        }
        drop(report_sender);
        let mut dataflow = Self {
            plan,
            config,
            commands,
            threads: spawn(seeds)?,
            reports,
            spins,
            next_submitted: epoch,
            next_received: epoch,
            parts: BTreeMap::new(),
            failures: BTreeMap::new(),
            contents,
            stopped: false,
            turn: 0,
        };
        dataflow.wait_until_ready()?;
        Ok(dataflow)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        for _ in 0..self.commands.len() {
            match self.reports.recv() {
                Ok(Report::Ready) => {}
                Ok(Report::Failed { error, .. }) => return Err(error),
                Ok(Report::Step { .. }) | Err(_) => return Err(Error::Stopped),
            }
        }
        Ok(())
    }

    /// Queues a step with these inputs `(table, changes)` and returns its epoch; several steps may be in flight.
    ///
    /// # Errors
    /// If an input does not fit its table, or the circuit has stopped.
    pub fn submit(&mut self, inputs: Vec<(usize, TableInput)>) -> Result<u64> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        for (table, input) in &inputs {
            let Some(definition) = self.plan.tables.get(*table) else {
                return Err(Error::Invalid(format!("no table {table}")));
            };
            input::check(definition, input)?;
        }
        let workers = self.config.workers;
        let mut shares = vec![Vec::new(); workers];
        for (table, input) in inputs {
            let definition = &self.plan.tables[table];
            let hasher = self.config.hasher;
            for (worker, part) in input::split(definition, input, hasher, workers, &mut self.turn)?
            {
                shares[worker].push((table, part));
            }
        }
        let epoch = self.next_submitted;
        self.next_submitted += 1;
        for (worker, inputs) in shares.into_iter().enumerate() {
            self.send(worker, Command::Step { epoch, inputs });
        }
        Ok(epoch)
    }

    /// Waits for the oldest step in flight. Outputs come in epoch order.
    ///
    /// # Errors
    /// If the step failed; the circuit is stopped then. If no step is in flight.
    pub fn receive(&mut self) -> Result<StepOutput> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        if self.steps_in_flight() == 0 {
            return Err(Error::Invalid("no step is in flight".to_owned()));
        }
        let epoch = self.next_received;
        loop {
            if let Some((_, error)) = self.failures.range(..=epoch).next() {
                let error = error.clone();
                self.stop();
                return Err(error);
            }
            if self
                .parts
                .get(&epoch)
                .is_some_and(|parts| parts.iter().all(Option::is_some))
            {
                self.next_received += 1;
                return Ok(self.assemble(epoch));
            }
            match self.wait() {
                Some(Report::Step {
                    worker,
                    epoch,
                    step,
                }) => {
                    let count = self.commands.len();
                    let parts = self.parts.entry(epoch);
                    let parts = parts.or_insert_with(|| (0..count).map(|_| None).collect());
                    parts[worker] = Some(step);
                }
                Some(Report::Failed { epoch, error }) => {
                    self.failures.entry(epoch).or_insert(error);
                }
                Some(Report::Ready) | None => {
                    self.stop();
                    return Err(Error::Stopped);
                }
            }
        }
    }

    /// One step from start to end.
    ///
    /// # Errors
    /// As [`Self::submit`] and [`Self::receive`].
    pub fn step(&mut self, inputs: Vec<(usize, TableInput)>) -> Result<StepOutput> {
        self.submit(inputs)?;
        self.receive()
    }

    /// Steps submitted and not received yet.
    pub fn steps_in_flight(&self) -> u64 {
        self.next_submitted - self.next_received
    }

    /// What every materialized relation holds after the last received step: one snapshot per worker.
    pub fn contents(&self) -> &BTreeMap<RelationRef, Vec<Snapshot>> {
        &self.contents
    }

    /// Everything the circuit remembers. Takes microseconds: batches are shared, not copied.
    ///
    /// # Errors
    /// If steps are in flight, or the circuit has stopped.
    pub fn state(&self) -> Result<CircuitState> {
        if self.steps_in_flight() > 0 && !self.stopped {
            return Err(Error::Invalid("steps are in flight".to_owned()));
        }
        let workers = self.ask(Command::State)?;
        Ok(CircuitState {
            epoch: self.next_submitted,
            hasher: self.config.hasher,
            workers,
        })
    }

    /// From now on, measures the time that each operator takes; off at the start.
    pub fn measure_time(&self, measures_time: bool) {
        for worker in 0..self.commands.len() {
            self.send(worker, Command::MeasureTime(measures_time));
        }
    }

    /// What every operator has done so far, in the plan's order.
    ///
    /// # Errors
    /// If the circuit has stopped.
    pub fn statistics(&self) -> Result<Vec<OperatorStatistics>> {
        let nodes = self.plan.nodes.iter();
        let mut statistics: Vec<_> = nodes
            .map(|node| OperatorStatistics::new(node.id, &node.label))
            .collect();
        for worker in self.ask(Command::Statistics)? {
            for (operator, part) in statistics.iter_mut().zip(&worker) {
                operator.add(part);
            }
        }
        Ok(statistics)
    }

    /// Asks every worker and waits for all answers.
    fn ask<T>(&self, command: impl Fn(Sender<T>) -> Command) -> Result<Vec<T>> {
        if self.stopped {
            return Err(Error::Stopped);
        }
        let ask = |worker: usize| {
            let (sender, receiver) = channel();
            self.send(worker, command(sender));
            receiver
        };
        let answers: Vec<Receiver<T>> = (0..self.commands.len()).map(ask).collect();
        answers
            .iter()
            .map(|answer| answer.recv().map_err(|_| Error::Stopped))
            .collect()
    }

    /// The next report; `None` if all workers are gone.
    fn wait(&self) -> Option<Report> {
        if self.spins {
            let began = Instant::now();
            while began.elapsed() < SPIN {
                match self.reports.try_recv() {
                    Ok(report) => return Some(report),
                    Err(TryRecvError::Disconnected) => return None,
                    Err(TryRecvError::Empty) => std::hint::spin_loop(),
                }
            }
        }
        self.reports.recv().ok()
    }

    /// Joins the parts of a complete step.
    fn assemble(&mut self, epoch: u64) -> StepOutput {
        let parts = self.parts.remove(&epoch).unwrap_or_default();
        let mut changes: BTreeMap<usize, Vec<Delta>> = BTreeMap::new();
        let mut changed = Vec::new();
        for (worker, part) in parts.into_iter().flatten().enumerate() {
            for (view, deltas) in part.changes {
                changes.entry(view).or_default().extend(deltas);
            }
            for (relation, snapshot) in part.contents {
                if let Some(snapshots) = self.contents.get_mut(&relation) {
                    snapshots[worker] = snapshot;
                }
                changed.push(relation);
            }
        }
        changed.sort_unstable();
        changed.dedup();
        let contents = changed.into_iter();
        let contents = contents.map(|relation| (relation, self.contents[&relation].clone()));
        StepOutput {
            epoch,
            changes: changes.into_iter().collect(),
            contents: contents.collect(),
        }
    }

    /// A worker that is gone has reported why; its silence is noticed when its report is awaited.
    fn send(&self, worker: usize, command: Command) {
        if self.commands[worker].send(command).is_ok() {
            self.threads.guards()[worker].thread().unpark();
        }
    }

    fn stop(&mut self) {
        self.stopped = true;
        for worker in 0..self.commands.len() {
            self.send(worker, Command::Stop);
        }
    }
}

/// Dropping the guards of the threads joins them.
impl Drop for Dataflow {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Starts one thread per seed.
fn spawn(seeds: Vec<Option<WorkerSeed>>) -> Result<WorkerGuards<()>> {
    let config = match seeds.len() {
        1 => CommunicationConfig::Thread,
        many => CommunicationConfig::Process(many),
    };
    let (allocators, others) = config.try_build().map_err(Error::Invalid)?;
    // Timely calls one function on all threads: each takes its seed by its number.
    let seeds = Mutex::new(seeds);
    let body = move |allocator: Allocator| {
        let seed = seeds
            .lock()
            .ok()
            .and_then(|mut seeds| seeds[allocator.index()].take());
        if let Some(seed) = seed {
            worker::run(seed, allocator);
        }
    };
    initialize_from(allocators, others, body).map_err(Error::Invalid)
}

fn initial_contents(
    plan: &Plan,
    config: &DataflowConfig,
    state: Option<&CircuitState>,
) -> BTreeMap<RelationRef, Vec<Snapshot>> {
    let mut contents = BTreeMap::new();
    for (relation, node) in materialized(plan) {
        let layout = spine_layout(plan, node, config.hasher);
        let id = plan.nodes[node].id;
        let snapshot = |worker: usize| {
            let saved = state.and_then(|state| state.workers[worker].spines.get(&(id, 0)));
            saved
                .cloned()
                .unwrap_or_else(|| Snapshot::empty(layout.clone()))
        };
        contents.insert(relation, (0..config.workers).map(snapshot).collect());
    }
    contents
}

/// The rules of a plan that would otherwise break far from their cause.
fn check_plan(plan: &Plan, config: &DataflowConfig) -> Result<()> {
    let invalid = |reason: String| Err(Error::Invalid(reason));
    if config.workers == 0 {
        return invalid("a dataflow needs a worker".to_owned());
    }
    for (index, node) in plan.nodes.iter().enumerate() {
        let label = &node.label;
        if node.inputs.iter().any(|input| input.0 >= index) {
            return invalid(format!("{label} comes before its input (rule P2)"));
        }
        match &node.operator {
            OperatorSpec::Arrange { layout } if layout.hasher != config.hasher => {
                return invalid(format!("{label} was planned with another hasher"));
            }
            OperatorSpec::Table { table } if *table >= plan.tables.len() => {
                return invalid(format!("{label} is of no table"));
            }
            OperatorSpec::Join { .. }
            | OperatorSpec::SemiJoin { .. }
            | OperatorSpec::SetOperation { .. } => {
                let is_arranged = |input: &crate::plan::NodeIndex| is_arranged(plan, input.0);
                if !node.inputs.iter().all(is_arranged) {
                    return invalid(format!("{label} reads an input without order (rule P3)"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The layout of an arranged node.
fn spine_layout(plan: &Plan, node: usize, hasher: RowHasher) -> Arc<Layout> {
    let node = &plan.nodes[node];
    match &node.operator {
        OperatorSpec::Arrange { layout } => layout.clone(),
        OperatorSpec::Table { table } => {
            let key = plan.tables[*table].primary_key.clone();
            Arc::new(Layout::hashed(node.schema.clone(), key, hasher))
        }
        _ => Arc::new(Layout::all_columns(node.schema.clone(), hasher)),
    }
}

fn is_arranged(plan: &Plan, node: usize) -> bool {
    match &plan.nodes[node].operator {
        OperatorSpec::Arrange { .. } => true,
        OperatorSpec::Table { table } => !plan.tables[*table].primary_key.is_empty(),
        _ => false,
    }
}
