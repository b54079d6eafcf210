//! Random plans and random steps: after every step every view equals the reference, with 1, 2 and
//! 3 workers, and what is said of contents equals the sum of what was said of changes.

use arrow::buffer::BooleanBuffer;
use highwater_zset::{Delta, RowHasher};
use proptest::prelude::*;

use super::reference::{Definition, KeyedTable, compute};
use super::{Bag, Follower, Formula, Row, Value, batch, scan, start};
use crate::builder::{JoinOptions, PlanBuilder};
use crate::dataflow::RelationRef;
use crate::expression::Column;
use crate::plan::{NodeIndex, Plan, SetOperation};
use crate::table_input::{PartialUpdates, TableInput};

/// Columns of every table, and the most that any relation has.
const COLUMNS: usize = 3;
/// The first table has this key.
const KEY: [usize; 1] = [0];

/// An instruction to compute one more relation; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
enum Instruction {
    Constant(Vec<Row>),
    Filter {
        input: usize,
        column: usize,
        bound: i64,
    },
    Project {
        input: usize,
        columns: Vec<usize>,
        sum: Option<(usize, usize)>,
    },
    Union(usize, usize),
    Join {
        left: usize,
        right: usize,
        on: Vec<(usize, usize)>,
        residual: bool,
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
        left: usize,
        right: usize,
    },
}

#[derive(Clone, Debug)]
enum Change {
    Upsert(Row),
    Delete(Row),
    Update(Row, Vec<bool>),
    /// Of the table without key: inserts the row, or deletes the stored row of this number.
    Insert(Row, i64),
    Remove(usize),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![1 => Just(None), 6 => (0i64..5).prop_map(Some)]
}

fn a_row() -> impl Strategy<Value = Row> {
    prop::collection::vec(value(), COLUMNS)
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let pairs = |most| prop::collection::vec((0..COLUMNS, 0..COLUMNS), 0..=most);
    let columns = || prop::collection::vec(0..2 * COLUMNS, 1..=COLUMNS);
    let kind = prop_oneof![
        Just(SetOperation::Distinct),
        Just(SetOperation::Except),
        Just(SetOperation::ExceptAll),
        Just(SetOperation::Intersect),
        Just(SetOperation::IntersectAll),
    ];
    prop_oneof![
        1 => prop::collection::vec(a_row(), 0..3).prop_map(Instruction::Constant),
        2 => (0..9usize, 0..COLUMNS, 0..5i64)
            .prop_map(|(input, column, bound)| Instruction::Filter { input, column, bound }),
        2 => (0..9usize, columns(), prop::option::of((0..COLUMNS, 0..COLUMNS)))
            .prop_map(|(input, columns, sum)| Instruction::Project { input, columns, sum }),
        1 => (0..9usize, 0..9usize).prop_map(|(left, right)| Instruction::Union(left, right)),
        3 => (0..9usize, 0..9usize, pairs(2), any::<bool>(), columns()).prop_map(
            |(left, right, on, residual, output)| {
                Instruction::Join { left, right, on, residual, output }
            }
        ),
        2 => (0..9usize, 0..9usize, pairs(2), any::<bool>())
            .prop_map(|(left, right, on, anti)| Instruction::SemiJoin { left, right, on, anti }),
        2 => (kind, 0..9usize, 0..9usize)
            .prop_map(|(kind, left, right)| Instruction::Set { kind, left, right }),
    ]
}

fn change() -> impl Strategy<Value = (usize, Change)> {
    prop_oneof![
        5 => a_row().prop_map(|row| (0, Change::Upsert(row))),
        2 => a_row().prop_map(|row| (0, Change::Delete(row))),
        2 => (a_row(), prop::collection::vec(any::<bool>(), COLUMNS))
            .prop_map(|(row, mut is_set)| {
                is_set[0] = false;
                (0, Change::Update(row, is_set))
            }),
        5 => (a_row(), 1..3i64).prop_map(|(row, weight)| (1, Change::Insert(row, weight))),
        3 => (0..50usize).prop_map(|number| (1, Change::Remove(number))),
    ]
}

/// A plan and what its relations mean. Every relation is a view, every other one materialized.
struct Program {
    plan: Plan,
    definitions: Vec<Definition>,
}

struct Draft {
    builder: PlanBuilder,
    nodes: Vec<NodeIndex>,
    widths: Vec<usize>,
    definitions: Vec<Definition>,
}

impl Draft {
    fn push(&mut self, node: NodeIndex, width: usize, definition: Definition) {
        self.nodes.push(node);
        self.widths.push(width);
        self.definitions.push(definition);
    }

    fn project(&mut self, input: usize, columns: &[usize], computed: &[Formula]) {
        let names = (0..).map(|index| format!("c{index}"));
        let copied = columns
            .iter()
            .map(|&c| Column::expr(c, arrow::datatypes::DataType::Int64));
        let exprs = copied.chain(computed.iter().map(|formula| formula.clone().expr()));
        let node = self
            .builder
            .map(self.nodes[input], None, names.zip(exprs).collect());
        let definition = Definition::Project {
            input,
            columns: columns.to_vec(),
            computed: computed.to_vec(),
        };
        self.push(node, columns.len() + computed.len(), definition);
    }

