//! A circuit that goes on with another plan: what is new in it is computed from what is stored, and then
//! it goes on as if it had always had that plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::restart::{
    SECTIONS, STEPS, Said, all_contents, config, every_kind, hasher, program, run, summed,
};
use super::{insert, row, schema};
use crate::bootstrap::{Before, Bootstrap};
use crate::builder::PlanBuilder;
use crate::dataflow::{CircuitState, Dataflow, WorkerState, spine_layouts};
use crate::plan::{OperatorId, Plan};

/// The state of a plan's operators as far as another plan had them, and what is new.
fn carried_over(state: &CircuitState, old: &Plan, new: &Plan) -> (CircuitState, Before) {
    let mut before = Before {
        new_operators: BTreeSet::new(),
        tables: old
            .tables
            .iter()
            .map(|table| old.nodes[table.node.0].id)
            .collect(),
    };
    let workers = state.workers.iter().map(|worker| {
        let mut carried = WorkerState::default();
        for (key, layout) in spine_layouts(new, hasher()) {
            let snapshot = worker.spines.get(&key).cloned().unwrap_or_else(|| {
                before.new_operators.insert(key.0);
                highwater_zset::Snapshot::empty(layout)
            });
            carried.spines.insert(key, snapshot);
        }
        carried
    });
    let state = CircuitState {
        workers: workers.collect(),
        ..state.clone()
    };
    (state, before)
}

/// Views of `new` that `old` does not have, by position.
fn new_views(old: &Plan, new: &Plan) -> Vec<usize> {
    let known: BTreeSet<OperatorId> = old
        .views
        .iter()
        .map(|view| old.nodes[view.node.0].id)
        .collect();
    let views = new.views.iter().enumerate();
    let is_new = |view: usize| !known.contains(&new.nodes[new.views[view].node.0].id);
    views
        .map(|(view, _)| view)
        .filter(|view| is_new(*view))
        .collect()
}

/// The contents of every view after some steps, summed up from its changes.
fn contents_of_views(said: &[Said], view: usize) -> BTreeMap<String, i64> {
    let mut rows: BTreeMap<String, i64> = BTreeMap::new();
    for (changes, _) in said {
        for (row, weight) in changes.get(&view).into_iter().flatten() {
            *rows.entry(row.clone()).or_default() += weight;
        }
    }
    rows.retain(|_, weight| *weight != 0);
    rows
}

fn check(old: u32, new: u32, cut: usize, workers: usize) {
    let (old_plan, new_plan) = (Arc::new(program(old)), Arc::new(program(new)));
    let context = format!("{old:b} to {new:b} before step {cut}, {workers} workers");
    let mut whole = Dataflow::start(new_plan.clone(), config(workers)).unwrap();
    let expected: Vec<Said> = (0..STEPS).map(|number| run(&mut whole, number)).collect();
    let mut first = Dataflow::start(old_plan.clone(), config(workers)).unwrap();
    (0..cut).for_each(|number| drop(run(&mut first, number)));
    let (mut state, before) = carried_over(&first.state().unwrap(), &old_plan, &new_plan);
    let views = new_views(&old_plan, &new_plan);
    if let Some(bootstrap) = Bootstrap::new(&new_plan, hasher(), &before, &views).unwrap() {
        let contents = bootstrap.run(&mut state, &config(workers)).unwrap();
        for view in &views {
            let computed = contents
                .get(view)
                .map(|deltas| summed(deltas))
                .unwrap_or_default();
            let expected = contents_of_views(&expected[..cut], *view);
            assert_eq!(computed, expected, "view {view}, {context}");
        }
    }
    let mut second = Dataflow::restore(new_plan.clone(), config(workers), state).unwrap();
    let mut reference = Dataflow::start(new_plan, config(workers)).unwrap();
    (0..cut).for_each(|number| drop(run(&mut reference, number)));
    assert_eq!(all_contents(&second), all_contents(&reference), "{context}");
    for (number, expected) in expected.iter().enumerate().skip(cut) {
        assert_eq!(
            &run(&mut second, number),
            expected,
            "step {number}, {context}"
        );
    }
}

