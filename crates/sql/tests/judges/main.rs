//! The judges: every view, at every step, against something that computes it from scratch.

mod batch;
mod generate;
mod logic_tests;
mod oracle;
mod rows;
mod steps;
mod subject;
mod tpch;

/// Says how much was judged, also of a test that passes: only the print macros are captured.
fn report(counts: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{counts}");
}
