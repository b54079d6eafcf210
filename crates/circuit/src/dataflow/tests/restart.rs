//! A circuit that is stopped after any step and restored, with as many workers or others, goes on
//! as if nothing had happened. The plan has every kind of operator: a kind that is not listed in
//! [`kind`] does not compile, one that is listed but not in the plan fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::{SortOptions, take_record_batch};
use arrow::datatypes::{DataType, Int64Type};
use highwater_storage::{Digest, Files, LocalDisk};
use highwater_zset::{BlockCache, Delta, MemoryBudget, OrderColumn, RowHasher, StateFiles};

use super::{Formula, Row, batch, insert, row, schema};
use crate::builder::{JoinOptions, PlanBuilder};
use crate::checkpoint::{self, SavedWorker, Saving};
use crate::dataflow::{CircuitState, Dataflow, DataflowConfig, RelationRef};
use crate::error::Error;
use crate::expression::{EvaluationError, FlatMapFunction, GroupFunction, PartitionFunction};
use crate::operators::format_row;
use crate::plan::{
    AggregateCall, AggregateSpec, LinearCall, LinearFunction, NodeIndex, OperatorId, OperatorSpec,
    Plan, Rank, SetOperation, TopKSpec,
};
use crate::table_input::TableInput;

const KINDS: usize = 17;
pub(super) const STEPS: usize = 6;

/// Number and state of every kind of operator.
fn kind(plan: &Plan, operator: &OperatorSpec) -> (usize, bool) {
    match operator {
        OperatorSpec::Table { table } => (0, !plan.tables[*table].primary_key.is_empty()),
        OperatorSpec::Constant { .. } => (1, false),
        OperatorSpec::Map { .. } => (2, false),
        OperatorSpec::FlatMap { .. } => (3, false),
        OperatorSpec::Union => (4, false),
        OperatorSpec::Negate => (5, false),
        OperatorSpec::Exchange { .. } => (6, false),
        OperatorSpec::Consolidate => (7, false),
        OperatorSpec::Arrange { .. } => (8, true),
        OperatorSpec::Join { .. } => (9, false),
        OperatorSpec::SemiJoin { .. } => (10, false),
        OperatorSpec::SetOperation { .. } => (11, false),
        OperatorSpec::PartialAggregate { .. } => (12, false),
        OperatorSpec::Aggregate { .. } => (13, true),
        OperatorSpec::TopK { .. } => (14, false),
        OperatorSpec::Window { .. } => (15, false),
        OperatorSpec::SingleRow => (16, false),
    }
}

pub(super) fn hasher() -> RowHasher {
    RowHasher::weakened(11, 9)
}

fn order(column: usize) -> Vec<OrderColumn> {
    vec![OrderColumn {
        column,
        options: SortOptions::default(),
    }]
}

pub(super) fn every_kind() -> Plan {
    program(u32::MAX)
}

/// Sections of [`program`].
pub(super) const SECTIONS: u32 = 10;

