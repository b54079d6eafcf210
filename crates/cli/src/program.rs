//! Reads and compiles a program, telling every mistake.

use std::path::Path;

use anyhow::{Context, Result};
use highwater_pipeline::Definition;
use highwater_server::definition::definition;
use highwater_sql::{CompileOptions, Program, compile};
use highwater_types::program::Diagnostic;
use highwater_zset::RowHasher;

/// A program that can run.
pub(crate) struct Compiled {
    pub(crate) program: Program,
    pub(crate) definition: Definition,
}

/// Compiles a file; the inner error is what is wrong with the program.
pub(crate) fn read(file: &Path, hash_seed: u64) -> Result<Result<Compiled, Vec<Diagnostic>>> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the program `{}`", file.display()))?;
    let options = CompileOptions {
        hasher: RowHasher::new(hash_seed),
    };
    let base = file.parent().unwrap_or(Path::new(""));
    Ok(compile(&text, &options).and_then(|program| {
        let definition = definition(&program, base)?;
        Ok(Compiled {
            program,
            definition,
        })
    }))
}

/// Prints diagnostics to stderr; returns the number of errors among them.
pub(crate) fn report(file: &Path, diagnostics: &[Diagnostic]) -> usize {
    for diagnostic in diagnostics {
        eprintln!("{}", diagnostic.render());
    }
    let errors = diagnostics.iter().filter(|it| !it.warning).count();
    if errors > 0 {
        let plural = if errors == 1 { "" } else { "s" };
        eprintln!("{}: {errors} error{plural}", file.display());
    }
    errors
}
