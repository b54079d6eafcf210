//! Compiles whole programs: those that must be accepted and those that must be refused.

#[path = "main/diagnostics.rs"]
mod diagnostics;
#[path = "main/programs.rs"]
mod programs;
#[path = "main/tpch.rs"]
mod tpch;

use highwater_sql::{CompileOptions, Program, compile};
use highwater_zset::RowHasher;

/// Compiles a program that must be right.
fn compile_ok(text: &str) -> Program {
    compile(text, &options()).unwrap_or_else(|diagnostics| {
        let rendered: Vec<String> = diagnostics
            .iter()
            .map(|diagnostic| diagnostic.render())
            .collect();
        panic!("{text}\n{}", rendered.join("\n"))
    })
}

fn options() -> CompileOptions {
    CompileOptions {
        hasher: RowHasher::new(1),
    }
}
