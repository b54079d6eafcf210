//! Makes the state of a plan's new operators out of the stored state of those that were there before.
//!
//! A changed program has operators that its checkpoint knows (equal ids compute the same, so their
//! state is kept as it is) and others. What the others need is computed by a second circuit that runs
//! once: the new operators with everything above them, up to where the rows of a relation are stored,
//! which is at arrangements and keyed tables that are kept. Those are replaced by sources, and their
//! contents are fed as changes. Then the state of the new operators is taken over, and the rest of the
//! second circuit is forgotten. So bootstrapping needs nothing that ordinary steps do not have, and it is
//! right because they are.
//!
//! Contents are fed in several steps, so that they need not fit into memory. A step in between may fail
//! where the whole would not: a sum overflows that a later row brings back, a subquery has two rows
//! until one of them is excluded. Then all is done again in one step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use highwater_zset::{Delta, Layout, RowHasher, Snapshot};

use crate::dataflow::{CircuitState, Dataflow, DataflowConfig};
use crate::error::{Error, Result};
use crate::plan::{
    Node, NodeIndex, OperatorId, OperatorSpec, Plan, TableDefinition, ViewDefinition,
};
use crate::table_input::TableInput;

/// Rows that are fed in one step.
const STEP_ROWS: usize = 1_000_000;

/// What is known of the program that a checkpoint was taken of.
#[derive(Clone, Debug, Default)]
pub struct Before {
    /// Operators of the new plan that keep state and were not there.
    pub new_operators: BTreeSet<OperatorId>,
    /// The operators of all tables that were there.
    pub tables: BTreeSet<OperatorId>,
}

/// A circuit that computes what is new.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    plan: Arc<Plan>,
    /// Per table of `plan`, the stored relation that is fed to it.
    sources: Vec<Option<OperatorId>>,
    /// Operators whose state is taken over.
    targets: BTreeSet<OperatorId>,
    /// Per view of `plan`, its position in the whole plan.
    views: Vec<usize>,
}

/// Contents of views, by position in the plan.
pub type ViewContents = BTreeMap<usize, Vec<Delta>>;

/// A table whose rows are needed and were not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rows of table {} are needed and were not kept: declare it 'materialized' = 'true' or give it a primary key, and load it anew",
    .tables.join(", ")
)]
pub struct NotStored {
    pub tables: Vec<String>,
}

impl Bootstrap {
    /// What must run before `plan` can go on, and to know the contents of `views`. `None` if nothing
    /// is new.
    ///
    /// # Errors
    /// If rows are needed that no operator keeps.
    pub fn new(
        plan: &Plan,
        hasher: RowHasher,
        before: &Before,
        views: &[usize],
    ) -> std::result::Result<Option<Self>, NotStored> {
        if before.new_operators.is_empty() && views.is_empty() {
            return Ok(None);
        }
        let mut cut = Cut::new(plan, before);
        for (index, node) in plan.nodes.iter().enumerate() {
            if before.new_operators.contains(&node.id) {
                cut.need(index);
            }
        }
        for view in views {
            cut.need(plan.views[*view].node.0);
        }
        let roles = cut.finish()?;
        Ok(Some(into_bootstrap(plan, before, &roles, views, hasher)))
    }

    /// The operators whose stored rows are read to compute a view, or to know its contents.
    ///
    /// # Errors
    /// If rows are needed that no operator keeps.
    pub fn sources_of_view(
        plan: &Plan,
        before: &Before,
        view: &ViewDefinition,
    ) -> std::result::Result<BTreeSet<OperatorId>, NotStored> {
        let mut cut = Cut::new(plan, before);
        cut.need(view.node.0);
        if let Some(contents) = view.contents {
            cut.need(contents.0);
        }
        let roles = cut.finish()?;
        let sources = roles.into_iter().flatten().filter_map(|role| match role {
            Role::Source(stored) => stored,
            Role::Computed => None,
        });
        Ok(sources.collect())
    }

