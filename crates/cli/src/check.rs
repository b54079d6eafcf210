//! `highwater check`.

use std::process::ExitCode;

use anyhow::Result;

use crate::arguments::CheckOptions;
use crate::program::{read, report};

/// Reports every mistake of a program.
pub(crate) fn check(options: &CheckOptions) -> Result<ExitCode> {
    match read(&options.file, 0)? {
        Ok(compiled) => {
            let program = &compiled.program;
            report(&options.file, &program.warnings);
            println!(
                "{}: no errors; {} tables, {} views, {} operators",
                options.file.display(),
                program.tables.len(),
                program.views.len(),
                program.plan.nodes.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(diagnostics) => {
            report(&options.file, &diagnostics);
            Ok(ExitCode::FAILURE)
        }
    }
}
