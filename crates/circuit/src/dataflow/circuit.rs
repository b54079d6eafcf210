//! One worker's share of the circuit: its operators and the epochs in flight.
//!
//! This part knows nothing of timely: it is told to run a fragment for an epoch, and says which
//! rows must go to which worker. What the nodes of an epoch did stays in its slot until the last
//! fragment has run, so that later fragments can read the flows of earlier ones.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use highwater_zset::{
    Delta, Layout, MergeService, RowHasher, Snapshot, StateFiles, balance_memory,
};

use super::exchange::{Outbox, Piece, split};
use super::fragments::Fragments;
use super::state::WorkerState;
use super::statistics::NodeStatistics;
use super::{DataflowConfig, RelationRef};
use crate::error::Error;
use crate::operators::table::Table;
use crate::operators::{self, BuildContext, Flow, Operator, OperatorError, StepContext};
use crate::plan::{OperatorId, OperatorSpec, Plan};
use crate::table_input::TableInput;

/// What runs a node.
pub(super) enum Runner {
    Source { table: usize, operator: Table },
    Exchange { key: Vec<usize> },
    Operator(Box<dyn Operator>),
}

/// What one worker's part of a step did.
#[derive(Debug, Default)]
pub(super) struct WorkerStep {
    pub changes: Vec<(usize, Vec<Delta>)>,
    pub contents: Vec<(RelationRef, Snapshot)>,
}

pub(super) struct WorkerCircuit {
    plan: Arc<Plan>,
    worker: usize,
    workers: usize,
    hasher: RowHasher,
    fragments: Arc<Fragments>,
    runners: Vec<Runner>,
    /// Consecutive epochs, the oldest in front.
    epochs: VecDeque<Epoch>,
    first_epoch: u64,
    /// The node that runs: whom to blame for a panic.
    current: usize,
    statistics: Vec<NodeStatistics>,
    measures_time: bool,
    merges: MergeService,
}

/// An epoch in flight.
struct Epoch {
    /// Per table.
    inputs: Vec<Vec<TableInput>>,
    /// Per node; unchanged until the node has run.
    flows: Vec<Flow>,
    received: Vec<Piece>,
    /// A fragment has run it.
    has_begun: bool,
}

impl WorkerCircuit {
    /// `epoch` is the first that will run: 0 for a circuit without past.
    pub(super) fn new(
        plan: &Arc<Plan>,
        fragments: &Arc<Fragments>,
        config: &DataflowConfig,
        worker: usize,
        epoch: u64,
    ) -> Self {
        let mut merges = MergeService::threads(&format!("merge-{worker}"));
        if let Some(state_files) = &config.state_files {
            merges = merges.with_state_files(StateFiles {
                worker,
                ..state_files.clone()
            });
        }
        let runners = (0..plan.nodes.len()).map(|node| runner(plan, node, config.hasher, &merges));
        let runners = runners.collect();
        Self {
            plan: plan.clone(),
            worker,
            workers: config.workers,
            hasher: config.hasher,
            fragments: fragments.clone(),
            runners,
            epochs: VecDeque::new(),
            first_epoch: epoch,
            current: 0,
            statistics: vec![NodeStatistics::default(); plan.nodes.len()],
            measures_time: false,
            merges,
        }
    }

    /// Adds a step's inputs; the fragments may run it from now on.
    pub(super) fn submit(&mut self, epoch: u64, inputs: Vec<(usize, TableInput)>) {
        let slot = self.epoch_mut(epoch);
        for (table, input) in inputs {
            slot.inputs[table].push(input);
        }
    }

    /// Rows from other workers, for the next fragments of an epoch that may not have been submitted here yet.
    pub(super) fn receive(&mut self, epoch: u64, pieces: Vec<Piece>) {
        self.epoch_mut(epoch).received.extend(pieces);
    }

    fn epoch_mut(&mut self, epoch: u64) -> &mut Epoch {
        let position = usize::try_from(epoch - self.first_epoch).expect("few epochs are in flight");
        while self.epochs.len() <= position {
            self.epochs.push_back(Epoch {
                inputs: vec![Vec::new(); self.plan.tables.len()],
                flows: vec![Flow::UNCHANGED; self.plan.nodes.len()],
                received: Vec::new(),
                has_begun: false,
            });
        }
        &mut self.epochs[position]
    }

    /// Runs all nodes of a level and returns what other workers must get.
    pub(super) fn run(&mut self, level: usize, epoch: u64) -> Result<Outbox, Error> {
        self.epoch_mut(epoch).has_begun = true;
        let fragments = self.fragments.clone();
        for &node in &fragments.levels[level] {
            self.current = node;
            self.run_node(node, epoch)
                .map_err(|error| self.describe(error))?;
        }
        let mut outbox = Outbox::new(self.workers);
        for &exchange in &fragments.sends[level] {
            self.current = exchange;
            self.send(exchange, epoch, &mut outbox)
                .map_err(|error| self.describe(error))?;
        }
        Ok(outbox)
    }

