//! `highwater checkpoint`: looking at the checkpoints of a storage directory and changing which there
//! are, with no engine running, or beside one.
//!
//! Tools that only read open the directory read-only, whoever has locked it; those that change
//! something take its lock first. What each prints for people is text; `--format json` is the same for
//! programs.

pub(crate) mod arguments;
mod change;
mod collect;
mod diff;
mod export;
mod fork;
mod list;
mod rows;
mod show;
mod sink;
mod sources;
mod table;
mod usage;
mod verify;

use std::io;
use std::process::ExitCode;

use anyhow::Result;

use arguments::{CheckpointCommand, CheckpointOptions};

/// Runs one of the tools.
pub(crate) fn checkpoint(options: &CheckpointOptions) -> Result<ExitCode> {
    let result = match &options.command {
        CheckpointCommand::Ls(options) => list::list(options),
        CheckpointCommand::Show(options) => show::show(options),
        CheckpointCommand::Verify(options) => verify::verify(options),
        CheckpointCommand::Du(options) => usage::usage(options),
        CheckpointCommand::Diff(options) => diff::diff(options),
        CheckpointCommand::Cat(options) => rows::cat(options),
        CheckpointCommand::Sql(options) => rows::sql(options),
        CheckpointCommand::Export(options) => export::export(options),
        CheckpointCommand::Pin(options) => change::pin(options, true),
        CheckpointCommand::Unpin(options) => change::pin(options, false),
        CheckpointCommand::Name(options) => change::name(options),
        CheckpointCommand::Rm(options) => change::remove(options),
        CheckpointCommand::Readmit(options) => change::readmit(options),
        CheckpointCommand::Fork(options) => fork::fork(options),
        CheckpointCommand::Gc(options) => collect::collect(options),
    };
    match result {
        // Whoever reads our output has seen enough.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        result => result,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io_error = cause.downcast_ref::<io::Error>();
        let csv_error = cause.downcast_ref::<csv::Error>();
        let kind = match (io_error, csv_error.map(csv::Error::kind)) {
            (Some(error), _) | (None, Some(csv::ErrorKind::Io(error))) => error.kind(),
            _ => return false,
        };
        kind == io::ErrorKind::BrokenPipe
    })
}
