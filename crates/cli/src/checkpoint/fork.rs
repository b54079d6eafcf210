//! `highwater checkpoint fork`.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use super::arguments::ForkOptions;
use super::{sources, table};

/// Makes a new directory that has one checkpoint.
pub(super) fn fork(options: &ForkOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let saved = sources::read(&store, &options.checkpoint)?.warn();
    let began = Instant::now();
    let report = store.fork(saved.checkpoint().uuid(), &options.target)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} has checkpoint {} now: {} with {}, shared with {}, in {:.0?}",
        options.target.display(),
        report.entry.uuid(),
        table::plural(report.files, "file"),
        table::exact_size(report.bytes),
        options.root.display(),
        began.elapsed()
    )?;
    Ok(ExitCode::SUCCESS)
}
