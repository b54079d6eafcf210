//! dbsp's side of the benchmark of checkpoints: what its API must do on the thread that steps
//! ("prepare"), the rest on another one ("commit", "publish"). Old
//! checkpoints stay, which costs it nothing here.

use std::path::Path;

use highwater_bench::checkpoints::{self, Writing};
use highwater_bench::options::Options;
use uuid::Uuid;

use crate::Dbsp;

/// In the storage directory, for the process that comes back: dbsp asks for the checkpoint to start from.
const NEWEST_FILE: &str = "newest-checkpoint.txt";

pub fn run(options: &Options) -> Result<String, String> {
    let directory = directory(options)?;
    let mut engine = Dbsp::start(options, None).map_err(text)?;
    let mut report = checkpoints::run(
        &mut engine,
        &mut begin_checkpoint,
        options,
        Path::new(directory),
    )?;
    let newest = engine.circuit.list_checkpoints().map_err(text)?;
    let newest = newest.last().ok_or("there is no checkpoint")?;
    let file = Path::new(directory).join(NEWEST_FILE);
    std::fs::write(file, newest.uuid.to_string()).map_err(text)?;
    engine.circuit.kill().map_err(|_| "a worker panicked")?;
    report.push_str(&checkpoints::restarts(options)?);
    Ok(report)
}

/// The child: one step on the newest checkpoint.
pub fn restart(options: &Options) -> Result<String, String> {
    let file = Path::new(directory(options)?).join(NEWEST_FILE);
    let newest = std::fs::read_to_string(file).map_err(text)?;
    let newest: Uuid = newest.parse().map_err(text)?;
    let mut engine = Dbsp::start(options, Some(newest)).map_err(text)?;
    checkpoints::first_output(&mut engine, options)
}

fn begin_checkpoint(engine: &mut Dbsp) -> Result<Writing, String> {
    let committer = engine.circuit.checkpoint().prepare().map_err(text)?;
    Ok(std::thread::spawn(move || {
        let publisher = committer.commit().map_err(text)?;
        publisher.publish().map_err(text)?;
        Ok(())
    }))
}

fn directory(options: &Options) -> Result<&str, String> {
    let directory = options.storage.as_deref();
    directory.ok_or_else(|| "checkpoints need --storage DIRECTORY".to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
