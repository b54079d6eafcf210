//! The orders workload on the `dbsp` crate, written as its own SQL compiler would lay it out:
//! upsert inputs by primary key, one join whose output is shared, a linear aggregate, and a count of
//! distinct values.
//!
//! The allocator is mimalloc, as in the products that are built on it.

mod checkpoint;

use std::error::Error;
use std::process::ExitCode;

use dbsp::circuit::{CircuitConfig, CircuitStorageConfig};
use dbsp::mimalloc::MiMalloc;
use dbsp::operator::{MapHandle, Update};
use dbsp::typed_batch::SpineSnapshot;
use dbsp::utils::Tup2;
use dbsp::{
    DBSPHandle, IndexedZSetReader, OrdIndexedZSet, OutputHandle, RootCircuit, Runtime, ZWeight,
};
use feldera_types::config::{StorageCacheConfig, StorageConfig, StorageOptions};
use highwater_bench::measure::{self, Engine};
use highwater_bench::options::Options;
use highwater_bench::workload::{Answers, Customers, OrderChanges};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

type CustomerAndAmount = Tup2<i64, i64>;
type CountAndSum = Tup2<ZWeight, i64>;
type Output<V> = OutputHandle<SpineSnapshot<OrdIndexedZSet<i64, V>>>;

enum Input {
    Customers(Vec<Tup2<i64, Update<i64, i64>>>),
    Orders(Vec<Tup2<i64, Update<CustomerAndAmount, CustomerAndAmount>>>),
}

struct Handles {
    customers: MapHandle<i64, i64, i64>,
    orders: MapHandle<i64, CustomerAndAmount, CustomerAndAmount>,
    totals: Output<CountAndSum>,
    buyers: Output<ZWeight>,
}

struct Dbsp {
    circuit: DBSPHandle,
    handles: Handles,
    answers: Answers,
}

fn build(circuit: &mut RootCircuit) -> Handles {
    let (customers, customers_handle) =
        circuit.add_input_map::<i64, i64, i64, _>(|region, update| *region = *update);
    let (orders, orders_handle) = circuit
        .add_input_map::<i64, CustomerAndAmount, CustomerAndAmount, _>(|order, update| {
            *order = *update;
        });
    let by_region = orders
        .map_index(|(_, Tup2(customer, amount))| (*customer, *amount))
        .join_index(&customers, |customer, amount, region| {
            Some((*region, Tup2(*customer, *amount)))
        });
    let totals = by_region.aggregate_linear(|Tup2(_, amount)| Tup2(1, *amount));
    let buyers = by_region
        .map_index(|(region, Tup2(customer, _))| (*region, *customer))
        .distinct_count();
    Handles {
        customers: customers_handle,
        orders: orders_handle,
        totals: totals.accumulate_output(),
        buyers: buyers.accumulate_output(),
    }
}

impl Dbsp {
    /// Anew, or from a checkpoint in its storage.
    fn start(options: &Options, checkpoint: Option<Uuid>) -> Result<Self, Box<dyn Error>> {
        let mut config = CircuitConfig::with_workers(options.workers);
        if let Some(path) = &options.storage {
            let place = StorageConfig {
                path: path.clone(),
                cache: StorageCacheConfig::default(),
            };
            let storage = CircuitStorageConfig::for_config(place, StorageOptions::default())?;
            config = config.with_storage(Some(storage.with_init_checkpoint(checkpoint)));
        }
        let (circuit, handles) = Runtime::init_circuit(config, |circuit| Ok(build(circuit)))?;
        Ok(Self {
            circuit,
            handles,
            answers: Answers::default(),
        })
    }
}

impl Engine for Dbsp {
    type Input = Input;
    type Error = dbsp::Error;

    fn customers_input(&self, customers: &Customers) -> Input {
        let rows = customers.ids.iter().zip(&customers.regions);
        Input::Customers(
            rows.map(|(id, region)| Tup2(*id, Update::Insert(*region)))
                .collect(),
        )
    }

    fn orders_input(&self, changes: &OrderChanges) -> Input {
        let update = |row: usize| {
            if changes.is_deletion[row] {
                return Update::Delete;
            }
            Update::Insert(Tup2(changes.customers[row], changes.amounts[row]))
        };
        Input::Orders(
            (0..changes.len())
                .map(|row| Tup2(changes.ids[row], update(row)))
                .collect(),
        )
    }

    fn step(&mut self, input: Input) -> Result<(), dbsp::Error> {
        match input {
            Input::Customers(mut rows) => self.handles.customers.append(&mut rows),
            Input::Orders(mut rows) => self.handles.orders.append(&mut rows),
        }
        self.circuit.transaction()?;
        let totals = self.handles.totals.concat().consolidate();
        for (region, Tup2(count, sum), weight) in totals.iter() {
            if weight > 0 {
                self.answers.totals.insert(region, (count, sum));
            }
        }
        let buyers = self.handles.buyers.concat().consolidate();
        for (region, count, weight) in buyers.iter() {
            if weight > 0 {
                self.answers.buyers.insert(region, count);
            }
        }
        Ok(())
    }

    /// No region ever becomes empty in this workload, so replacing is enough.
    fn answers(&self) -> Answers {
        self.answers.clone()
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments.first().map(String::as_str) {
        Some("checkpoint" | "restart") => arguments.remove(0),
        _ => String::new(),
    };
    let options = Options::parse(arguments)?;
    match command.as_str() {
        "checkpoint" => println!("{}", checkpoint::run(&options)?),
        "restart" => println!("{}", checkpoint::restart(&options)?),
        _ => measure(&options)?,
    }
    Ok(())
}

fn measure(options: &Options) -> Result<(), Box<dyn Error>> {
    let name = match &options.storage {
        Some(_) => "dbsp, storage on",
        None => "dbsp, in memory",
    };
    let mut engine = Dbsp::start(options, None)?;
    let report = measure::run(name, &mut engine, options)?;
    println!("{}", report.to_line());
    engine
        .circuit
        .kill()
        .map_err(|_| "a worker panicked".into())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dbsp-orders: {error}");
            ExitCode::FAILURE
        }
    }
}
