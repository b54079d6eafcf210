//! What checkpoints cost: the stall of steps, the bytes written, the time to come back.
//!
//! Steps of [`STEP_ROWS`] changes are due every [`STEP_INTERVAL`], whether the one before is done or not
//! (open loop), and a step's latency counts from when it was due: a stall cannot hide by delaying what
//! would have measured it. A checkpoint runs beside them as in a pipeline: the snapshot on the thread that
//! steps, everything else on one of its own with the lowest priority.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use highwater_bench::measure::Engine;
use highwater_bench::options::Options;
use highwater_bench::workload::Generator;
use highwater_circuit::checkpoint::{SavedWorker, Saving, restore, save};
use highwater_circuit::dataflow::CircuitState;
use highwater_storage::{CheckpointDetails, LocalDisk, Store, paths};
use highwater_zset::{BlockCache, MemoryBudget, RowHasher, StateFiles, yield_to_steps};

use crate::engine::{Highwater, compiled};

const STEP_ROWS: usize = 1_000;
const STEP_INTERVAL: Duration = Duration::from_millis(10);
/// Steps before and between checkpoints.
const QUIET_STEPS: usize = 500;
/// At least this many steps are measured beside a checkpoint: its effects may come behind its end.
const BESIDE_STEPS_MIN: usize = 100;
/// Where the child keeps what it must know besides the circuit's state.
const EPOCH_FILE: &str = "z1-epoch.dat";

/// Runs the workload on `options.storage` and describes it.
pub(crate) fn run(options: &Options) -> Result<String, String> {
    let root = options
        .storage
        .as_deref()
        .ok_or("checkpoint needs --storage DIRECTORY")?;
    let store = Store::open(Arc::new(LocalDisk), Path::new(root)).map_err(text)?;
    let state_files = StateFiles {
        files: store.files().clone(),
        worker: 0,
        cache: BlockCache::new(256 << 20),
        budget: MemoryBudget::new(usize::MAX),
    };
    let mut engine = Highwater::start_on(options, Some(state_files.clone()))?;
    let mut generator = Generator::new(options);
    let customers = engine.customers_input(&generator.customers());
    engine.step(customers)?;
    let rows = options.load_step_rows;
    for start in (0..options.orders).step_by(rows) {
        let count = rows.min((options.orders - start) as usize);
        let input = engine.orders_input(&generator.insertions(count));
        engine.step(input)?;
    }
    let mut report = format!("{} orders loaded\n", options.orders);
    let mut bench = Bench {
        engine,
        generator,
        store,
        state_files,
    };
    report.push_str(&line(
        "steps without a checkpoint",
        &bench.steps(QUIET_STEPS)?,
    ));
    let first = bench.checkpoint(&mut report, "first checkpoint")?;
    report.push_str(&line(
        "steps without a checkpoint",
        &bench.steps(QUIET_STEPS)?,
    ));
    // The merges of the load are under way at first: the later ones show what is usual.
    for round in 1..=4 {
        bench.change((options.orders / 100) as usize, rows)?;
        let name = format!("{round}. change of 1 %");
        let bytes = bench.checkpoint(&mut report, &name)?;
        report.push_str(&format!(
            "{name}: wrote {:.2} % of the first checkpoint\n",
            100.0 * bytes as f64 / first as f64
        ));
    }
    let state = bench.engine.state()?;
    let unchanged = save(state, &bench.state_files, &mut |_| {}).map_err(text)?;
    report.push_str(&format!(
        "nothing changed: {} bytes to write\n",
        unchanged.bytes_written
    ));
    let files = bench.store.usage().map_err(text)?;
    let bytes = files
        .checkpoints
        .iter()
        .map(|usage| usage.total_bytes)
        .max();
    report.push_str(&format!(
        "files of the larger checkpoint: {:.1} MB\n",
        bytes.unwrap_or_default() as f64 / 1e6
    ));
    drop((bench, unchanged));
    report.push_str(&restarts(options)?);
    Ok(report)
}

struct Bench {
    engine: Highwater,
    generator: Generator,
    store: Store,
    state_files: StateFiles,
}

impl Bench {
    fn change(&mut self, changes: usize, step_rows: usize) -> Result<(), String> {
        for start in (0..changes).step_by(step_rows) {
            let input = self.generator.changes(step_rows.min(changes - start));
            let input = self.engine.orders_input(&input);
            self.engine.step(input)?;
        }
        Ok(())
    }

