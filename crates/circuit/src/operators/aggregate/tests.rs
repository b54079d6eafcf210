//! Partial and final aggregates in a row, against aggregates over all rows, after every step.

mod global;
mod results;
mod speed;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use highwater_zset::{Delta, Layout, OrderColumn, RowHasher};
use proptest::prelude::*;

use super::super::test_support::{Arrangement, Subject, delta, input, node, schema, texts};
use super::super::{Flow, OperatorError};
use crate::expression::{EvaluationError, GroupFunction};
use crate::plan::{AggregateCall, AggregateSpec, LinearCall, LinearFunction, OperatorSpec};

const DECIMAL: DataType = DataType::Decimal128(10, 2);

/// One row of the input.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    group: Option<i64>,
    integer: Option<i64>,
    decimal: Option<i128>,
    float: Option<f64>,
    flag: Option<bool>,
}

/// The row's values as text, in order: `2,2,NULL`.
#[derive(Debug)]
struct Joined;

impl GroupFunction for Joined {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let values = rows.column(1).as_primitive::<Int64Type>();
        let joined: Vec<String> = values
            .iter()
            .flatten()
            .map(|value| value.to_string())
            .collect();
        if joined.contains(&"13".to_owned()) {
            return Err(EvaluationError {
                message: "unlucky".to_owned(),
            });
        }
        Ok(Arc::new(StringArray::from(vec![joined.join(",")])))
    }
    fn data_type(&self) -> DataType {
        DataType::Utf8
    }
    fn fingerprint(&self) -> &str {
        "joined"
    }
}

fn linear_calls() -> Vec<LinearCall> {
    use LinearFunction as F;
    let (int, float) = (DataType::Int64, DataType::Float64);
    let average = DataType::Decimal128(14, 6);
    let variance = |sample, square_root| F::Variance {
        argument: DataType::Float64,
        sample,
        square_root,
    };
    let calls = [
        (F::Count, None),
        (F::Count, Some(1)),
        (
            F::Sum {
                argument: int.clone(),
                result: int.clone(),
            },
            Some(1),
        ),
        (
            F::Average {
                argument: int.clone(),
                result: float.clone(),
            },
            Some(1),
        ),
        (
            F::Sum {
                argument: DECIMAL,
                result: DataType::Decimal128(20, 2),
            },
            Some(2),
        ),
        (
            F::Average {
                argument: DECIMAL,
                result: average,
            },
            Some(2),
        ),
        (
            F::Sum {
                argument: float.clone(),
                result: float.clone(),
            },
            Some(3),
        ),
        (
            F::Average {
                argument: float.clone(),
                result: float,
            },
            Some(3),
        ),
        (variance(true, false), Some(3)),
        (variance(false, true), Some(3)),
        (F::BoolAnd, Some(4)),
        (F::BoolOr, Some(4)),
        (F::BitXor { argument: int }, Some(1)),
    ];
    calls
        .into_iter()
        .map(|(function, argument)| LinearCall { function, argument })
        .collect()
}

/// Partial aggregates over all rows, over distinct integers, and integers in order.
struct Circuit {
    all: Subject,
    distinct: Subject,
    ordered: Arrangement,
    last: Subject,
    group_columns: usize,
}

impl Circuit {
    fn new(group: Vec<usize>, hasher: RowHasher) -> Self {
        let types = [
            DataType::Int64,
            DataType::Int64,
            DECIMAL,
            DataType::Float64,
            DataType::Boolean,
        ];
        let table = schema(&types);
        let pairs = schema(&types[..2]);
        let distinct_calls = vec![LinearCall {
            function: LinearFunction::Count,
            argument: Some(1),
        }];
        let mut calls: Vec<AggregateCall> = linear_calls()
            .into_iter()
            .enumerate()
            .map(
                |(call, LinearCall { function, .. })| AggregateCall::Linear {
                    input: 0,
                    call,
                    function,
                },
            )
            .collect();
        calls.push(AggregateCall::Linear {
            input: 1,
            call: 0,
            function: LinearFunction::Count,
        });
        calls.push(AggregateCall::First {
            input: 2,
            column: 1,
        });
        calls.push(AggregateCall::Group {
            input: 2,
            function: Arc::new(Joined),
        });
        let all = partial(&table, &group, linear_calls(), hasher);
        let distinct = partial(&pairs, &group, distinct_calls, hasher);
        let spec = AggregateSpec {
            group_columns: group.len(),
            calls,
            is_global: group.is_empty(),
        };
        let mut outputs: Vec<DataType> = group.iter().map(|_| DataType::Int64).collect();
        outputs.extend(spec.calls.iter().map(|call| match call {
            AggregateCall::Linear { function, .. } => function.result_type(),
            AggregateCall::First { .. } => DataType::Int64,
            AggregateCall::Group { function, .. } => function.data_type(),
        }));
        let inputs = [input(&all.1), input(&distinct.1), input(&pairs)];
        let options = SortOptions {
            descending: false,
            nulls_first: false,
        };
        let order = vec![OrderColumn { column: 1, options }];
        let layout = Layout::ordered(pairs, group.clone(), order, hasher);
        let group_columns = group.len();
        let last = node(OperatorSpec::Aggregate { spec }, schema(&outputs));
        Self {
            all: all.0,
            distinct: distinct.0,
            ordered: Arrangement::new(layout),
            last: Subject::new(&last, &inputs, hasher),
            group_columns,
        }
    }

