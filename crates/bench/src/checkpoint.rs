//! Highwater's side of the benchmark of checkpoints: as in a pipeline, the snapshot on the thread that
//! steps, everything else on one of its own with the lowest priority.

use std::path::Path;
use std::sync::Arc;

use highwater_bench::checkpoints;
use highwater_bench::options::Options;
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
    let mut engine = Highwater::start_on(options, Some(state_files.clone()))?;
    let mut begin = |engine: &mut Highwater| {
        let state = engine.state()?;
        let (store, state_files) = (store.clone(), state_files.clone());
        Ok(std::thread::spawn(move || {
            yield_to_steps();
            publish(&store, &state_files, state)
        }))
    };
    let mut report = checkpoints::run(&mut engine, &mut begin, options, Path::new(root))?;
    // Its lock must go before the children come.
    drop((engine, store, state_files));
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
    checkpoints::first_output(&mut restored(options)?, options)
}

/// Goes on from the newest checkpoint, as long as what is asked for comes into memory.
pub(crate) fn resume(options: &Options) -> Result<String, String> {
    checkpoints::resumed_steps(&mut restored(options)?, options)
}

/// An engine that has the newest checkpoint.
fn restored(options: &Options) -> Result<Highwater, String> {
    let root = options
        .storage
        .as_deref()
        .ok_or("going on needs --storage DIRECTORY")?;
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
    Highwater::restore(options, &program, state_files, restored.state)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
