//! `highwater explain`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use highwater_sql::{explain_dot, explain_svg, explain_text};

use crate::arguments::{ExplainFormat, ExplainOptions};
use crate::program::{read, report};

/// Prints the circuit of a program.
pub(crate) fn explain(options: &ExplainOptions) -> Result<ExitCode> {
    let compiled = match read(&options.file, 0)? {
        Ok(compiled) => compiled,
        Err(diagnostics) => {
            report(&options.file, &diagnostics);
            return Ok(ExitCode::FAILURE);
        }
    };
    let plan = &compiled.program.plan;
    let mut text = match options.format {
        ExplainFormat::Text => explain_text(plan),
        ExplainFormat::Dot => explain_dot(plan),
        ExplainFormat::Svg => explain_svg(plan),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    match &options.output {
        Some(file) => std::fs::write(file, text)
            .with_context(|| format!("cannot write `{}`", file.display()))?,
        None => std::io::stdout().write_all(text.as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}
