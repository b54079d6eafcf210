//! The engine under test: a compiled program on a running dataflow, followed step by step.

use std::collections::HashMap;

use highwater_circuit::dataflow::{Dataflow, DataflowConfig, RelationRef, StepOutput};
use highwater_circuit::table_input::TableInput;
use highwater_sql::{CompileOptions, Program, compile};
use highwater_zset::{Delta, RowHasher, Snapshot};

use crate::rows::{Bag, Row, compare, row_text, rows_of};

/// A program that runs, and what a follower of each view has seen.
pub(crate) struct Subject {
    pub(crate) program: Program,
    hasher: RowHasher,
    dataflow: Dataflow,
    followed: Vec<Bag>,
    contents: HashMap<RelationRef, Vec<Snapshot>>,
}

impl Subject {
    /// Compiles and starts.
    ///
    /// # Errors
    /// The rendered diagnostics, or why the dataflow does not start.
    pub(crate) fn start(sql: &str, workers: usize, hasher: RowHasher) -> Result<Self, String> {
        let program = compile(sql, &CompileOptions { hasher }).map_err(|diagnostics| {
            diagnostics
                .iter()
                .map(|diagnostic| diagnostic.render())
                .collect::<Vec<_>>()
                .join("\n")
        })?;
        let config = DataflowConfig::in_memory(workers, hasher);
        let dataflow =
            Dataflow::start(program.plan.clone(), config).map_err(|error| error.to_string())?;
        let followed = vec![Bag::default(); program.views.len()];
        Ok(Self {
            program,
            hasher,
            dataflow,
            followed,
            contents: HashMap::new(),
        })
    }

    /// Position of a table by name.
    pub(crate) fn table(&self, name: &str) -> usize {
        let found = self
            .program
            .tables
            .iter()
            .position(|table| table.relation.name == name);
        found.unwrap_or_else(|| panic!("no table {name}"))
    }

    /// Runs one step.
    ///
    /// # Errors
    /// The step's error.
    pub(crate) fn step(&mut self, inputs: Vec<(usize, TableInput)>) -> Result<(), String> {
        let output = self
            .dataflow
            .step(inputs)
            .map_err(|error| error.to_string())?;
        self.follow(output);
        Ok(())
    }

    /// Goes on from the saved state on new workers, of any number.
    ///
    /// # Errors
    /// If the state cannot be taken or restored.
    pub(crate) fn restart(&mut self, workers: usize) -> Result<(), String> {
        let config = DataflowConfig::in_memory(workers, self.hasher);
        let state = self.dataflow.state().map_err(|error| error.to_string())?;
        self.dataflow = Dataflow::restore(self.program.plan.clone(), config, state)
            .map_err(|error| error.to_string())?;
        self.contents = self.dataflow.contents().clone().into_iter().collect();
        Ok(())
    }

    fn follow(&mut self, output: StepOutput) {
        for (view, deltas) in output.changes {
            let name = self.program.plan.views[view].name.clone();
            let position = self
                .program
                .views
                .iter()
                .position(|candidate| candidate.relation.name == name);
            let bag = &mut self.followed[position.expect("a view of the program")];
            for delta in deltas {
                for (row, weight) in weighted_rows(&delta) {
                    bag.add(row, weight);
                }
            }
        }
        self.contents.extend(output.contents);
    }

    /// What the deltas of a view add up to; if the view is materialized, its contents must be the same.
    ///
    /// # Errors
    /// If a row's count is negative, or contents and deltas disagree.
    pub(crate) fn view_rows(&self, name: &str) -> Result<Vec<Row>, String> {
        let position = self
            .program
            .views
            .iter()
            .position(|view| view.relation.name == name);
        let rows = self.followed[position.ok_or_else(|| format!("no view {name}"))?].rows()?;
        let in_plan = self
            .program
            .plan
            .views
            .iter()
            .position(|view| view.name == name);
        let in_plan = in_plan.ok_or_else(|| format!("view {name} is not in the plan"))?;
        if self.program.plan.views[in_plan].contents.is_some() {
            let contents = self.contents_of(RelationRef::View(in_plan))?;
            compare(&rows, &contents)
                .map_err(|difference| format!("contents differ from deltas: {difference}"))?;
        }
        Ok(rows)
    }

    /// The contents of a materialized table.
    ///
    /// # Errors
    /// If a row's count is negative.
    pub(crate) fn table_rows(&self, name: &str) -> Result<Vec<Row>, String> {
        self.contents_of(RelationRef::Table(self.table(name)))
    }

    fn contents_of(&self, relation: RelationRef) -> Result<Vec<Row>, String> {
        let mut bag = Bag::default();
        for snapshot in self.contents.get(&relation).into_iter().flatten() {
            for delta in snapshot.scan().map_err(|error| error.to_string())? {
                for (row, weight) in weighted_rows(&delta) {
                    if weight <= 0 {
                        return Err(format!("stored row {} has weight {weight}", row_text(&row)));
                    }
                    bag.add(row, weight);
                }
            }
        }
        bag.rows()
    }
}

fn weighted_rows(delta: &Delta) -> Vec<(Row, i64)> {
    rows_of(delta.rows())
        .into_iter()
        .zip(delta.weights().iter().copied())
        .collect()
}