    /// Computes the state of the new operators and puts it into `state`, which has as many workers as
    /// `config`. Returns the contents of the views that were asked for.
    ///
    /// # Errors
    /// If a row cannot be computed, or a file cannot be read.
    pub fn run(&self, state: &mut CircuitState, config: &DataflowConfig) -> Result<ViewContents> {
        self.run_in_steps(state, config, STEP_ROWS)
    }

    pub(crate) fn run_in_steps(
        &self,
        state: &mut CircuitState,
        config: &DataflowConfig,
        step_rows: usize,
    ) -> Result<ViewContents> {
        let attempt = match self.attempt_in_steps(state, config, step_rows) {
            Err(Error::Evaluation { .. }) => self.attempt_in_steps(state, config, usize::MAX),
            attempt => attempt,
        };
        let (computed, views) = attempt?;
        for (worker, mut computed) in state.workers.iter_mut().zip(computed.workers) {
            let keys = worker.spines.keys().copied();
            let keys: Vec<_> = keys.filter(|(id, _)| self.targets.contains(id)).collect();
            for key in keys {
                let spine = computed.spines.remove(&key).ok_or_else(|| {
                    Error::Invalid(format!("operator {} was not bootstrapped", key.0))
                })?;
                worker.spines.insert(key, spine);
            }
        }
        Ok(views)
    }

    pub(crate) fn attempt_in_steps(
        &self,
        state: &CircuitState,
        config: &DataflowConfig,
        step_rows: usize,
    ) -> Result<(CircuitState, ViewContents)> {
        let mut dataflow = Dataflow::start(Arc::clone(&self.plan), config.clone())?;
        let mut views = ViewContents::new();
        let mut step = Vec::new();
        let mut rows = 0;
        for (table, source) in self.sources.iter().enumerate() {
            let snapshots = source.iter().flat_map(|source| contents(state, *source));
            for piece in snapshots.flat_map(Snapshot::pieces) {
                let piece = piece.map_err(|error| Error::Invalid(error.to_string()))?;
                for start in (0..piece.len()).step_by(step_rows) {
                    let length = step_rows.min(piece.len() - start);
                    rows += length;
                    step.push((table, table_input(piece.clone(), start, length)));
                    if rows >= step_rows {
                        rows = 0;
                        self.step(&mut dataflow, std::mem::take(&mut step), &mut views)?;
                    }
                }
            }
        }
        // Also without rows: constants and global aggregates come with the first step.
        self.step(&mut dataflow, step, &mut views)?;
        Ok((dataflow.state()?, views))
    }

    fn step(
        &self,
        dataflow: &mut Dataflow,
        inputs: Vec<(usize, TableInput)>,
        views: &mut ViewContents,
    ) -> Result<()> {
        for (view, deltas) in dataflow.step(inputs)?.changes {
            views.entry(self.views[view]).or_default().extend(deltas);
        }
        Ok(())
    }
}

fn contents(state: &CircuitState, source: OperatorId) -> impl Iterator<Item = &Snapshot> {
    let workers = state.workers.iter();
    workers.filter_map(move |worker| worker.spines.get(&(source, 0)))
}

fn table_input(delta: Delta, start: usize, length: usize) -> TableInput {
    let (rows, weights) = delta.into_parts();
    TableInput {
        rows: rows.slice(start, length),
        weights: weights.slice(start, length),
        partial: None,
    }
}

/// What the second circuit does with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Computes it, from its inputs.
    Computed,
    /// Is fed what this operator has stored (nothing, if it is a new table).
    Source(Option<OperatorId>),
}

/// Cuts the part that must run out of a plan.
struct Cut<'a> {
    plan: &'a Plan,
    before: &'a Before,
    /// `None` for nodes that are not needed.
    roles: Vec<Option<Role>>,
    /// Tables whose rows are not there.
    missing: BTreeSet<String>,
}

impl<'a> Cut<'a> {
    fn new(plan: &'a Plan, before: &'a Before) -> Self {
        Self {
            plan,
            before,
            roles: vec![None; plan.nodes.len()],
            missing: BTreeSet::new(),
        }
    }

    /// What every node does, if all rows are there.
    fn finish(self) -> std::result::Result<Vec<Option<Role>>, NotStored> {
        if self.missing.is_empty() {
            return Ok(self.roles);
        }
        Err(NotStored {
            tables: self.missing.into_iter().collect(),
        })
    }

