//! Runs the orders workload on several engines, one after the other, each in its own process, checks
//! that all have the same answers, and prints a table with the ratios.
//!
//! Highwater is `crates/bench` of the main workspace, built with the profile that users get; `dbsp` is
//! the sibling package `dbsp-orders`; DuckDB and DataFusion recompute the views from the final tables
//! through their Python packages (`recompute.py`), which is what an update would cost without an
//! incremental engine.

mod engines;
mod rounds;
mod table;

use std::error::Error;
use std::process::ExitCode;

use highwater_bench::measure;
use highwater_bench::options::Options;

use engines::{Engine, Final, Outcome};

const USAGE: &str = "usage: cargo run --release -- checkpoint [OPTIONS]
  what checkpoints cost, on highwater and on dbsp
usage: cargo run --release -- orders [--engines NAME,…] [OPTIONS]
  --engines highwater,dbsp,dbsp-storage,duckdb,datafusion (all)  --workers LIST (1,2)
  --rounds N (3): runs of each, of which the median of each figure is shown";

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Vec<String>) -> Result<()> {
    if arguments.first().map(String::as_str) == Some("checkpoint") {
        return checkpoints(&Options::parse(arguments.split_off(1))?);
    }
    if arguments.first().map(String::as_str) != Some("orders") {
        return Err(format!("{USAGE}\n  {}", highwater_bench::options::USAGE).into());
    }
    arguments.remove(0);
    let engines = match take_list(&mut arguments, "--engines")? {
        Some(names) => names.iter().map(|name| Engine::from_name(name)).collect(),
        None => Ok(Engine::ALL.to_vec()),
    }?;
    let workers = match take_list(&mut arguments, "--workers")? {
        Some(counts) => counts.iter().map(|count| count.parse()).collect(),
        None => Ok(vec![1, 2]),
    }?;
    let rounds = match take_list(&mut arguments, "--rounds")? {
        Some(counts) => counts.concat().parse()?,
        None => 3,
    };
    let options = Options::parse(arguments)?;

    for engine in &engines {
        engine.build()?;
    }
    let outcomes = outcomes(&engines, &workers, rounds, &options)?;
    println!("{}", table::render(&outcomes));
    Ok(())
}

fn checkpoints(options: &Options) -> Result<()> {
    let engines = [Engine::Highwater, Engine::Dbsp { storage: true }];
    for engine in engines {
        engine.build()?;
    }
    for engine in engines {
        println!("== {}\n{}", engine.name(), engine.checkpoints(options)?);
    }
    Ok(())
}

fn outcomes(
    engines: &[Engine],
    workers: &[usize],
    rounds: usize,
    options: &Options,
) -> Result<Vec<Outcome>> {
    let (customers, reference) = measure::replay(options);
    let expected = reference.answers();
    let tables = Final::write(&customers, &reference.orders())?;
    drop(reference);
    let subjects = || {
        engines
            .iter()
            .flat_map(|engine| workers.iter().map(move |&workers| (*engine, workers)))
    };
    let mut runs: Vec<Vec<Outcome>> = subjects().map(|_| Vec::new()).collect();
    for round in 1..=rounds.max(1) {
        for ((engine, workers), runs) in subjects().zip(&mut runs) {
            let options = Options {
                workers,
                ..options.clone()
            };
            eprintln!(
                "round {round}: {} with {workers} worker(s) …",
                engine.name()
            );
            let outcome = engine.run(&options, &tables)?;
            if outcome.answers != expected {
                return Err(format!("{}: the answers are wrong", engine.name()).into());
            }
            runs.push(outcome);
        }
    }
    println!(
        "All answers are equal to those of a plain computation. Each figure is the median of {} runs.\n",
        rounds.max(1)
    );
    Ok(runs.into_iter().map(rounds::median_outcome).collect())
}

/// Takes `name a,b,c` out of the arguments.
fn take_list(arguments: &mut Vec<String>, name: &str) -> Result<Option<Vec<String>>> {
    let Some(position) = arguments.iter().position(|argument| argument == name) else {
        return Ok(None);
    };
    if position + 1 == arguments.len() {
        return Err(format!("{name} needs a value").into());
    }
    let value = arguments.remove(position + 1);
    arguments.remove(position);
    Ok(Some(value.split(',').map(str::to_owned).collect()))
}
