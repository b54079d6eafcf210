//! The "orders" workload without SQL: orders joined with customers, two views per region, loaded in
//! steps of 100,000 rows, then changed in steps of 1, 1,000 and 100,000 rows.
//!
//!     cargo run --release -p highwater-circuit --example orders -- [workers] [orders] [check] [profile] [load] [small] [middle] [large]
//!
//! `check` compares the views with a plain recomputation at the end (it needs memory of its own);
//! `profile` prints the time that each operator took; `load`, `small`, `middle` and `large` choose
//! sizes of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use highwater_circuit::builder::{JoinOptions, PlanBuilder};
use highwater_circuit::dataflow::{Dataflow, DataflowConfig, RelationRef};
use highwater_circuit::plan::{
    AggregateCall, AggregateSpec, LinearCall, LinearFunction, Plan, SetOperation,
};
use highwater_circuit::table_input::TableInput;
use highwater_zset::RowHasher;

const CUSTOMERS: i64 = 1_000_000;
const REGIONS: i64 = 100;
const STEP_ROWS: usize = 100_000;
/// Steps in flight while loading.
const PIPELINED: u64 = 2;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |position: usize, default: usize| {
        arguments
            .iter()
            .filter_map(|argument| argument.parse().ok())
            .nth(position)
            .unwrap_or(default)
    };
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (workers, orders) = (number(0, 1), number(1, 10_000_000));
    let mut run = Run::start(workers, has("check"), has("profile"))?;
    run.load(orders)?;
    for (name, rows, steps) in [
        ("small", 1, 20_000),
        ("middle", 1_000, 500),
        ("large", 100_000, 30),
    ] {
        // Without a choice all sizes are run.
        if has(name) || !["small", "middle", "large", "load"].into_iter().any(has) {
            run.change(rows, steps)?;
        }
    }
    run.verify()
}

struct Run {
    dataflow: Dataflow,
    random: Random,
    next_order: i64,
    /// Order to (customer, amount), for the check.
    reference: Option<BTreeMap<i64, (i64, i64)>>,
    profiles: bool,
}

impl Run {
    fn start(workers: usize, checks: bool, profiles: bool) -> Result<Self> {
        let hasher = RowHasher::new(0x5eed);
        let config = DataflowConfig::in_memory(workers, hasher);
        let began = Instant::now();
        let dataflow = Dataflow::start(Arc::new(plan(hasher)), config)?;
        println!("{workers} worker(s), started in {:?}", began.elapsed());
        dataflow.measure_time(profiles);
        let reference = checks.then(BTreeMap::new);
        Ok(Self {
            dataflow,
            random: Random(1),
            next_order: 0,
            reference,
            profiles,
        })
    }

    fn load(&mut self, orders: usize) -> Result<()> {
        let began = Instant::now();
        for first in (0..CUSTOMERS).step_by(STEP_ROWS) {
            let ids: Vec<i64> = (first..first + STEP_ROWS as i64).collect();
            let regions = ids.iter().map(|&id| region(id)).collect();
            self.dataflow.step(vec![(
                1,
                TableInput::insertions(batch(&["id", "region"], vec![ids, regions])),
            )])?;
        }
        let customers = began.elapsed();
        // Making the input is not the engine's work: its time is taken off.
        let mut making = Duration::ZERO;
        let began = Instant::now();
        for _ in (0..orders).step_by(STEP_ROWS) {
            let made = Instant::now();
            let input = self.new_orders(STEP_ROWS);
            making += made.elapsed();
            self.dataflow.submit(vec![(0, input)])?;
            if self.dataflow.steps_in_flight() >= PIPELINED {
                self.dataflow.receive()?;
            }
        }
        while self.dataflow.steps_in_flight() > 0 {
            self.dataflow.receive()?;
        }
        let loading = began.elapsed();
        println!(
            "load: {CUSTOMERS} customers in {customers:.2?}; {orders} orders in {loading:.2?} = {:.0} rows/s ({making:.2?} of it making input), RSS {} MiB",
            orders as f64 / loading.as_secs_f64(),
            resident_mebibytes(),
        );
        println!("    CPU seconds by thread: {}", thread_seconds());
        self.profile()
    }