/// The tables, and those views whose sections have their bit in `mask`. Equal definitions are one
/// node, so that sections share what they have in common.
pub(super) fn program(mask: u32) -> Plan {
    let mut builder = PlanBuilder::new(hasher());
    let keyed = builder.table("keyed", &schema(3), vec![0], true, "");
    let bag = builder.table("bag", &schema(2), Vec::new(), true, "");
    let united = |builder: &mut PlanBuilder| {
        let rows = batch(2, &[row(&[1, 2]), row(&[7, 8])]);
        let constant = builder.constant(Delta::insertions(rows));
        let pairs = builder.select(keyed, &[1, 2]);
        let negated = builder.negate(constant);
        builder.union(vec![pairs, bag, constant, negated, constant])
    };
    let has = |section: u32| mask >> section & 1 == 1;
    if has(0) {
        let joined = builder.join(keyed, bag, &[(1, 0)], JoinOptions::default());
        builder.view("joined", joined, false);
    }
    if has(1) {
        let united = united(&mut builder);
        builder.view("united", united, true);
    }
    if has(2) {
        let anti = builder.semi_join(keyed, bag, &[(1, 0)], true);
        builder.view("anti", anti, false);
    }
    if has(3) {
        let united = united(&mut builder);
        let except = builder.set_operation(SetOperation::ExceptAll, &[united, bag]);
        builder.view("except", except, true);
    }
    if has(4) {
        let repeated = builder.flat_map(bag, Arc::new(Repeat), &schema(2));
        builder.view("repeated", repeated, false);
    }
    if has(5) {
        let top = TopKSpec {
            rank: Rank::RowNumber,
            offset: 0,
            fetch: 2,
            with_rank: true,
        };
        let united = united(&mut builder);
        let top = builder.top_k(united, vec![0], order(1), top);
        builder.view("top", top, true);
    }
    if has(6) {
        let name = &["n".to_owned()];
        let numbered = builder.window(keyed, vec![1], order(2), Arc::new(Numbers), name);
        builder.view("numbered", numbered, false);
    }
    if has(7) {
        let single = builder.single_row(keyed, vec![0]);
        builder.view("single", single, false);
    }
    if has(8) {
        let united = united(&mut builder);
        let filtered = builder.filter(united, Formula::Less(0, 3).expr());
        builder.view("filtered", filtered, false);
    }
    if has(9) {
        for (name, group) in [("global", Vec::new()), ("grouped", vec![0])] {
            let united = united(&mut builder);
            let aggregated = aggregate(&mut builder, united, &group);
            builder.view(name, aggregated, name == "global");
        }
    }
    builder.finish()
}

/// One aggregate of each way to compute one.
fn aggregate(builder: &mut PlanBuilder, input: NodeIndex, group: &[usize]) -> NodeIndex {
    let sum = LinearFunction::Sum {
        argument: DataType::Int64,
        result: DataType::Int64,
    };
    let calls = vec![LinearCall {
        function: sum.clone(),
        argument: Some(1),
    }];
    let partial = builder.partial_aggregate(input, group.to_vec(), calls);
    let ordered = builder.arrange(input, group.to_vec(), order(1));
    let calls = vec![
        AggregateCall::Linear {
            input: 0,
            call: 0,
            function: sum,
        },
        AggregateCall::First {
            input: 1,
            column: 1,
        },
        AggregateCall::Group {
            input: 1,
            function: Arc::new(Alternating),
        },
    ];
    let spec = AggregateSpec {
        group_columns: group.len(),
        calls,
        is_global: group.is_empty(),
    };
    let names = ["sum", "min", "alternating"].map(str::to_owned);
    builder.aggregate(vec![partial, ordered], spec, &names)
}

/// Every row as often as its first column says, at most twice.
#[derive(Debug)]
struct Repeat;

impl FlatMapFunction for Repeat {
    fn evaluate(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), EvaluationError> {
        let times = rows.column(0).as_primitive::<Int64Type>();
        let origins: Vec<u32> = (0..rows.num_rows())
            .flat_map(|row| {
                let times = if times.is_valid(row) {
                    times.value(row).clamp(0, 2)
                } else {
                    0
                };
                (0..times).map(move |_| row as u32)
            })
            .collect();
        let rows = take_record_batch(rows, &UInt32Array::from(origins.clone())).unwrap();
        Ok((rows, origins))
    }
    fn fingerprint(&self) -> &str {
        "repeat"
    }
}

/// Row numbers.
#[derive(Debug)]
struct Numbers;

impl PartitionFunction for Numbers {
    fn evaluate(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>, EvaluationError> {
        Ok(vec![Arc::new(
            (0..rows.num_rows() as i64).collect::<Int64Array>(),
        )])
    }
    fn data_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }
    fn fingerprint(&self) -> &str {
        "numbers"
    }
}

/// First minus second plus third …: depends on the order.
#[derive(Debug)]
struct Alternating;