    /// `pieces` are changes of the rows, `distinct` of the distinct pairs of group and integer.
    fn step(&mut self, pieces: &[Delta], distinct: &Delta) -> Result<(), OperatorError> {
        let pairs: Vec<Delta> = pieces.iter().map(non_null_integers).collect();
        let pairs = Delta::concat(&schema(&[DataType::Int64, DataType::Int64]), &pairs).unwrap();
        // As if each piece came from another worker.
        let mut partials = Vec::new();
        for piece in pieces {
            partials.extend(self.all.step(&[&Flow::Delta(vec![piece.clone()])])?);
        }
        let distinct = self
            .distinct
            .step(&[&Flow::Delta(vec![distinct.clone()])])?;
        let ordered = self.ordered.step(&pairs);
        self.last
            .step(&[&Flow::Delta(partials), &Flow::Delta(distinct), &ordered])?;
        Ok(())
    }
}

fn partial(
    table: &SchemaRef,
    group: &[usize],
    calls: Vec<LinearCall>,
    hasher: RowHasher,
) -> (Subject, SchemaRef) {
    let mut types: Vec<DataType> = group
        .iter()
        .map(|&column| table.field(column).data_type().clone())
        .collect();
    types.push(DataType::Int64);
    for call in &calls {
        types.extend(
            call.function
                .state_fields()
                .iter()
                .map(|field| field.data_type().clone()),
        );
    }
    let output = schema(&types);
    let operator = OperatorSpec::PartialAggregate {
        group: group.to_vec(),
        calls,
    };
    (
        Subject::new(&node(operator, output.clone()), &[input(table)], hasher),
        output,
    )
}

fn non_null_integers(rows: &Delta) -> Delta {
    let keep = arrow::compute::is_not_null(rows.rows().column(1)).unwrap();
    let kept = rows.filter(&keep).unwrap();
    delta(kept.rows().columns()[..2].to_vec(), kept.weights().to_vec())
}

fn to_delta(rows: &[(Row, i64)]) -> Delta {
    let decimals: Decimal128Array = rows.iter().map(|(row, _)| row.decimal).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            rows.iter()
                .map(|(row, _)| row.group)
                .collect::<Int64Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|(row, _)| row.integer)
                .collect::<Int64Array>(),
        ),
        Arc::new(decimals.with_data_type(DECIMAL)),
        Arc::new(
            rows.iter()
                .map(|(row, _)| row.float)
                .collect::<Float64Array>(),
        ),
        Arc::new(
            rows.iter()
                .map(|(row, _)| row.flag)
                .collect::<BooleanArray>(),
        ),
    ];
    delta(columns, rows.iter().map(|(_, weight)| *weight).collect())
}

fn to_pairs(rows: &BTreeMap<(Option<i64>, i64), i64>) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.keys().map(|(group, _)| *group).collect::<Int64Array>()),
        Arc::new(
            rows.keys()
                .map(|(_, integer)| *integer)
                .collect::<Int64Array>(),
        ),
    ];
    delta(columns, rows.values().copied().collect())
}

/// Output columns of one group, as text but for floats.
#[derive(Clone, Debug)]
enum Cell {
    Text(String),
    Float(Option<f64>),
}

fn option<T: ToString>(value: Option<T>) -> Cell {
    Cell::Text(value.map_or("NULL".to_owned(), |value| value.to_string()))
}

fn decimal(value: Option<i128>, scale: i8) -> Cell {
    let array = Decimal128Array::from(vec![value]).with_data_type(DataType::Decimal128(38, scale));
    let array: ArrayRef = Arc::new(array);
    Cell::Text(texts(&[array], 0).remove(0))
}

