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
use highwater_pipeline::with_causes;

use arguments::{Arguments, Command};

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
            eprintln!("error: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