impl GroupFunction for Alternating {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        let values = rows.column(1).as_primitive::<Int64Type>().iter().flatten();
        let sum: i64 = values
            .enumerate()
            .map(|(i, v)| if i % 2 == 0 { v } else { -v })
            .sum();
        Ok(Arc::new(Int64Array::from(vec![sum])))
    }
    fn data_type(&self) -> DataType {
        DataType::Int64
    }
    fn fingerprint(&self) -> &str {
        "alternating"
    }
}

/// Upserts, deletions and new rows, some of them the same as before; the third step is empty.
pub(super) fn step(number: usize) -> Vec<(usize, TableInput)> {
    if number == 2 {
        return Vec::new();
    }
    let number = number as i64;
    let keyed: Vec<Row> = (0..9)
        .map(|i| row(&[(i * 5 + number * 3) % 17, i % 4, number]))
        .collect();
    let mut keyed = insert(3, &keyed);
    keyed.weights = (0..9).map(|i| if i % 4 == 3 { -1 } else { 1 }).collect();
    let bag: Vec<Row> = (0..8)
        .map(|i| vec![Some((i + number) % 5), (i > 0).then_some(i)])
        .collect();
    vec![(0, keyed), (1, insert(2, &bag))]
}

/// A step's output, whatever the number of workers and the order of rows.
pub(super) type Said = (
    BTreeMap<usize, BTreeMap<String, i64>>,
    BTreeMap<RelationRef, BTreeMap<String, i64>>,
);

pub(super) fn run(dataflow: &mut Dataflow, number: usize) -> Said {
    let output = dataflow.step(step(number)).unwrap();
    assert_eq!(output.epoch, number as u64);
    let changes = output
        .changes
        .iter()
        .map(|(view, deltas)| (*view, summed(deltas)));
    let contents = output.contents.iter().map(|(relation, snapshots)| {
        let deltas: Vec<Delta> = snapshots
            .iter()
            .flat_map(|part| part.scan().unwrap())
            .collect();
        (*relation, summed(&deltas))
    });
    (
        changes.filter(|(_, rows)| !rows.is_empty()).collect(),
        contents.collect(),
    )
}

pub(super) fn summed(deltas: &[Delta]) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for delta in deltas {
        for (index, weight) in delta.weights().iter().enumerate() {
            *rows
                .entry(format_row(delta.rows().columns(), index))
                .or_default() += weight;
        }
    }
    rows.retain(|_, weight| *weight != 0);
    rows
}

pub(super) fn config(workers: usize) -> DataflowConfig {
    DataflowConfig::in_memory(workers, hasher())
}

#[test]
fn every_kind_of_operator_goes_on_after_a_restart() {
    let plan = Arc::new(every_kind());
    let kinds: BTreeSet<usize> = plan
        .nodes
        .iter()
        .map(|node| kind(&plan, &node.operator).0)
        .collect();
    assert_eq!(
        kinds,
        (0..KINDS).collect(),
        "the plan has every kind of operator"
    );
    let mut whole = Dataflow::start(plan.clone(), config(1)).unwrap();
    let expected: Vec<Said> = (0..STEPS).map(|number| run(&mut whole, number)).collect();
    for (before, after) in [(1, 1), (2, 2), (1, 2), (2, 3), (3, 1), (3, 2)] {
        for cut in 0..2 * STEPS {
            let (cut, through_files) = (cut / 2, cut % 2 == 1);
            let mut first = Dataflow::start(plan.clone(), config(before)).unwrap();
            for (number, expected) in expected.iter().enumerate().take(cut) {
                assert_eq!(
                    &run(&mut first, number),
                    expected,
                    "step {number}, {before} workers"
                );
            }
            let state = first.state().unwrap();
            let contents = all_contents(&first);
            drop(first);
            let folder = tempfile::tempdir().unwrap();
            let state = match through_files {
                true => saved_and_restored(&plan, &state, folder.path()),
                false => state,
            };
            let mut second = Dataflow::restore(plan.clone(), config(after), state).unwrap();
            assert_eq!(all_contents(&second), contents);
            for (number, expected) in expected.iter().enumerate().skip(cut) {
                let context = format!("step {number}, restarted before {cut}, {before} to {after}");
                assert_eq!(&run(&mut second, number), expected, "{context}");
            }
        }
    }
}