    fn run_node(&mut self, node: usize, epoch: u64) -> Result<(), OperatorError> {
        let context = StepContext {
            is_first: epoch == 0,
            worker: self.worker,
            workers: self.workers,
            hasher: self.hasher,
        };
        let slot = &mut self.epochs[usize::try_from(epoch - self.first_epoch).unwrap_or(0)];
        let began = self.measures_time.then(Instant::now);
        let inputs = &self.plan.nodes[node].inputs;
        let flow = match &mut self.runners[node] {
            Runner::Source { table, operator } => {
                let inputs = std::mem::take(&mut slot.inputs[*table]);
                operator.step(&inputs)?
            }
            Runner::Exchange { .. } if self.workers == 1 => {
                Flow::Delta(slot.flows[inputs[0].0].deltas())
            }
            Runner::Exchange { .. } => Flow::Delta(arrived(node, &mut slot.received)),
            Runner::Operator(operator) => {
                let flows = &slot.flows;
                let is_quiet = !context.is_first
                    && !inputs.is_empty()
                    && inputs.iter().all(|input| flows[input.0].is_unchanged());
                if is_quiet {
                    slot.flows[node] = operator.at_rest();
                    return Ok(());
                }
                match inputs[..] {
                    [input] => operator.step(&[&flows[input.0]], &context)?,
                    [left, right] => operator.step(&[&flows[left.0], &flows[right.0]], &context)?,
                    _ => {
                        let inputs: Vec<&Flow> = inputs.iter().map(|i| &flows[i.0]).collect();
                        operator.step(&inputs, &context)?
                    }
                }
            }
        };
        self.statistics[node].record(flow.rows(), began);
        slot.flows[node] = flow;
        Ok(())
    }

    /// Splits an exchange's input; what this worker owns it keeps.
    fn send(
        &mut self,
        exchange: usize,
        epoch: u64,
        outbox: &mut Outbox,
    ) -> Result<(), OperatorError> {
        let Runner::Exchange { key } = &self.runners[exchange] else {
            return Ok(());
        };
        let slot = &mut self.epochs[usize::try_from(epoch - self.first_epoch).unwrap_or(0)];
        let input = self.plan.nodes[exchange].inputs[0].0;
        for delta in slot.flows[input].deltas() {
            let parts = split(&delta, key, self.hasher, self.workers)?;
            for (peer, part) in parts.into_iter().enumerate() {
                let Some(delta) = part else { continue };
                let piece = Piece {
                    source: self.worker,
                    exchange,
                    delta,
                };
                if peer == self.worker {
                    slot.received.push(piece);
                } else {
                    outbox.post(peer, piece);
                }
            }
        }
        Ok(())
    }

    /// Takes the outputs of the oldest epoch, which all fragments have run.
    ///
    /// # Errors
    /// If there was too little memory, and state could not be written to files; or a file that is wanted
    /// in memory cannot be read.
    pub(super) fn finish(&mut self, epoch: u64) -> Result<WorkerStep, Error> {
        let mut step = self.take_outputs(epoch);
        if self.merges.is_out_of_balance() {
            self.balance_memory(&mut step)?;
        }
        Ok(step)
    }

    /// Has spines write to files, or read from there. Contents that did so are published again, or those
    /// who read them would keep in memory what was written; unless later epochs are in them already.
    fn balance_memory(&mut self, step: &mut WorkerStep) -> Result<(), Error> {
        let mut nodes = Vec::new();
        let mut spines = Vec::new();
        for (node, runner) in self.runners.iter_mut().enumerate() {
            for spine in runner.spines_mut() {
                nodes.push(node);
                spines.push(spine);
            }
        }
        let moved = balance_memory(&mut spines).map_err(|error| {
            let message = format!("state cannot be moved between memory and files: {error}");
            Error::Invalid(message)
        })?;
        if self.epochs.iter().any(|epoch| epoch.has_begun) {
            return Ok(());
        }
        for (relation, node) in materialized(&self.plan) {
            let Some(position) = moved.iter().find(|position| nodes[**position] == node) else {
                continue;
            };
            step.contents.retain(|(other, _)| *other != relation);
            step.contents.push((relation, spines[*position].snapshot()));
        }
        Ok(())
    }

    fn take_outputs(&mut self, epoch: u64) -> WorkerStep {
        debug_assert_eq!(epoch, self.first_epoch, "epochs finish in order");
        let mut step = WorkerStep::default();
        let Some(slot) = self.epochs.pop_front() else {
            return step;
        };
        self.first_epoch += 1;
        let plan = &self.plan;
        for (index, view) in plan.views.iter().enumerate() {
            let changes = slot.flows[view.node.0].deltas();
            if !changes.is_empty() {
                step.changes.push((index, changes));
            }
        }
        for (relation, node) in materialized(plan) {
            let arranged = slot.flows[node].arranged();
            if !arranged.delta.is_empty() {
                step.contents.push((relation, arranged.after.clone()));
            }
        }
        step
    }