    fn need(&mut self, index: usize) {
        let mut open = vec![index];
        while let Some(index) = open.pop() {
            if self.roles[index].is_some() {
                continue;
            }
            let role = self.role(&self.plan.nodes[index]);
            self.roles[index] = Some(role);
            if role == Role::Computed {
                open.extend(self.plan.nodes[index].inputs.iter().map(|input| input.0));
            }
        }
    }

    fn role(&mut self, node: &Node) -> Role {
        let is_kept = |id: &OperatorId| !self.before.new_operators.contains(id);
        match &node.operator {
            OperatorSpec::Table { table } => {
                let table = &self.plan.tables[*table];
                if !self.before.tables.contains(&node.id) {
                    return Role::Source(None);
                }
                let stored = table
                    .contents
                    .map(|contents| self.plan.nodes[contents.0].id);
                let stored = stored.filter(is_kept);
                if stored.is_none() {
                    self.missing.insert(table.name.clone());
                }
                Role::Source(stored)
            }
            OperatorSpec::Arrange { .. } if is_kept(&node.id) => Role::Source(Some(node.id)),
            _ => Role::Computed,
        }
    }
}

fn into_bootstrap(
    whole: &Plan,
    before: &Before,
    roles: &[Option<Role>],
    views: &[usize],
    hasher: RowHasher,
) -> Bootstrap {
    let mut plan = Plan {
        nodes: Vec::new(),
        tables: Vec::new(),
        views: Vec::new(),
    };
    let mut sources = Vec::new();
    let mut targets = BTreeSet::new();
    let mut new_index = vec![NodeIndex(0); whole.nodes.len()];
    for (index, node) in whole.nodes.iter().enumerate() {
        new_index[index] = match roles[index] {
            None => continue,
            Some(Role::Source(stored)) => {
                sources.push(stored);
                add_source(&mut plan, node, &whole.tables, hasher)
            }
            Some(Role::Computed) => {
                if before.new_operators.contains(&node.id) {
                    targets.insert(node.id);
                }
                let inputs = node.inputs.iter().map(|input| new_index[input.0]);
                let inputs = inputs.collect();
                push(
                    &mut plan,
                    Node {
                        inputs,
                        ..node.clone()
                    },
                )
            }
        };
    }
    for view in views {
        let definition = &whole.views[*view];
        plan.views.push(ViewDefinition {
            node: new_index[definition.node.0],
            contents: None,
            ..definition.clone()
        });
    }
    Bootstrap {
        plan: Arc::new(plan),
        sources,
        targets,
        views: views.to_vec(),
    }
}

fn push(plan: &mut Plan, node: Node) -> NodeIndex {
    plan.nodes.push(node);
    NodeIndex(plan.nodes.len() - 1)
}

/// A table without key in the place of a node, arranged as the node is.
fn add_source(
    plan: &mut Plan,
    node: &Node,
    tables: &[TableDefinition],
    hasher: RowHasher,
) -> NodeIndex {
    let number = plan.tables.len();
    let of = |operator, inputs| Node {
        // Not one of the plan's own: nothing is taken over from a source.
        id: OperatorId(number as u128),
        operator,
        inputs,
        schema: node.schema.clone(),
        label: node.label.clone(),
    };
    let source = push(plan, of(OperatorSpec::Table { table: number }, Vec::new()));
    plan.tables.push(TableDefinition {
        name: node.label.clone(),
        schema: node.schema.clone(),
        primary_key: Vec::new(),
        node: source,
        contents: None,
    });
    let layout = match &node.operator {
        OperatorSpec::Arrange { layout } => Arc::clone(layout),
        OperatorSpec::Table { table } if !tables[*table].primary_key.is_empty() => {
            let key = tables[*table].primary_key.clone();
            Arc::new(Layout::hashed(node.schema.clone(), key, hasher))
        }
        _ => return source,
    };
    let key = layout.key.clone();
    let exchanged = push(plan, of(OperatorSpec::Exchange { key }, vec![source]));
    push(plan, of(OperatorSpec::Arrange { layout }, vec![exchanged]))
}