/// The state as another process finds it in a folder.
fn saved_and_restored(plan: &Plan, state: &CircuitState, folder: &Path) -> CircuitState {
    let files = Files::new(Arc::new(LocalDisk), folder);
    let state_files = StateFiles {
        files: files.clone(),
        worker: 0,
        cache: BlockCache::new(1 << 20),
        budget: MemoryBudget::new(usize::MAX),
    };
    let (mut expected, mut written) = (0, 0);
    let saved = checkpoint::save(state.clone(), &state_files, &mut |saving| match saving {
        Saving::Expected { memory_bytes } => expected = memory_bytes,
        Saving::Batch { memory_bytes } => expected -= memory_bytes,
        Saving::File { bytes } => written += bytes,
    })
    .unwrap();
    assert_eq!(expected, 0, "what was expected is written");
    assert_eq!(saved.bytes_written, written);
    assert!(
        saved.files.len() <= state.workers.len(),
        "one file per worker"
    );
    let again = checkpoint::save(state.clone(), &state_files, &mut |_| {}).unwrap();
    assert_eq!(again.bytes_written, 0, "all batches have files now");
    assert_eq!(again.workers, saved.workers);
    let known: BTreeMap<String, (u64, Digest)> = saved
        .files
        .iter()
        .map(|file| (file.name().to_owned(), (file.size_bytes(), file.digest())))
        .collect();
    files.set_owned(known.keys().cloned().collect());
    let workers: Vec<SavedWorker> = saved
        .workers
        .iter()
        .map(|worker| SavedWorker::decode(folder, &worker.encode().unwrap()).unwrap())
        .collect();
    let files = Files::new(Arc::new(LocalDisk), folder);
    files.set_owned(known.keys().cloned().collect());
    let mut open = |name: &str| files.open(name, known[name].0, known[name].1);
    let cache = BlockCache::new(1 << 20);
    let restored =
        checkpoint::restore(plan, hasher(), state.epoch, &workers, &cache, &mut open).unwrap();
    assert!(restored.new_operators.is_empty());
    restored.state
}

pub(super) fn all_contents(dataflow: &Dataflow) -> BTreeMap<RelationRef, BTreeMap<String, i64>> {
    let scanned = dataflow.contents().iter().map(|(relation, parts)| {
        let deltas: Vec<Delta> = parts.iter().flat_map(|part| part.scan().unwrap()).collect();
        (*relation, summed(&deltas))
    });
    scanned.collect()
}

#[test]
fn state_has_the_spines_of_the_stateful_operators() {
    fn assert_send<T: Send>(_: &T) {}
    let plan = Arc::new(every_kind());
    let mut dataflow = Dataflow::start(plan.clone(), config(2)).unwrap();
    run(&mut dataflow, 0);
    let state = dataflow.state().unwrap();
    assert_send(&state);
    let stateful = plan
        .nodes
        .iter()
        .filter(|node| kind(&plan, &node.operator).1);
    let expected: BTreeSet<OperatorId> = stateful.map(|node| node.id).collect();
    for worker in &state.workers {
        let found: BTreeSet<OperatorId> = worker.spines.keys().map(|(id, _)| *id).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn state_of_another_plan_or_seed_is_refused() {
    let plan = Arc::new(every_kind());
    let state = Dataflow::start(plan.clone(), config(1))
        .unwrap()
        .state()
        .unwrap();
    let refused = |plan: &Arc<Plan>, config: DataflowConfig, state: CircuitState| {
        matches!(
            Dataflow::restore(plan.clone(), config, state),
            Err(Error::Invalid(_))
        )
    };
    let other_seed = DataflowConfig::in_memory(1, RowHasher::new(12));
    assert!(refused(&plan, other_seed, state.clone()));
    let mut builder = PlanBuilder::new(hasher());
    let table = builder.table("other", &schema(1), vec![0], false, "");
    builder.view("v", table, true);
    assert!(refused(&Arc::new(builder.finish()), config(2), state));
}
