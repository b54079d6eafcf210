//! What checkpoints cost: the stall of steps, the bytes written, the time to come back.
//!
//! Steps of 1,000 changes are due every 10 ms, whether the one before is done or not
//! (open loop), and a step's latency counts from when it was due: a stall cannot hide by delaying what
//! would have measured it. A checkpoint is begun between two steps, inside the loop, and goes on beside
//! the following ones. What it wrote is what the directory has more of afterwards.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::measure::{Engine, latencies};
use crate::options::Options;
use crate::report::Latencies;
use crate::workload::Generator;

const STEP_ROWS: usize = 1_000;
const STEP_INTERVAL: Duration = Duration::from_millis(10);
/// Steps before and between checkpoints.
const QUIET_STEPS: usize = 500;
/// At least this many steps are measured beside a checkpoint: its effects may come behind its end.
const BESIDE_STEPS_MIN: usize = 100;
/// The checkpoint begins before this one of them.
const CHECKPOINT_STEP: usize = 10;
const RESTARTS: usize = 5;
/// Steps behind a restart are described in rounds.
const RESUMED_ROUNDS: usize = 5;
const RESUMED_ROUND: Duration = Duration::from_secs(5);

/// The part of a checkpoint that runs beside steps.
pub type Writing = JoinHandle<Result<(), String>>;

/// Does of a checkpoint what must be done while no step runs, and begins the rest.
pub type Begin<'a, E> = &'a mut dyn FnMut(&mut E) -> Result<Writing, String>;

/// Loads the orders, takes checkpoints in a directory and describes them.
///
/// # Errors
/// If the engine fails, or the directory cannot be read.
pub fn run<E: Engine<Error: Display>>(
    engine: &mut E,
    begin_checkpoint: Begin<'_, E>,
    options: &Options,
    directory: &Path,
) -> Result<String, String> {
    let mut bench = Bench {
        generator: Generator::new(options),
        engine,
        begin_checkpoint,
        directory,
        rows_changed: 0,
        rows_checkpointed: 0,
        report: String::new(),
    };
    bench.load(options)?;
    bench.quiet_steps()?;
    let first = bench.checkpoint("first checkpoint")?;
    bench.quiet_steps()?;
    // The merges of the load are under way at first: the later ones show what is usual.
    for round in 1..=4 {
        // The steps beside the checkpoint before are a part of it.
        let changes = (options.orders / 100) as usize;
        let changes = changes.saturating_sub(BESIDE_STEPS_MIN * STEP_ROWS);
        bench.change(changes, options.load_step_rows)?;
        let name = format!("{round}. change of 1 %");
        let bytes = bench.checkpoint(&name)?;
        let percent = 100.0 * bytes as f64 / first.max(1) as f64;
        let changed = 100.0 * bench.rows_checkpointed as f64 / options.orders as f64;
        bench.tell(&format!(
            "{name}: with the steps since the one before {changed:.1} % of the orders changed, \
             {percent:.1} % of the first checkpoint written"
        ));
    }
    bench.checkpoint_of_nothing()?;
    Ok(bench.report)
}

struct Bench<'a, E> {
    engine: &'a mut E,
    begin_checkpoint: Begin<'a, E>,
    generator: Generator,
    directory: &'a Path,
    /// Orders that were changed since the last checkpoint began, and between the last two.
    rows_changed: usize,
    rows_checkpointed: usize,
    report: String,
}

impl<E: Engine<Error: Display>> Bench<'_, E> {
    fn tell(&mut self, line: &str) {
        self.report.push_str(line);
        self.report.push('\n');
    }

    fn load(&mut self, options: &Options) -> Result<(), String> {
        let customers = self.engine.customers_input(&self.generator.customers());
        self.engine.step(customers).map_err(text)?;
        let rows = options.load_step_rows;
        for start in (0..options.orders).step_by(rows) {
            let count = rows.min((options.orders - start) as usize);
            let input = self.generator.insertions(count);
            let input = self.engine.orders_input(&input);
            self.engine.step(input).map_err(text)?;
        }
        self.tell(&format!("{} orders loaded", options.orders));
        Ok(())
    }

    fn change(&mut self, changes: usize, step_rows: usize) -> Result<(), String> {
        for start in (0..changes).step_by(step_rows) {
            let rows = step_rows.min(changes - start);
            let input = self.generator.changes(rows);
            self.rows_changed += rows;
            let input = self.engine.orders_input(&input);
            self.engine.step(input).map_err(text)?;
        }
        Ok(())
    }

    fn quiet_steps(&mut self) -> Result<(), String> {
        let latencies = self.steps(|_, done| Ok(done < QUIET_STEPS))?;
        self.tell(&line("steps without a checkpoint", &latencies));
        Ok(())
    }

    /// Latencies of steps in an open loop. `before_step` may delay the step that is due, and says
    /// whether there is one.
    fn steps(
        &mut self,
        mut before_step: impl FnMut(&mut Self, usize) -> Result<bool, String>,
    ) -> Result<Vec<Duration>, String> {
        let began = Instant::now();
        let mut latencies = Vec::new();
        loop {
            let due = began + STEP_INTERVAL * latencies.len() as u32;
            let input = self.generator.changes(STEP_ROWS);
            let input = self.engine.orders_input(&input);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if !before_step(self, latencies.len())? {
                return Ok(latencies);
            }
            self.engine.step(input).map_err(text)?;
            self.rows_changed += STEP_ROWS;
            latencies.push(due.elapsed());
        }
    }

    /// One checkpoint beside steps; the bytes of its new files.
    fn checkpoint(&mut self, name: &str) -> Result<u64, String> {
        let before = sizes(self.directory).map_err(text)?;
        let mut writing: Option<(Writing, Instant)> = None;
        let mut frozen = Duration::ZERO;
        let mut took = Duration::ZERO;
        let latencies = self.steps(|bench, done| {
            if done == CHECKPOINT_STEP {
                let began = Instant::now();
                writing = Some(((bench.begin_checkpoint)(bench.engine)?, began));
                frozen = began.elapsed();
                bench.rows_checkpointed = std::mem::take(&mut bench.rows_changed);
            }
            if let Some((writer, began)) = &writing
                && took.is_zero()
                && writer.is_finished()
            {
                took = began.elapsed();
            }
            Ok(done < BESIDE_STEPS_MIN || took.is_zero())
        })?;
        if let Some((writer, _)) = writing {
            writer.join().map_err(|_| "the writer panicked")??;
        }
        self.tell(&line(&format!("steps beside: {name}"), &latencies));
        let now = sizes(self.directory).map_err(text)?;
        let (bytes, files) = new_bytes(&before, &now);
        self.tell(&format!(
            "{name}: frozen {frozen:.0?}, took {took:.2?}, wrote {}; in all {}",
            amount(bytes, files),
            amount(now.values().sum(), now.len())
        ));
        Ok(bytes)
    }

    fn checkpoint_of_nothing(&mut self) -> Result<(), String> {
        let before = sizes(self.directory).map_err(text)?;
        let writer = (self.begin_checkpoint)(self.engine)?;
        writer.join().map_err(|_| "the writer panicked")??;
        let now = sizes(self.directory).map_err(text)?;
        let (bytes, files) = new_bytes(&before, &now);
        self.tell(&format!("nothing changed: wrote {}", amount(bytes, files)));
        Ok(())
    }
}