    /// Latencies of steps in an open loop.
    fn steps(&mut self, count: usize) -> Result<Vec<Duration>, String> {
        self.steps_while(|done| done < count)
    }

    fn steps_while(
        &mut self,
        mut goes_on: impl FnMut(usize) -> bool,
    ) -> Result<Vec<Duration>, String> {
        let began = Instant::now();
        let mut latencies = Vec::new();
        while goes_on(latencies.len()) {
            let due = began + STEP_INTERVAL * latencies.len() as u32;
            let input = self.engine.orders_input(&self.generator.changes(STEP_ROWS));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.engine.step(input)?;
            latencies.push(due.elapsed());
        }
        Ok(latencies)
    }

    /// One checkpoint beside steps; the bytes of its new files.
    fn checkpoint(&mut self, report: &mut String, name: &str) -> Result<u64, String> {
        let began = Instant::now();
        let state = self.engine.state()?;
        let frozen = began.elapsed();
        let writer = publish(self.store.clone(), self.state_files.clone(), state);
        let latencies =
            self.steps_while(|done| done < BESIDE_STEPS_MIN || !writer.is_finished())?;
        let (bytes, files, took) = writer.join().map_err(|_| "the writer panicked")??;
        report.push_str(&line(&format!("steps beside: {name}"), &latencies));
        report.push_str(&format!(
            "{name}: frozen {frozen:.0?}, took {took:.2?}, wrote {:.1} MB in {files} files\n",
            bytes as f64 / 1e6
        ));
        Ok(bytes)
    }
}

type Published = Result<(u64, u64, Duration), String>;

fn publish(store: Store, state_files: StateFiles, state: CircuitState) -> JoinHandle<Published> {
    std::thread::spawn(move || {
        yield_to_steps();
        let began = Instant::now();
        let mut checkpoint = store.begin().map_err(text)?;
        let mut files = 0;
        let mut count = |saving| files += u64::from(matches!(saving, Saving::File { .. }));
        let epoch = state.epoch.to_le_bytes();
        let saved = save(state, &state_files, &mut count).map_err(text)?;
        for (number, worker) in saved.workers.iter().enumerate() {
            let bytes = worker.encode().map_err(text)?;
            checkpoint
                .write_state(&paths::worker_state(number), &bytes)
                .map_err(text)?;
        }
        checkpoint.write_state(EPOCH_FILE, &epoch).map_err(text)?;
        saved
            .files
            .into_iter()
            .for_each(|file| checkpoint.refer(file));
        let details = CheckpointDetails {
            retain: 2,
            ..CheckpointDetails::default()
        };
        checkpoint.publish(details).map_err(text)?;
        Ok((saved.bytes_written, files, began.elapsed()))
    })
}

/// Starts processes on the newest checkpoint, each up to its first output.
fn restarts(options: &Options) -> Result<String, String> {
    let mut times = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..5 {
        let program = std::env::current_exe().map_err(text)?;
        let began = Instant::now();
        let mut command = Command::new(program);
        command
            .arg("restart")
            .args(options.to_arguments())
            .stdout(Stdio::piped());
        let output = command.output().map_err(text)?;
        times.push(began.elapsed());
        if !output.status.success() {
            return Err("a restart failed".to_owned());
        }
        answers.push(output.stdout);
    }
    if answers.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err("restarts differ in their output".to_owned());
    }
    times.sort_unstable();
    let told = String::from_utf8_lossy(&answers[0]).into_owned();
    Ok(format!(
        "restart, from exec to the first output and exit: {:.0?} (of 5: {:.0?} to {:.0?}); {told}",
        times[2], times[0], times[4]
    ))
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
    let state_files = StateFiles {
        files: store.files().clone(),
        worker: 0,
        cache: BlockCache::new(256 << 20),
        budget: MemoryBudget::new(usize::MAX),
    };
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

fn line(name: &str, latencies: &[Duration]) -> String {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |fraction: f64| sorted[((sorted.len() - 1) as f64 * fraction) as usize];
    format!(
        "{name:<40} {:>6} steps: p50 {:.2?}, p99 {:.2?}, max {:.2?}\n",
        sorted.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
