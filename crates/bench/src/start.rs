//! How long a pipeline takes from SQL text to the end of its first step.

use std::time::{Duration, Instant};

use highwater_circuit::dataflow::{Dataflow, DataflowConfig};
use highwater_sql::{CompileOptions, compile};
use highwater_zset::RowHasher;

const REPETITIONS: usize = 50;

/// The flights example: five tables, a function, eleven views.
const PROGRAM: &str = include_str!("../../../examples/flights/flights.sql");

/// Measures the first start of the process and the following ones.
pub(crate) fn run() -> Result<String, String> {
    let first = start()?;
    let mut later = Vec::new();
    for _ in 0..REPETITIONS {
        later.push(start()?);
    }
    later.sort_unstable_by_key(|(compiled, stepped)| *compiled + *stepped);
    Ok(format!(
        "SQL text to the end of the first step, {} lines of SQL, 1 worker\n  first in the process  {}\n  median of {REPETITIONS} more    {}",
        PROGRAM.lines().count(),
        describe(first),
        describe(later[REPETITIONS / 2]),
    ))
}

fn describe((compiled, stepped): (Duration, Duration)) -> String {
    format!(
        "{:.1} ms (compile {:.1}, start and step {:.1})",
        (compiled + stepped).as_secs_f64() * 1e3,
        compiled.as_secs_f64() * 1e3,
        stepped.as_secs_f64() * 1e3,
    )
}

/// Time to compile; time to start the workers and do a step without input.
fn start() -> Result<(Duration, Duration), String> {
    let begin = Instant::now();
    let hasher = RowHasher::new(1);
    let program =
        compile(PROGRAM, &CompileOptions { hasher }).map_err(|errors| format!("{errors:#?}"))?;
    let compiled = begin.elapsed();
    let config = DataflowConfig::in_memory(1, hasher);
    let mut dataflow =
        Dataflow::start(program.plan.clone(), config).map_err(|error| error.to_string())?;
    dataflow
        .step(Vec::new())
        .map_err(|error| error.to_string())?;
    Ok((compiled, begin.elapsed() - compiled))
}