/// What a process that came back does: one step, whose output it tells.
///
/// # Errors
/// If the engine fails, or puts nothing out.
pub fn first_output<E: Engine<Error: Display>>(
    engine: &mut E,
    options: &Options,
) -> Result<String, String> {
    // The order of id 0 gets another amount: the row of its region comes out.
    let input = Generator::new(options).insertions(1);
    let input = engine.orders_input(&input);
    engine.step(input).map_err(text)?;
    let answers = engine.answers();
    let answer = answers.totals.iter().next();
    let answer = answer.ok_or("the step changed nothing")?;
    Ok(format!("region, count and sum {answer:?}"))
}

/// Steps right behind a restart, in an open loop: what they look up is in files at first.
///
/// # Errors
/// If the engine fails.
pub fn resumed_steps<E: Engine<Error: Display>>(
    engine: &mut E,
    options: &Options,
) -> Result<String, String> {
    let mut generator = Generator::new(options);
    let load_step_rows = options.load_step_rows as u64;
    for start in (0..options.orders).step_by(options.load_step_rows) {
        generator.insertions(load_step_rows.min(options.orders - start) as usize);
    }
    let mut report = String::new();
    for round in 1..=RESUMED_ROUNDS {
        let began = Instant::now();
        let mut latencies = Vec::new();
        while began.elapsed() < RESUMED_ROUND {
            let due = began + STEP_INTERVAL * latencies.len() as u32;
            let input = engine.orders_input(&generator.changes(STEP_ROWS));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            engine.step(input).map_err(text)?;
            latencies.push(due.elapsed());
        }
        let name = format!("after a restart, round {round} of {RESUMED_ROUND:?}");
        report.push_str(&line(&name, &latencies));
        report.push('\n');
    }
    Ok(report)
}

/// Starts processes on the newest checkpoint, each up to its first output, which all must agree on.
///
/// # Errors
/// If one of them fails, or they differ.
pub fn restarts(options: &Options) -> Result<String, String> {
    let mut times = Vec::new();
    let mut answers = Vec::new();
    for _ in 0..RESTARTS {
        let program = std::env::current_exe().map_err(text)?;
        let began = Instant::now();
        let mut command = Command::new(program);
        command.arg("restart").args(options.to_arguments());
        let output = command.stdout(Stdio::piped()).output().map_err(text)?;
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
    Ok(format!(
        "restart, from exec to the first output and exit: {:.0?} (of {RESTARTS}: {:.0?} to {:.0?}); {}",
        times[RESTARTS / 2],
        times[0],
        times[RESTARTS - 1],
        String::from_utf8_lossy(&answers[0]).trim_end()
    ))
}

/// Files in a directory and the ones in it, with their sizes.
fn sizes(directory: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => sizes.extend(self::sizes(&entry.path())?),
            Ok(metadata) => {
                sizes.insert(entry.path(), metadata.len());
            }
            // Engines remove files beside us.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sizes)
}

/// Bytes and number of files that were not there before.
fn new_bytes(before: &BTreeMap<PathBuf, u64>, now: &BTreeMap<PathBuf, u64>) -> (u64, usize) {
    let new = now.iter().filter(|(path, _)| !before.contains_key(*path));
    new.fold((0, 0), |(bytes, files), (_, size)| {
        (bytes + size, files + 1)
    })
}

fn amount(bytes: u64, files: usize) -> String {
    format!("{:.1} MB in {files} files", bytes as f64 / 1e6)
}

fn line(name: &str, durations: &[Duration]) -> String {
    let Latencies {
        steps,
        p50_microseconds,
        p99_microseconds,
        max_microseconds,
        ..
    } = latencies(STEP_ROWS, durations);
    let [p50, p99, max] =
        [p50_microseconds, p99_microseconds, max_microseconds].map(|figure| figure / 1e3);
    format!("{name:<36} {steps:>5} steps: p50 {p50:.2} ms, p99 {p99:.2} ms, max {max:.2} ms")
}

fn text(error: impl Display) -> String {
    error.to_string()
}
