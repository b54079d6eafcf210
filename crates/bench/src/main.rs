//! `highwater-bench`: Highwater's side of the orders workload, how long a pipeline takes to start, and what
//! checkpoints cost.

mod checkpoint;
mod engine;
mod start;

use std::process::ExitCode;

use highwater_allocator::{GiveBack, give_back_memory};
use highwater_bench::options::{Options, USAGE};
use highwater_bench::{measure, report};

fn main() -> ExitCode {
    if let Err(error) = give_back_memory(GiveBack::AtRest) {
        eprintln!("highwater-bench: cannot start a thread: {error}");
        return ExitCode::FAILURE;
    }
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = match arguments.is_empty() {
        true => String::new(),
        false => arguments.remove(0),
    };
    let asks_for_help = |argument: &String| matches!(argument.as_str(), "--help" | "-h" | "help");
    if asks_for_help(&command) || arguments.iter().any(asks_for_help) {
        println!("{}", usage());
        return ExitCode::SUCCESS;
    }
    let result = match command.as_str() {
        "orders" => orders(arguments),
        "start" => start::run(),
        "checkpoint" => Options::parse(arguments).and_then(|options| checkpoint::run(&options)),
        "resume" => Options::parse(arguments).and_then(|options| checkpoint::resume(&options)),
        "restart" => Options::parse(arguments).and_then(|options| checkpoint::restart(&options)),
        _ => Err(usage()),
    };
    match result {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("highwater-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> String {
    format!(
        "usage: highwater-bench COMMAND [OPTIONS]
commands:
  orders [--json]                  loads and changes orders; latencies, rows per second, memory
  start                            from SQL text to the first step
  checkpoint --storage DIRECTORY   steps beside checkpoints, bytes written, restarts
  resume --storage DIRECTORY       steps behind a restart, on what `checkpoint` has left there
options (defaults):
  {USAGE}"
    )
}

fn orders(mut arguments: Vec<String>) -> Result<String, String> {
    let arguments_before = arguments.len();
    arguments.retain(|argument| argument != "--json");
    let as_json = arguments.len() < arguments_before;
    let options = Options::parse(arguments)?;
    let mut engine = engine::Highwater::start(&options)?;
    let report = measure::run("highwater", &mut engine, &options)?;
    if as_json {
        return Ok(report.to_line());
    }
    let (_, reference) = measure::replay(&options);
    if report.answers != reference.answers() {
        return Err("the views differ from a plain computation".to_owned());
    }
    Ok(report::describe(&report))
}