    fn describe(&self, error: OperatorError) -> Error {
        let node = &self.plan.nodes[self.current];
        Error::Evaluation {
            operator: node.id,
            operator_label: node.label.clone(),
            expression: error.expression,
            row: error.row,
            message: error.message,
        }
    }

    /// What a panic's message says of where it happened.
    pub(super) fn describe_panic(&self, message: &str) -> Error {
        let node = &self.plan.nodes[self.current];
        let message = format!("{message} in {} ({})", node.label, node.id);
        Error::WorkerPanic {
            worker: self.worker,
            message,
        }
    }

    /// All spines, by operator and position.
    pub(super) fn state(&self) -> WorkerState {
        let mut state = WorkerState::default();
        for (node, runner) in self.plan.nodes.iter().zip(&self.runners) {
            for (position, spine) in runner.spines().into_iter().enumerate() {
                state.spines.insert((node.id, position), spine.snapshot());
            }
        }
        state
    }

    /// Replaces all spines.
    ///
    /// # Errors
    /// If the state has not exactly the spines that the plan's operators have.
    pub(super) fn restore(&mut self, mut state: WorkerState) -> Result<(), Error> {
        for (node, runner) in self.plan.nodes.iter().zip(&mut self.runners) {
            for (position, spine) in runner.spines_mut().into_iter().enumerate() {
                let Some(saved) = state.spines.remove(&(node.id, position)) else {
                    let message = format!("no state for {} ({})", node.label, node.id);
                    return Err(Error::Invalid(message));
                };
                super::state::restore_spine(spine, &saved, &self.merges)?;
            }
        }
        match state.spines.keys().next() {
            None => Ok(()),
            Some((id, _)) => Err(Error::Invalid(format!("no operator {id} for its state"))),
        }
    }

    pub(super) fn set_measures_time(&mut self, measures_time: bool) {
        self.measures_time = measures_time;
    }

    /// Per node.
    pub(super) fn statistics(&self) -> Vec<NodeStatistics> {
        let mut statistics = self.statistics.clone();
        for (node, runner) in statistics.iter_mut().zip(&self.runners) {
            for spine in runner.spines() {
                node.add_spine(&spine.snapshot());
            }
        }
        statistics
    }
}

impl Runner {
    fn spines(&self) -> Vec<&highwater_zset::Spine> {
        match self {
            Self::Source { operator, .. } => operator.spines(),
            Self::Exchange { .. } => Vec::new(),
            Self::Operator(operator) => operator.spines(),
        }
    }

    fn spines_mut(&mut self) -> Vec<&mut highwater_zset::Spine> {
        match self {
            Self::Source { operator, .. } => operator.spines_mut(),
            Self::Exchange { .. } => Vec::new(),
            Self::Operator(operator) => operator.spines_mut(),
        }
    }
}

fn runner(plan: &Plan, node: usize, hasher: RowHasher, merges: &MergeService) -> Runner {
    let node = &plan.nodes[node];
    match &node.operator {
        OperatorSpec::Table { table } => {
            let operator = Table::new(&plan.tables[*table], hasher, merges);
            return Runner::Source {
                table: *table,
                operator,
            };
        }
        OperatorSpec::Exchange { key } => return Runner::Exchange { key: key.clone() },
        _ => {}
    }
    let inputs = node
        .inputs
        .iter()
        .map(|input| &plan.nodes[input.0])
        .collect();
    let context = BuildContext {
        node,
        inputs,
        hasher,
        merges: merges.clone(),
    };
    Runner::Operator(operators::build(&context))
}

/// How each spine of a plan's operators keeps its rows, by operator and position.
pub fn spine_layouts(plan: &Plan, hasher: RowHasher) -> BTreeMap<(OperatorId, usize), Arc<Layout>> {
    let merges = MergeService::inline(0);
    let mut layouts = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let runner = runner(plan, index, hasher, &merges);
        for (position, spine) in runner.spines().into_iter().enumerate() {
            layouts.insert((node.id, position), Arc::clone(spine.layout()));
        }
    }
    layouts
}

/// The nodes that hold the contents of tables and views.
pub(super) fn materialized(plan: &Plan) -> impl Iterator<Item = (RelationRef, usize)> {
    let tables = plan.tables.iter().enumerate();
    let tables = tables.map(|(index, table)| (RelationRef::Table(index), table.contents));
    let views = plan.views.iter().enumerate();
    let views = views.map(|(index, view)| (RelationRef::View(index), view.contents));
    tables
        .chain(views)
        .filter_map(|(relation, node)| Some((relation, node?.0)))
}

/// What reached an exchange, in the order of the workers it came from.
fn arrived(exchange: usize, received: &mut Vec<Piece>) -> Vec<Delta> {
    let mut pieces: Vec<Piece> = received
        .extract_if(.., |piece| piece.exchange == exchange)
        .collect();
    pieces.sort_by_key(|piece| piece.source);
    pieces.into_iter().map(|piece| piece.delta).collect()
}