/// Scenario 57 of the incumbent's tests, with every kind of operator.
#[test]
fn new_views_are_computed_from_what_is_stored() {
    let all = (1 << SECTIONS) - 1;
    for section in 0..SECTIONS {
        check(all & !(1 << section), all, 3, 1);
        check(0, 1 << section, 4, 2);
        check(1 << section, 1 << ((section + 3) % SECTIONS), 5, 1);
    }
    for workers in [1, 2, 3] {
        check(0, all, 4, workers);
        check(all, 0, 4, workers);
        check(0b01_0101_0101, 0b10_1010_1010, 5, workers);
        check(all, all, 2, workers);
    }
}

#[test]
fn nothing_new_needs_nothing() {
    let plan = every_kind();
    let tables = plan.tables.iter().map(|table| plan.nodes[table.node.0].id);
    let before = Before {
        new_operators: BTreeSet::new(),
        tables: tables.collect(),
    };
    assert!(
        Bootstrap::new(&plan, hasher(), &before, &[])
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_table_whose_rows_were_not_kept_is_named() {
    let plan = |with_view: bool| {
        let mut builder = PlanBuilder::new(hasher());
        let table = builder.table("gone", &schema(2), Vec::new(), false, "");
        if with_view {
            let distinct = builder.set_operation(crate::plan::SetOperation::Distinct, &[table]);
            builder.view("v", distinct, true);
        }
        builder.finish()
    };
    let (old, new) = (Arc::new(plan(false)), plan(true));
    let mut dataflow = Dataflow::start(old.clone(), config(1)).unwrap();
    dataflow
        .step(vec![(0, insert(2, &[row(&[1, 2])]))])
        .unwrap();
    let (_, before) = carried_over(&dataflow.state().unwrap(), &old, &new);
    let error = Bootstrap::new(&new, hasher(), &before, &[0]).unwrap_err();
    assert_eq!(error.tables, ["gone"]);
    assert!(error.to_string().contains("table gone"), "{error}");
    // A table that is new has no rows that could be missing.
    let fresh = Before {
        tables: BTreeSet::new(),
        ..before
    };
    assert!(
        Bootstrap::new(&new, hasher(), &fresh, &[0])
            .unwrap()
            .is_some()
    );
}

/// Rows that come in several steps may fail where the whole does not.
#[test]
fn what_fails_in_parts_is_done_as_a_whole() {
    let plan = |with_view: bool| {
        let mut builder = PlanBuilder::new(hasher());
        let table = builder.table("t", &schema(1), vec![0], true, "");
        let other = builder.table("u", &schema(1), vec![0], true, "");
        if with_view {
            let left = builder.set_operation(crate::plan::SetOperation::Except, &[table, other]);
            let single = builder.single_row(left, Vec::new());
            builder.view("v", single, true);
        }
        builder.finish()
    };
    let (old, new) = (Arc::new(plan(false)), Arc::new(plan(true)));
    let mut dataflow = Dataflow::start(old.clone(), config(1)).unwrap();
    let rows: Vec<_> = (0..5).map(|value| row(&[value])).collect();
    let step = vec![(0, insert(1, &rows)), (1, insert(1, &rows[1..]))];
    dataflow.step(step).unwrap();
    let (mut state, before) = carried_over(&dataflow.state().unwrap(), &old, &new);
    let bootstrap = Bootstrap::new(&new, hasher(), &before, &[0])
        .unwrap()
        .unwrap();
    let sources = Bootstrap::sources_of_view(&new, &before, &new.views[0]).unwrap();
    assert_eq!(sources.len(), 2, "both tables");
    assert!(bootstrap.attempt_in_steps(&state, &config(1), 1).is_err());
    let contents = bootstrap.run_in_steps(&mut state, &config(1), 1).unwrap();
    assert_eq!(summed(&contents[&0]).len(), 1);
    Dataflow::restore(new, config(1), state).unwrap();
}
