//! The `highwater` binary.

mod arguments;
mod check;
mod checkpoint;
mod diff;
mod explain;
mod format;
mod logging;
mod program;
mod progress;
mod run;
mod views;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

/// Steps allocate and free arrays of a few megabytes: with the system's allocator half of the time
/// of a large merge goes into page faults on memory that was just given back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let started = logging::start(arguments.log.as_deref());
    let result = started.and_then(|()| match &arguments.command {
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::check(options),
        Command::Explain(options) => explain::explain(options),
        Command::Diff(options) => diff::diff(options),
        Command::Checkpoint(options) => checkpoint::checkpoint(options),
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