/// Shewchuk's exact partial sums, rounded at the end.
fn sum_floats(values: &[f64]) -> Option<f64> {
    let has = |predicate: fn(&f64) -> bool| values.iter().any(predicate);
    match (
        has(|v| v.is_nan()),
        has(|v| *v == f64::INFINITY),
        has(|v| *v == f64::NEG_INFINITY),
    ) {
        _ if values.is_empty() => return None,
        (false, false, false) => {}
        (false, true, false) => return Some(f64::INFINITY),
        (false, false, true) => return Some(f64::NEG_INFINITY),
        _ => return Some(f64::NAN),
    }
    let mut partials: Vec<f64> = Vec::new();
    for &value in values {
        let mut x = value;
        let mut kept = Vec::new();
        for &y in &partials {
            let (large, small) = if x.abs() < y.abs() { (y, x) } else { (x, y) };
            let high = large + small;
            let low = small - (high - large);
            if low != 0.0 {
                kept.push(low);
            }
            x = high;
        }
        kept.push(x);
        partials = kept;
    }
    // Partials do not overlap, so from the top only the first inexact addition can round.
    Some(partials.iter().rev().sum())
}

fn variance(values: &[f64], sample: bool) -> Option<f64> {
    let count = values.len() as f64;
    let divisor = if sample { count - 1.0 } else { count };
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum();
    (divisor > 0.0).then_some(squares / divisor)
}

/// The aggregates of one group's rows, the plain way.
fn expected(rows: &[Row]) -> Vec<Cell> {
    let mut integers: Vec<i64> = rows.iter().filter_map(|row| row.integer).collect();
    let decimals: Vec<i128> = rows.iter().filter_map(|row| row.decimal).collect();
    let floats: Vec<f64> = rows.iter().filter_map(|row| row.float).collect();
    let flags: Vec<bool> = rows.iter().filter_map(|row| row.flag).collect();
    let sum: i64 = integers.iter().sum();
    let xor = integers.iter().fold(0, |xor, value| xor ^ value);
    let non_empty = (!integers.is_empty()).then_some(());
    let average = non_empty.map(|()| sum as f64 / integers.len() as f64);
    let decimal_sum = (!decimals.is_empty()).then(|| decimals.iter().sum::<i128>());
    let decimal_average = decimal_sum.map(|sum| sum * 10_000 / decimals.len() as i128);
    let float_sum = sum_floats(&floats);
    let all_finite = floats.iter().all(|value| value.is_finite());
    let checked = |value: Option<f64>| {
        if all_finite {
            value
        } else {
            value.map(|_| f64::NAN)
        }
    };
    integers.sort_unstable();
    let mut distinct = integers.clone();
    distinct.dedup();
    let joined: Vec<String> = integers.iter().map(|value| value.to_string()).collect();
    vec![
        option(Some(rows.len())),
        option(Some(integers.len())),
        option(non_empty.map(|()| sum)),
        Cell::Float(average),
        decimal(decimal_sum, 2),
        decimal(decimal_average, 6),
        Cell::Float(float_sum),
        Cell::Float(float_sum.map(|sum| sum / floats.len() as f64)),
        Cell::Float(checked(variance(&floats, true))),
        Cell::Float(checked(variance(&floats, false).map(f64::sqrt))),
        option((!flags.is_empty()).then(|| flags.iter().all(|flag| *flag))),
        option((!flags.is_empty()).then(|| flags.iter().any(|flag| *flag))),
        option(non_empty.map(|()| xor)),
        option(Some(distinct.len())),
        option(integers.first()),
        Cell::Text(joined.join(",")),
    ]
}

fn assert_cells(actual: &[String], expected: &[Cell]) {
    assert_eq!(actual.len(), expected.len());
    for (column, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let is_same = match expected {
            Cell::Text(expected) => actual == expected,
            Cell::Float(None) => actual == "NULL",
            Cell::Float(Some(expected)) => {
                let actual: f64 = actual.parse().unwrap();
                let tolerance = 1e-12 + expected.abs() * 1e-9;
                (actual - expected).abs() <= tolerance
                    || actual == *expected
                    || actual.is_nan() && expected.is_nan()
            }
        };
        assert!(is_same, "column {column}: {actual} instead of {expected:?}");
    }
}

/// Follows a circuit with the rows it should have.
struct Checked {
    circuit: Circuit,
    rows: Vec<Row>,
    distinct: BTreeMap<(Option<i64>, i64), i64>,
    is_grouped: bool,
}

