//! Highwater's side of the benchmark of checkpoints: as in a pipeline, the snapshot on the thread that
//! steps, everything else on one of its own with the lowest priority.

use std::path::Path;
use std::sync::Arc;

use highwater_bench::checkpoints::{self, Checkpoints, Writing};
use highwater_bench::measure::Engine;
use highwater_bench::options::Options;
use highwater_bench::workload::{Answers, Customers, Generator, OrderChanges};
use highwater_circuit::checkpoint::{SavedWorker, restore, save};
use highwater_circuit::dataflow::CircuitState;
use highwater_storage::{CheckpointDetails, LocalDisk, Store, paths};
use highwater_zset::{BlockCache, MemoryBudget, RowHasher, StateFiles, yield_to_steps};

use crate::engine::{Highwater, compiled};

/// Where the child keeps what it must know besides the circuit's state.
const EPOCH_FILE: &str = "z1-epoch.dat";

/// Runs the workload on `options.storage` and describes it.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let root = options
        .storage
        .as_deref()
        .ok_or("checkpoint needs --storage DIRECTORY")?;
    let store = Store::open(Arc::new(LocalDisk), Path::new(root)).map_err(text)?;
    let state_files = state_files(&store);
    let mut engine = Durable {
        engine: Highwater::start_on(options, Some(state_files.clone()))?,
        store,
        state_files,
    };
    let mut report = checkpoints::run(&mut engine, options, Path::new(root))?;
    // Its lock must go before the children come.
    drop(engine);
    report.push_str(&checkpoints::restarts(options)?);
    Ok(report)
}

fn state_files(store: &Store) -> StateFiles {
    StateFiles {
        files: store.files().clone(),
        worker: 0,
        cache: BlockCache::new(256 << 20),
        budget: MemoryBudget::new(usize::MAX),
    }
}

/// The dataflow with its storage root.
struct Durable {
    engine: Highwater,
    store: Store,
    state_files: StateFiles,
}

impl Engine for Durable {
    type Input = <Highwater as Engine>::Input;
    type Error = String;

    fn customers_input(&self, customers: &Customers) -> Self::Input {
        self.engine.customers_input(customers)
    }

    fn orders_input(&self, changes: &OrderChanges) -> Self::Input {
        self.engine.orders_input(changes)
    }

    fn step(&mut self, input: Self::Input) -> Result<(), String> {
        self.engine.step(input)
    }

    fn answers(&self) -> Answers {
        self.engine.answers()
    }
}

impl Checkpoints for Durable {
    fn begin_checkpoint(&mut self) -> Result<Writing, String> {
        let state = self.engine.state()?;
        let (store, state_files) = (self.store.clone(), self.state_files.clone());
        Ok(std::thread::spawn(move || {
            yield_to_steps();
            publish(&store, &state_files, state)
        }))
    }
}

fn publish(store: &Store, state_files: &StateFiles, state: CircuitState) -> Result<(), String> {
    let mut checkpoint = store.begin().map_err(text)?;
    let epoch = state.epoch.to_le_bytes();
    let saved = save(state, state_files, &mut |_| {}).map_err(text)?;
    for (number, worker) in saved.workers.iter().enumerate() {
        let bytes = worker.encode().map_err(text)?;
        let name = paths::worker_state(number);
        checkpoint.write_state(&name, &bytes).map_err(text)?;
    }
    checkpoint.write_state(EPOCH_FILE, &epoch).map_err(text)?;
    for file in saved.files {
        checkpoint.refer(file);
    }
    let details = CheckpointDetails {
        retain: 2,
        ..CheckpointDetails::default()
    };
    checkpoint.publish(details).map_err(text)?;
    Ok(())
}

/// The child: one step on the newest checkpoint.
pub(crate) fn restart(options: &Options) -> Result<String, String> {
    let root = options
        .storage
        .as_deref()
        .ok_or("restart needs --storage DIRECTORY")?;
    let store = Store::open(Arc::new(LocalDisk), Path::new(root)).map_err(text)?;
    let saved = store
        .newest_usable()
        .map_err(text)?
        .checkpoint
        .ok_or("there is no checkpoint")?;
    let state_files = state_files(&store);
    let mut workers = Vec::new();
    for number in 0..options.workers {
        let name = paths::worker_state(number);
        let bytes = saved.state(&name).map_err(text)?;
        workers.push(SavedWorker::decode(Path::new(&name), &bytes).map_err(text)?);
    }
    let epoch = saved.state(EPOCH_FILE).map_err(text)?;
    let epoch = u64::from_le_bytes(epoch.try_into().map_err(|_| "a bad epoch")?);
    let program = compiled(options)?;
    let hasher = RowHasher::new(options.seed);
    let mut open = |name: &str| saved.open_batch(name);
    let cache = state_files.cache.clone();
    let restored =
        restore(&program.plan, hasher, epoch, &workers, &cache, &mut open).map_err(text)?;
    let mut engine = Highwater::restore(options, &program, state_files, restored.state)?;
    let mut generator = Generator::new(options);
    // The order of id 0 gets another amount: the row of its region comes out.
    let input = engine.orders_input(&generator.insertions(1));
    engine.step(input)?;
    let answers = engine.answers();
    let answer = answers
        .totals
        .iter()
        .next()
        .ok_or("the step changed nothing")?;
    Ok(format!("region, count and sum {answer:?}"))
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