    /// The relation of the same width as another, made so if need be.
    fn fit(&mut self, input: usize, like: usize) -> usize {
        if self.widths[input] == self.widths[like] {
            return input;
        }
        let width = self.widths[input];
        let columns: Vec<usize> = (0..self.widths[like])
            .map(|column| column % width)
            .collect();
        self.project(input, &columns, &[]);
        self.nodes.len() - 1
    }

    fn pairs(&self, left: usize, right: usize, on: &[(usize, usize)]) -> Vec<(usize, usize)> {
        let pair = |&(l, r): &(usize, usize)| (l % self.widths[left], r % self.widths[right]);
        let mut pairs: Vec<(usize, usize)> = on.iter().map(pair).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs
    }

    fn add(&mut self, instruction: &Instruction) {
        let count = self.nodes.len();
        match instruction {
            Instruction::Constant(rows) => {
                let node = self
                    .builder
                    .constant(Delta::insertions(batch(COLUMNS, rows)));
                self.push(node, COLUMNS, Definition::Constant(rows.clone()));
            }
            Instruction::Filter {
                input,
                column,
                bound,
            } => {
                self.filter(input % count, *column, *bound);
            }
            Instruction::Project {
                input,
                columns,
                sum,
            } => {
                let input = input % count;
                let width = self.widths[input];
                let columns: Vec<usize> = columns.iter().map(|column| column % width).collect();
                let sum = sum.map(|(left, right)| Formula::Sum(left % width, right % width));
                let copied = columns.len().min(COLUMNS - usize::from(sum.is_some()));
                self.project(input, &columns[..copied], sum.as_slice());
            }
            Instruction::Union(left, right) => {
                let left = left % count;
                let right = self.fit(right % count, left);
                let node = self
                    .builder
                    .union(vec![self.nodes[left], self.nodes[right]]);
                self.push(
                    node,
                    self.widths[left],
                    Definition::Union(vec![left, right]),
                );
            }
            Instruction::Join {
                left,
                right,
                on,
                residual,
                output,
            } => {
                self.join(left % count, right % count, on, *residual, output);
            }
            Instruction::SemiJoin {
                left,
                right,
                on,
                anti,
            } => {
                self.semi_join(left % count, right % count, on, *anti);
            }
            Instruction::Set { kind, left, right } => {
                self.set(*kind, left % count, right % count);
            }
        }
    }

    fn semi_join(&mut self, left: usize, right: usize, on: &[(usize, usize)], anti: bool) {
        let on = self.pairs(left, right, on);
        let nodes = (self.nodes[left], self.nodes[right]);
        let node = self.builder.semi_join(nodes.0, nodes.1, &on, anti);
        let width = self.widths[left];
        self.push(
            node,
            width,
            Definition::SemiJoin {
                left,
                right,
                on,
                anti,
            },
        );
    }

    fn set(&mut self, kind: SetOperation, left: usize, right: usize) {
        let mut inputs = vec![left];
        if kind != SetOperation::Distinct {
            inputs.push(self.fit(right, left));
        }
        let nodes: Vec<NodeIndex> = inputs.iter().map(|&input| self.nodes[input]).collect();
        let node = self.builder.set_operation(kind, &nodes);
        self.push(node, self.widths[left], Definition::Set { kind, inputs });
    }

    fn filter(&mut self, input: usize, column: usize, bound: i64) {
        let formula = Formula::Less(column % self.widths[input], bound);
        let node = self
            .builder
            .filter(self.nodes[input], formula.clone().expr());
        self.push(
            node,
            self.widths[input],
            Definition::Filter { input, formula },
        );
    }

    fn join(
        &mut self,
        left: usize,
        right: usize,
        on: &[(usize, usize)],
        residual: bool,
        output: &[usize],
    ) {
        let on = self.pairs(left, right, on);
        let width = self.widths[left] + self.widths[right];
        let residual = residual.then(|| Formula::Equal(0, width - 1));
        let output: Vec<usize> = output.iter().map(|column| column % width).collect();
        let options = JoinOptions {
            residual: residual.clone().map(Formula::expr),
            output: Some(output.clone()),
        };
        let node = self
            .builder
            .join(self.nodes[left], self.nodes[right], &on, options);
        let width = output.len();
        self.push(
            node,
            width,
            Definition::Join {
                left,
                right,
                on,
                residual,
                output,
            },
        );
    }
}

fn program(instructions: &[Instruction], hasher: RowHasher) -> Program {
    let mut draft = Draft {
        builder: PlanBuilder::new(hasher),
        nodes: Vec::new(),
        widths: Vec::new(),
        definitions: Vec::new(),
    };
    let keyed = draft
        .builder
        .table("keyed", &super::schema(COLUMNS), KEY.to_vec(), true, "");
    draft.push(keyed, COLUMNS, Definition::Table(0));
    let bag = draft
        .builder
        .table("bag", &super::schema(COLUMNS), Vec::new(), true, "");
    draft.push(bag, COLUMNS, Definition::Table(1));
    for instruction in instructions {
        draft.add(instruction);
    }
    for (index, &node) in draft.nodes.iter().enumerate() {
        draft
            .builder
            .view(&format!("view {index}"), node, index % 2 == 0);
    }
    Program {
        plan: draft.builder.finish(),
        definitions: draft.definitions,
    }
}