impl Checked {
    fn new(is_grouped: bool, hasher: RowHasher) -> Self {
        let group = if is_grouped { vec![0] } else { Vec::new() };
        let circuit = Circuit::new(group, hasher);
        Self {
            circuit,
            rows: Vec::new(),
            distinct: BTreeMap::new(),
            is_grouped,
        }
    }

    fn key(&self, row: &Row) -> Option<i64> {
        if self.is_grouped { row.group } else { None }
    }

    /// Applies changes in pieces of the given size.
    fn step(&mut self, changes: &[(Row, i64)], piece: usize) {
        for (row, weight) in changes {
            for _ in 0..weight.unsigned_abs() {
                if *weight > 0 {
                    self.rows.push(row.clone());
                } else {
                    let text = format!("{row:?}");
                    let position = self
                        .rows
                        .iter()
                        .position(|r| format!("{r:?}") == text)
                        .unwrap();
                    self.rows.swap_remove(position);
                }
            }
        }
        let mut distinct = BTreeMap::new();
        for row in &self.rows {
            if let Some(integer) = row.integer {
                distinct.insert((self.key(row), integer), 1);
            }
        }
        let mut changed = distinct.clone();
        for (row, weight) in &self.distinct {
            *changed.entry(*row).or_default() -= weight;
        }
        changed.retain(|_, weight| *weight != 0);
        self.distinct = distinct;
        let pieces: Vec<Delta> = changes.chunks(piece.max(1)).map(to_delta).collect();
        self.circuit.step(&pieces, &to_pairs(&changed)).unwrap();
        self.check();
    }

    fn check(&self) {
        let mut groups: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
        if !self.is_grouped {
            groups.insert(None, Vec::new());
        }
        for row in &self.rows {
            groups.entry(self.key(row)).or_default().push(row.clone());
        }
        let output = &self.circuit.last.output;
        assert_eq!(output.len(), groups.len(), "one row per group: {output:?}");
        assert!(output.values().all(|weight| *weight == 1));
        for (key, rows) in &groups {
            let Cell::Text(key) = option(*key) else {
                unreachable!()
            };
            let of_group = |row: &&Vec<String>| !self.is_grouped || row[0] == key;
            let actual = output.keys().find(of_group).unwrap();
            assert_cells(&actual[self.circuit.group_columns..], &expected(rows));
        }
        // I1: rows without NULLs and sums that happen to be zero aside, state is one row per group.
        let filled = groups.values().filter(|rows| !rows.is_empty()).count();
        assert_eq!(self.circuit.last.state_rows(), filled);
    }
}

fn rows() -> impl Strategy<Value = Row> {
    let floats = vec![
        0.1,
        -0.1,
        1.0,
        3.5,
        -0.0,
        1e300,
        -1e300,
        5e-324,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    (
        prop::option::of(0_i64..4),
        prop::option::of(-3_i64..4),
        prop::option::of(-100_000_i128..100_000),
        prop::option::weighted(0.8, prop::sample::select(floats)),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(group, integer, decimal, float, flag)| Row {
            group,
            integer,
            decimal,
            float,
            flag,
        })
}

/// Insertions, and deletions as picks among the rows that are there.
type Plan = Vec<(Vec<(Row, i64)>, Vec<prop::sample::Index>, usize)>;

fn plans() -> impl Strategy<Value = Plan> {
    let insertions = prop::collection::vec((rows(), 1_i64..3), 0..8);
    let deletions = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
    prop::collection::vec((insertions, deletions, 1_usize..9), 1..6)
}

fn run(plan: Plan, is_grouped: bool, bits: u32) {
    let mut checked = Checked::new(is_grouped, RowHasher::weakened(5, bits));
    for (mut changes, deletions, piece) in plan {
        let mut present = checked.rows.clone();
        for (row, weight) in &changes {
            present.extend(std::iter::repeat_n(row.clone(), *weight as usize));
        }
        for deletion in deletions {
            if !present.is_empty() {
                let row = present.swap_remove(deletion.index(present.len()));
                changes.push((row, -1));
            }
        }
        checked.step(&changes, piece);
    }
    let all: Vec<(Row, i64)> = checked.rows.iter().map(|row| (row.clone(), -1)).collect();
    checked.step(&all, 3);
    assert_eq!(checked.circuit.last.state_rows(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn groups_are_right_after_every_step(plan in plans()) {
        run(plan, true, 64);
    }

    #[test]
    fn groups_are_right_when_hashes_collide(plan in plans()) {
        run(plan, true, 1);
    }

    #[test]
    fn the_global_group_is_right_after_every_step(plan in plans()) {
        run(plan, false, 64);
    }
}
