//! Recomputes relations from scratch, row by row: what circuits are compared with.

use std::collections::BTreeMap;

use super::{Bag, Formula, Row};
use crate::plan::SetOperation;

/// How a relation is computed from earlier ones (by position).
#[derive(Clone, Debug)]
pub(crate) enum Definition {
    Table(usize),
    Constant(Vec<Row>),
    Filter {
        input: usize,
        formula: Formula,
    },
    /// Columns, then computed ones.
    Project {
        input: usize,
        columns: Vec<usize>,
        computed: Vec<Formula>,
    },
    Union(Vec<usize>),
    Join {
        left: usize,
        right: usize,
        on: Vec<(usize, usize)>,
        residual: Option<Formula>,
        output: Vec<usize>,
    },
    SemiJoin {
        left: usize,
        right: usize,
        on: Vec<(usize, usize)>,
        anti: bool,
    },
    Set {
        kind: SetOperation,
        inputs: Vec<usize>,
    },
}

/// All relations, given the tables' contents.
pub(crate) fn compute(definitions: &[Definition], tables: &[Bag]) -> Vec<Bag> {
    let mut relations: Vec<Bag> = Vec::new();
    for definition in definitions {
        let relation = one(definition, tables, &relations);
        relations.push(
            relation
                .into_iter()
                .filter(|(_, weight)| *weight != 0)
                .collect(),
        );
    }
    relations
}

fn one(definition: &Definition, tables: &[Bag], relations: &[Bag]) -> Bag {
    let mut output = Bag::new();
    let mut emit = |row: Row, weight: i64| *output.entry(row).or_default() += weight;
    match definition {
        Definition::Table(table) => return tables[*table].clone(),
        Definition::Constant(rows) => rows.iter().for_each(|row| emit(row.clone(), 1)),
        Definition::Filter { input, formula } => {
            for (row, weight) in &relations[*input] {
                if formula.value(row) == Some(1) {
                    emit(row.clone(), *weight);
                }
            }
        }
        Definition::Project {
            input,
            columns,
            computed,
        } => {
            for (row, weight) in &relations[*input] {
                let copied = columns.iter().map(|&column| row[column]);
                let computed = computed.iter().map(|formula| formula.value(row));
                emit(copied.chain(computed).collect(), *weight);
            }
        }
        Definition::Union(inputs) => {
            let rows = inputs.iter().flat_map(|&input| &relations[input]);
            rows.for_each(|(row, weight)| emit(row.clone(), *weight));
        }
        Definition::Join {
            left,
            right,
            on,
            residual,
            output,
        } => {
            for (left, left_weight) in &relations[*left] {
                for (right, right_weight) in &relations[*right] {
                    let pair: Row = left.iter().chain(right).copied().collect();
                    if on.iter().all(|&(l, r)| left[l] == right[r]) && passes(residual, &pair) {
                        let row = output.iter().map(|&column| pair[column]).collect();
                        emit(row, left_weight * right_weight);
                    }
                }
            }
        }
        Definition::SemiJoin {
            left,
            right,
            on,
            anti,
        } => {
            for (left, weight) in &relations[*left] {
                let is_in = relations[*right]
                    .keys()
                    .any(|right| on.iter().all(|&(l, r)| left[l] == right[r]));
                if is_in != *anti {
                    emit(left.clone(), *weight);
                }
            }
        }
        Definition::Set { kind, inputs } => {
            let empty = Bag::new();
            let left = &relations[inputs[0]];
            let right = inputs.get(1).map_or(&empty, |&input| &relations[input]);
            for (row, &a) in left {
                let b = right.get(row).copied().unwrap_or(0);
                emit(row.clone(), set_weight(*kind, a, b));
            }
        }
    }
    output
}

fn passes(condition: &Option<Formula>, row: &Row) -> bool {
    condition
        .as_ref()
        .is_none_or(|formula| formula.value(row) == Some(1))
}

/// How often a row of the left bag, there `a` times, is in the result.
fn set_weight(kind: SetOperation, a: i64, b: i64) -> i64 {
    match kind {
        SetOperation::Distinct => 1,
        SetOperation::Except => i64::from(b == 0),
        SetOperation::ExceptAll => (a - b).max(0),
        SetOperation::Intersect => i64::from(b > 0),
        SetOperation::IntersectAll => a.min(b),
    }
}

/// A table with primary key, one change at a time.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyedTable {
    pub rows: BTreeMap<Row, Row>,
}

impl KeyedTable {
    pub(crate) fn upsert(&mut self, key: &[usize], row: &Row) {
        let key = key.iter().map(|&column| row[column]).collect();
        self.rows.insert(key, row.clone());
    }

    pub(crate) fn delete(&mut self, key: &[usize], row: &Row) {
        let key: Row = key.iter().map(|&column| row[column]).collect();
        self.rows.remove(&key);
    }

    pub(crate) fn update(&mut self, key: &[usize], row: &Row, is_set: &[bool]) {
        let key: Row = key.iter().map(|&column| row[column]).collect();
        if let Some(stored) = self.rows.get_mut(&key) {
            for (column, _) in is_set.iter().enumerate().filter(|(_, is_set)| **is_set) {
                stored[column] = row[column];
            }
        }
    }

    pub(crate) fn bag(&self) -> Bag {
        self.rows.values().map(|row| (row.clone(), 1)).collect()
    }
}
