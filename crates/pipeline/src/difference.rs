//! How a program differs from the one that a checkpoint was taken of, and what starting with it
//! computes anew.

use std::collections::{BTreeMap, BTreeSet};

use highwater_circuit::bootstrap::{Before, Bootstrap};
use highwater_circuit::checkpoint::SavedWorker;
use highwater_circuit::dataflow::spine_layouts;
use highwater_circuit::plan::OperatorId;
use highwater_types::difference::{BootstrappedView, PipelineDiff, ProgramDiff};
use highwater_types::record::{RecordedProgram, RecordedRelation};
use highwater_zset::RowHasher;

use crate::definition::Definition;

type Relations = BTreeMap<String, RecordedRelation>;

/// What has changed between two programs. Which views are computed anew is added by
/// [`bootstrapped_views`].
pub fn difference(old: &RecordedProgram, new: &RecordedProgram) -> PipelineDiff {
    let tables = Changes::of(&old.tables, &new.tables, is_same_relation);
    let views = Changes::of(&old.views, &new.views, is_same_relation);
    let (old_inputs, new_inputs) = (connectors(&old.tables), connectors(&new.tables));
    let (old_outputs, new_outputs) = (connectors(&old.views), connectors(&new.views));
    let inputs = Changes::of(&old_inputs, &new_inputs, |old, new| old == new);
    let outputs = Changes::of(&old_outputs, &new_outputs, |old, new| old == new);
    PipelineDiff {
        program_diff: Some(ProgramDiff {
            added_tables: tables.added,
            removed_tables: tables.removed,
            modified_tables: tables.modified,
            added_views: views.added,
            removed_views: views.removed,
            modified_views: views.modified,
        }),
        program_diff_error: None,
        added_input_connectors: inputs.added,
        modified_input_connectors: inputs.modified,
        removed_input_connectors: inputs.removed,
        added_output_connectors: outputs.added,
        modified_output_connectors: outputs.modified,
        removed_output_connectors: outputs.removed,
        bootstrapped_views: Vec::new(),
    }
}

/// Names of what was added, removed and modified, sorted.
struct Changes {
    added: Vec<String>,
    removed: Vec<String>,
    modified: Vec<String>,
}

impl Changes {
    fn of<T>(
        old: &BTreeMap<String, T>,
        new: &BTreeMap<String, T>,
        is_same: impl Fn(&T, &T) -> bool,
    ) -> Self {
        let missing = |from: &BTreeMap<String, T>, of: &BTreeMap<String, T>| {
            let names = of.keys().filter(|name| !from.contains_key(*name));
            names.cloned().collect()
        };
        let both = old
            .iter()
            .filter_map(|(name, old)| Some((name, old, new.get(name)?)));
        let modified = both.filter(|(_, old, new)| !is_same(old, new));
        Self {
            added: missing(old, new),
            removed: missing(new, old),
            modified: modified.map(|(name, ..)| name.clone()).collect(),
        }
    }
}

/// It computes the same, and its rows are kept if they were.
fn is_same_relation(old: &RecordedRelation, new: &RecordedRelation) -> bool {
    old.operator == new.operator && old.contents == new.contents
}

/// Digests by endpoint name.
fn connectors(relations: &Relations) -> BTreeMap<String, String> {
    let relations = relations.values();
    let connectors = relations.flat_map(|relation| relation.connectors.clone());
    connectors.collect()
}

/// What a definition finds in a saved program.
pub fn before(
    definition: &Definition,
    hasher: RowHasher,
    program: &RecordedProgram,
    workers: &[SavedWorker],
) -> Before {
    let saved: BTreeSet<OperatorId> = workers.iter().flat_map(SavedWorker::operators).collect();
    let operators = spine_layouts(&definition.plan, hasher);
    let new_operators = operators.into_keys().map(|(id, _)| id);
    let tables = program.tables.values();
    Before {
        new_operators: new_operators.filter(|id| !saved.contains(id)).collect(),
        tables: tables
            .filter_map(|table| table.operator.parse().ok())
            .collect(),
    }
}

/// The views that are not as they were, with the stored rows that each is computed from.
pub fn bootstrapped_views(
    definition: &Definition,
    hasher: RowHasher,
    program: &RecordedProgram,
    workers: &[SavedWorker],
) -> Vec<BootstrappedView> {
    let before = before(definition, hasher, program, workers);
    let mut rows: BTreeMap<OperatorId, u64> = BTreeMap::new();
    for (operator, count) in workers.iter().flat_map(SavedWorker::rows_by_operator) {
        *rows.entry(operator).or_default() += count;
    }
    let mut bootstrapped = Vec::new();
    for view in changed_views(definition, program) {
        let planned = &definition.plan.views[view];
        let name = definition.views[view].relation.name.clone();
        let sources = Bootstrap::sources_of_view(&definition.plan, &before, planned);
        let (rows, tables_not_stored) = match sources {
            Ok(sources) => {
                let rows = sources.iter().map(|source| rows.get(source).unwrap_or(&0));
                (Some(rows.sum()), Vec::new())
            }
            Err(error) => (None, error.tables),
        };
        bootstrapped.push(BootstrappedView {
            view: name,
            rows,
            tables_not_stored,
        });
    }
    bootstrapped
}

/// Views, by position, that are new or compute something else, or whose rows are kept only now.
pub(crate) fn changed_views(definition: &Definition, program: &RecordedProgram) -> Vec<usize> {
    let new = definition.recorded_program();
    let views = definition.views.iter().enumerate();
    let is_changed = |name: &str| match (program.views.get(name), new.views.get(name)) {
        (Some(old), Some(new)) => !is_same_relation(old, new),
        _ => true,
    };
    let changed = views.filter(|(_, setup)| is_changed(&setup.relation.name));
    changed.map(|(view, _)| view).collect()
}