    /// Takes `steps` steps of `rows` changes: 4 of 10 update, 3 insert, 3 delete.
    fn change(&mut self, rows: usize, steps: usize) -> Result<()> {
        let mut latencies = Vec::with_capacity(steps);
        for _ in 0..steps {
            let input = self.changes(rows);
            let began = Instant::now();
            self.dataflow.step(vec![(0, input)])?;
            latencies.push(began.elapsed());
        }
        latencies.sort_unstable();
        println!(
            "{rows} rows per step: p10 {:.1?}, p50 {:.1?}, p99 {:.1?}, max {:.1?}, RSS {} MiB",
            latencies[steps / 10],
            latencies[steps / 2],
            latencies[steps * 99 / 100],
            latencies[steps - 1],
            resident_mebibytes(),
        );
        println!("    CPU seconds by thread: {}", thread_seconds());
        self.profile()
    }

    fn new_orders(&mut self, rows: usize) -> TableInput {
        let ids: Vec<i64> = (self.next_order..self.next_order + rows as i64).collect();
        self.next_order += rows as i64;
        let customers: Vec<i64> = ids.iter().map(|_| self.random.below(CUSTOMERS)).collect();
        let amounts: Vec<i64> = ids.iter().map(|_| self.random.below(1000)).collect();
        let weights = vec![1; rows];
        self.input(ids, customers, amounts, weights)
    }

    fn changes(&mut self, rows: usize) -> TableInput {
        let (mut ids, mut weights) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        for _ in 0..rows {
            let kind = self.random.below(10);
            weights.push(if kind < 7 { 1 } else { -1 });
            ids.push(if (4..7).contains(&kind) {
                self.next_order += 1;
                self.next_order - 1
            } else {
                self.random.below(self.next_order)
            });
        }
        let customers: Vec<i64> = ids.iter().map(|_| self.random.below(CUSTOMERS)).collect();
        let amounts: Vec<i64> = ids.iter().map(|_| self.random.below(1000)).collect();
        self.input(ids, customers, amounts, weights)
    }

    fn input(
        &mut self,
        ids: Vec<i64>,
        customers: Vec<i64>,
        amounts: Vec<i64>,
        weights: Vec<i64>,
    ) -> TableInput {
        if let Some(reference) = &mut self.reference {
            for index in 0..ids.len() {
                if weights[index] > 0 {
                    reference.insert(ids[index], (customers[index], amounts[index]));
                } else {
                    reference.remove(&ids[index]);
                }
            }
        }
        let rows = batch(&["id", "customer", "amount"], vec![ids, customers, amounts]);
        TableInput {
            rows,
            weights: weights.into(),
            partial: None,
        }
    }

    fn profile(&self) -> Result<()> {
        if self.profiles {
            for operator in self.dataflow.statistics()? {
                println!(
                    "    {:32} {:>9.1?} {:>9} steps {:>9} rows out; state {:>9} rows {:>5} MiB in {:>2} batches",
                    operator.label,
                    operator.busy,
                    operator.steps,
                    operator.rows_out,
                    operator.state_rows,
                    operator.state_bytes >> 20,
                    operator.state_batches,
                );
            }
        }
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        let Some(reference) = &self.reference else {
            return Ok(());
        };
        let mut totals: BTreeMap<i64, (i64, i64, BTreeSet<i64>)> = BTreeMap::new();
        for &(customer, amount) in reference.values() {
            let (count, sum, customers) = totals.entry(region(customer)).or_default();
            *count += 1;
            *sum += amount;
            customers.insert(customer);
        }
        let sums = totals
            .iter()
            .map(|(region, total)| vec![*region, total.0, total.1]);
        let distinct = totals
            .iter()
            .map(|(region, total)| vec![*region, total.2.len() as i64]);
        assert_eq!(self.contents(0)?, sums.collect::<Vec<_>>());
        assert_eq!(self.contents(1)?, distinct.collect::<Vec<_>>());
        println!(
            "views equal a recomputation over {} orders",
            reference.len()
        );
        Ok(())
    }