/// The tables as the reference sees them.
#[derive(Clone, Default)]
struct Tables {
    keyed: KeyedTable,
    bag: Bag,
}

impl Tables {
    /// Plays the changes; returns them as inputs, in order.
    fn apply(&mut self, changes: &[(usize, Change)]) -> Vec<(usize, TableInput)> {
        let mut keyed: Vec<(Row, i64, Option<Vec<bool>>)> = Vec::new();
        let mut bag: Vec<(Row, i64)> = Vec::new();
        for (_, change) in changes {
            match change {
                Change::Upsert(row) => {
                    self.keyed.upsert(&KEY, row);
                    keyed.push((row.clone(), 1, None));
                }
                Change::Delete(row) => {
                    self.keyed.delete(&KEY, row);
                    keyed.push((row.clone(), -1, None));
                }
                Change::Update(row, is_set) => {
                    self.keyed.update(&KEY, row, is_set);
                    keyed.push((row.clone(), 1, Some(is_set.clone())));
                }
                Change::Insert(row, weight) => {
                    *self.bag.entry(row.clone()).or_default() += weight;
                    bag.push((row.clone(), *weight));
                }
                Change::Remove(number) => {
                    let Some(row) = self.bag.keys().nth(number % self.bag.len().max(1)).cloned()
                    else {
                        continue;
                    };
                    *self.bag.entry(row.clone()).or_default() -= 1;
                    bag.push((row, -1));
                }
            }
            self.bag.retain(|_, weight| *weight != 0);
        }
        let (rows, weights): (Vec<Row>, Vec<i64>) = bag.into_iter().unzip();
        let bag = TableInput {
            rows: batch(COLUMNS, &rows),
            weights: weights.into(),
            partial: None,
        };
        // Two inputs of one table in one step: the order counts across them too.
        let half = keyed.split_off(keyed.len() / 2);
        vec![(0, keyed_input(&keyed)), (1, bag), (0, keyed_input(&half))]
    }

    fn bags(&self) -> Vec<Bag> {
        vec![self.keyed.bag(), self.bag.clone()]
    }
}

fn keyed_input(changes: &[(Row, i64, Option<Vec<bool>>)]) -> TableInput {
    let rows: Vec<Row> = changes.iter().map(|(row, _, _)| row.clone()).collect();
    let weights: Vec<i64> = changes.iter().map(|(_, weight, _)| *weight).collect();
    let is_set = |column: usize| {
        let marks = changes
            .iter()
            .map(|(_, _, set)| set.as_ref().is_some_and(|set| set[column]));
        marks.collect::<BooleanBuffer>()
    };
    let partial = changes
        .iter()
        .any(|(_, _, set)| set.is_some())
        .then(|| PartialUpdates {
            is_update: changes.iter().map(|(_, _, set)| set.is_some()).collect(),
            is_set: (0..COLUMNS).map(is_set).collect(),
        });
    TableInput {
        rows: batch(COLUMNS, &rows),
        weights: weights.into(),
        partial,
    }
}

fn check(
    instructions: &[Instruction],
    steps: &[Vec<(usize, Change)>],
    hasher: RowHasher,
    workers: usize,
) {
    let Program { plan, definitions } = program(instructions, hasher);
    let views: Vec<usize> = (0..plan.views.len()).collect();
    let mut dataflow = start(plan, workers, hasher);
    let mut tables = Tables::default();
    let mut follower = Follower::default();
    for (number, changes) in steps.iter().enumerate() {
        let output = dataflow.step(tables.apply(changes)).unwrap();
        follower.follow(&output);
        let expected = compute(&definitions, &tables.bags());
        for &view in &views {
            let context = || format!("view {view}, step {number}, {workers} workers");
            let found = follower.views.get(&view).cloned().unwrap_or_default();
            assert_eq!(
                found,
                expected[view],
                "{}: {:?}",
                context(),
                definitions[view]
            );
            if let Some(contents) = dataflow.contents().get(&RelationRef::View(view)) {
                assert_eq!(scan(contents), expected[view], "contents of {}", context());
            }
        }
        for (table, expected) in tables.bags().iter().enumerate() {
            let contents = &dataflow.contents()[&RelationRef::Table(table)];
            assert_eq!(&scan(contents), expected, "table {table}, step {number}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn views_equal_recomputation(
        instructions in prop::collection::vec(instruction(), 1..7),
        steps in prop::collection::vec(prop::collection::vec(change(), 0..12), 1..6),
        seed in any::<u64>(),
        bits in prop_oneof![Just(64u32), 0..6u32],
    ) {
        for workers in 1..=3 {
            check(&instructions, &steps, RowHasher::weakened(seed, bits), workers);
        }
    }
}
