//! The table that a comparison prints, as Markdown.

use std::fmt::Write as _;

use highwater_bench::report::{Latencies, Report};

use crate::engines::{Engine, Figures, Outcome};

/// All outcomes, then the ratios that matter.
pub fn render(outcomes: &[Outcome]) -> String {
    let mut text = String::from(
        "| engine | workers | load, rows/s | 1 row, p50 / p99 ms | 1,000 rows | 100,000 rows | memory loaded / peak |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for outcome in outcomes {
        text.push_str(&row(outcome));
    }
    text.push('\n');
    text.push_str(&ratios(outcomes));
    text
}

fn row(outcome: &Outcome) -> String {
    let Outcome { title, workers, .. } = outcome;
    let peak = gigabytes(outcome.memory_peak_bytes);
    match &outcome.figures {
        Figures::Incremental(report) => {
            let steps: Vec<String> = report.deltas.iter().map(latencies).collect();
            format!(
                "| {title} | {workers} | {:.0} | {} | {} / {peak} |\n",
                report.load_rows_per_second(),
                steps.join(" | "),
                gigabytes(report.memory_loaded_bytes),
            )
        }
        Figures::Recomputation { median_seconds } => {
            let step = format!("{:.1}", median_seconds * 1e3);
            format!("| {title} | {workers} | | {step} | {step} | {step} | {peak} |\n")
        }
    }
}

fn latencies(step: &Latencies) -> String {
    let milliseconds = |microseconds: f64| format!("{:.3}", microseconds / 1e3);
    let p50 = milliseconds(step.p50_microseconds);
    format!("{p50} / {}", milliseconds(step.p99_microseconds))
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

/// Highwater against the better of dbsp's modes, worker count by worker count.
fn ratios(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let ours: Vec<&Report> = reports(outcomes, |engine| engine == Engine::Highwater).collect();
    for &own in &ours {
        let peers: Vec<&Report> = reports(outcomes, |engine| matches!(engine, Engine::Dbsp { .. }))
            .filter(|report| report.workers == own.workers)
            .collect();
        if !peers.is_empty() {
            against(&mut text, own, &peers);
        }
    }
    let load = |workers| {
        let report = ours.iter().find(|report| report.workers == workers)?;
        Some(report.load_rows_per_second())
    };
    if let (Some(one), Some(two)) = (load(1), load(2)) {
        let _ = writeln!(text, "2 workers load {:.2} × as fast as 1.", two / one);
    }
    text
}

fn against(text: &mut String, own: &Report, peers: &[&Report]) {
    let load = best(peers, Report::load_rows_per_second, f64::max);
    let _ = write!(
        text,
        "With {} worker(s), highwater against the better of dbsp's modes: load {:.2} × as fast",
        own.workers,
        own.load_rows_per_second() / load
    );
    for (index, step) in own.deltas.iter().enumerate() {
        let peer = best(peers, |peer| peer.deltas[index].p50_microseconds, f64::min);
        let ratio = step.p50_microseconds / peer;
        let _ = write!(text, "; {}-row steps in {ratio:.3} × the time", step.rows);
    }
    let memory = best(peers, |peer| peer.memory_peak_bytes as f64, f64::min);
    let ratio = own.memory_peak_bytes as f64 / memory;
    let _ = writeln!(text, "; {ratio:.2} × the peak memory.");
}

fn best(peers: &[&Report], of: impl Fn(&Report) -> f64, better: fn(f64, f64) -> f64) -> f64 {
    let figures = peers.iter().map(|peer| of(peer));
    figures.reduce(better).unwrap_or(f64::NAN)
}

fn reports(
    outcomes: &[Outcome],
    is_wanted: impl Fn(Engine) -> bool,
) -> impl Iterator<Item = &Report> {
    outcomes
        .iter()
        .filter_map(move |outcome| match &outcome.figures {
            Figures::Incremental(report) if is_wanted(outcome.engine) => Some(&**report),
            _ => None,
        })
}