    fn contents(&self, view: usize) -> Result<Vec<Vec<i64>>> {
        let mut found = Vec::new();
        for snapshot in &self.dataflow.contents()[&RelationRef::View(view)] {
            for delta in snapshot.scan()? {
                assert!(delta.weights().iter().all(|&weight| weight == 1));
                let columns: Vec<&Int64Array> = delta
                    .rows()
                    .columns()
                    .iter()
                    .map(|column| column.as_primitive::<Int64Type>())
                    .collect();
                found.extend((0..delta.len()).map(|row| {
                    columns
                        .iter()
                        .map(|column| column.value(row))
                        .collect::<Vec<i64>>()
                }));
            }
        }
        found.sort();
        Ok(found)
    }
}

fn plan(hasher: RowHasher) -> Plan {
    let mut builder = PlanBuilder::new(hasher);
    let orders = builder.table(
        "orders",
        &schema(&["id", "customer", "amount"]),
        vec![0],
        false,
        "",
    );
    let customers = builder.table("customers", &schema(&["id", "region"]), vec![0], false, "");
    builder.set_owner("joined");
    let orders = builder.select(orders, &[1, 2]);
    let options = JoinOptions {
        residual: None,
        output: Some(vec![3, 1, 0]),
    };
    let joined = builder.join(orders, customers, &[(0, 0)], options);
    builder.set_owner("totals");
    let sum = LinearFunction::Sum {
        argument: DataType::Int64,
        result: DataType::Int64,
    };
    let calls = [(LinearFunction::Count, None), (sum, Some(1))];
    let totals = aggregate(&mut builder, joined, &calls);
    builder.view("totals", totals, true);
    builder.set_owner("distinct");
    let pairs = builder.select(joined, &[0, 2]);
    let pairs = builder.set_operation(SetOperation::Distinct, &[pairs]);
    let distinct = aggregate(&mut builder, pairs, &[(LinearFunction::Count, Some(1))]);
    builder.view("distinct", distinct, true);
    builder.finish()
}

/// Aggregates by the first column.
fn aggregate(
    builder: &mut PlanBuilder,
    input: highwater_circuit::plan::NodeIndex,
    calls: &[(LinearFunction, Option<usize>)],
) -> highwater_circuit::plan::NodeIndex {
    let linear = calls.iter().map(|(function, argument)| LinearCall {
        function: function.clone(),
        argument: *argument,
    });
    let partial = builder.partial_aggregate(input, vec![0], linear.collect());
    let finals = calls
        .iter()
        .enumerate()
        .map(|(call, (function, _))| AggregateCall::Linear {
            input: 0,
            call,
            function: function.clone(),
        });
    let spec = AggregateSpec {
        group_columns: 1,
        calls: finals.collect(),
        is_global: false,
    };
    let names: Vec<String> = (0..calls.len()).map(|call| format!("a{call}")).collect();
    builder.aggregate(vec![partial], spec, &names)
}

fn schema(names: &[&str]) -> SchemaRef {
    let field = |name: &&str| Field::new(*name, DataType::Int64, true);
    Arc::new(Schema::new(names.iter().map(field).collect::<Vec<_>>()))
}

fn batch(names: &[&str], columns: Vec<Vec<i64>>) -> RecordBatch {
    let columns = columns
        .into_iter()
        .map(|values| Arc::new(Int64Array::from(values)) as ArrayRef);
    RecordBatch::try_new(schema(names), columns.collect()).expect("as many columns as names")
}

fn region(customer: i64) -> i64 {
    (customer.wrapping_mul(0x9E37_79B9) >> 7).rem_euclid(REGIONS)
}

/// SplitMix64: deterministic and fast.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: i64) -> i64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        ((u128::from(mixed) * bound as u128) >> 64) as i64
    }
}

/// What each thread has used so far: tells the worker from its merges, also on a busy machine.
fn thread_seconds() -> String {
    let mut threads = Vec::new();
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, stat) = (read("comm"), read("stat"));
        // After the name: state is field 0, user and system ticks (of 10 ms) are fields 11 and 12.
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        threads.push(format!("{} {:.2}", name.trim(), ticks as f64 / 100.0));
    }
    threads.sort();
    threads.join(", ")
}

fn resident_mebibytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1024
}
