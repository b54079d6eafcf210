//! Whole circuits against a plain reference, with one and more workers.

mod bootstrap;
mod failures;
mod programs;
mod reference;
mod restart;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use highwater_zset::{Delta, RowHasher, Snapshot};

use super::{Dataflow, DataflowConfig, RelationRef, StepOutput};
use crate::expression::{EvaluationError, Expr, Expression};
use crate::plan::Plan;
use crate::table_input::TableInput;

pub(super) type Value = Option<i64>;
pub(super) type Row = Vec<Value>;
/// A bag of rows.
pub(super) type Bag = BTreeMap<Row, i64>;

pub(super) fn schema(columns: usize) -> SchemaRef {
    let field = |index| Field::new(format!("c{index}"), DataType::Int64, true);
    Arc::new(Schema::new((0..columns).map(field).collect::<Vec<_>>()))
}

pub(super) fn batch(columns: usize, rows: &[Row]) -> RecordBatch {
    let column = |index: usize| -> ArrayRef {
        Arc::new(rows.iter().map(|row| row[index]).collect::<Int64Array>())
    };
    RecordBatch::try_new(schema(columns), (0..columns).map(column).collect()).unwrap()
}

pub(super) fn insert(columns: usize, rows: &[Row]) -> TableInput {
    TableInput::insertions(batch(columns, rows))
}

pub(super) fn row(values: &[i64]) -> Row {
    values.iter().map(|&value| Some(value)).collect()
}

/// Adds a delta of Int64 columns to a bag.
pub(super) fn add(bag: &mut Bag, delta: &Delta) {
    for (index, &weight) in delta.weights().iter().enumerate() {
        let value = |column: &ArrayRef| -> Value {
            let column = column.as_primitive::<Int64Type>();
            column.is_valid(index).then(|| column.value(index))
        };
        let row: Row = delta.rows().columns().iter().map(value).collect();
        *bag.entry(row).or_default() += weight;
    }
    bag.retain(|_, weight| *weight != 0);
}

pub(super) fn scan(snapshots: &[Snapshot]) -> Bag {
    let mut bag = Bag::new();
    for delta in snapshots
        .iter()
        .flat_map(|snapshot| snapshot.scan().unwrap())
    {
        add(&mut bag, &delta);
    }
    bag
}

pub(super) fn start(plan: Plan, workers: usize, hasher: RowHasher) -> Dataflow {
    Dataflow::start(Arc::new(plan), DataflowConfig::in_memory(workers, hasher)).unwrap()
}

/// Sums up every view's changes, and keeps what is said of contents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Follower {
    pub views: BTreeMap<usize, Bag>,
    pub contents: BTreeMap<RelationRef, Bag>,
}

impl Follower {
    pub(super) fn follow(&mut self, output: &StepOutput) {
        for (view, deltas) in &output.changes {
            assert!(deltas.iter().all(|delta| !delta.is_empty()));
            let bag = self.views.entry(*view).or_default();
            deltas.iter().for_each(|delta| add(bag, delta));
        }
        for (relation, snapshots) in &output.contents {
            self.contents.insert(*relation, scan(snapshots));
        }
    }
}

/// Expressions over Int64 columns.
#[derive(Clone, Debug)]
pub(super) enum Formula {
    Sum(usize, usize),
    Less(usize, i64),
    Equal(usize, usize),
    /// The column, but an error for rows where it has this value.
    FailsAt(usize, i64),
    Panics,
}

impl Formula {
    /// The reference: one row at a time.
    pub(super) fn value(&self, row: &Row) -> Value {
        match *self {
            Self::Sum(left, right) => Some(row[left]?.wrapping_add(row[right]?)),
            Self::Less(column, bound) => Some(i64::from(row[column]? < bound)),
            Self::Equal(left, right) => Some(i64::from(row[left]? == row[right]?)),
            Self::FailsAt(column, _) => row[column],
            Self::Panics => None,
        }
    }

    pub(super) fn expr(self) -> Expr {
        let fingerprint = format!("{self:?}");
        Arc::new(Formulated {
            formula: self,
            fingerprint,
        })
    }
}

#[derive(Debug)]
struct Formulated {
    formula: Formula,
    fingerprint: String,
}

impl Expression for Formulated {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        if let Formula::Panics = self.formula {
            panic!("deliberate panic");
        }
        let columns: Vec<&Int64Array> = rows
            .columns()
            .iter()
            .map(|column| column.as_primitive::<Int64Type>())
            .collect();
        let row = |index: usize| -> Row {
            columns
                .iter()
                .map(|column| column.is_valid(index).then(|| column.value(index)))
                .collect()
        };
        let rows: Vec<Row> = (0..rows.num_rows()).map(row).collect();
        if let Formula::FailsAt(column, value) = self.formula
            && rows.iter().any(|row| row[column] == Some(value))
        {
            return Err(EvaluationError {
                message: format!("{value} is not allowed"),
            });
        }
        let values = rows.iter().map(|row| self.formula.value(row));
        Ok(match self.data_type() {
            DataType::Boolean => Arc::new(
                values
                    .map(|value| value.map(|value| value == 1))
                    .collect::<BooleanArray>(),
            ),
            _ => Arc::new(values.collect::<Int64Array>()),
        })
    }

    fn data_type(&self) -> DataType {
        match self.formula {
            Formula::Less(..) | Formula::Equal(..) => DataType::Boolean,
            _ => DataType::Int64,
        }
    }

    fn input_columns(&self) -> Option<Vec<usize>> {
        match self.formula {
            Formula::Sum(left, right) | Formula::Equal(left, right) => Some(vec![left, right]),
            Formula::Less(column, _) => Some(vec![column]),
            Formula::FailsAt(..) | Formula::Panics => None,
        }
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
