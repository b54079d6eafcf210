//! Several runs of one engine as one: the median of each figure.
//!
//! Engines take turns, round by round, so that a slow minute of the machine does not hit one engine
//! only; the first run of all also pays for memory that the machine has to find.

use highwater_bench::report::{Latencies, Report};

use crate::engines::{Figures, Outcome};

/// The median of each figure of runs that did the same; there must be one.
pub fn median_outcome(mut runs: Vec<Outcome>) -> Outcome {
    let memory_peak_bytes = median(&runs, |run| run.memory_peak_bytes as f64) as u64;
    let reports: Vec<Report> = runs
        .iter()
        .filter_map(|run| match &run.figures {
            Figures::Incremental(report) => Some(report.as_ref().clone()),
            Figures::Recomputation { .. } => None,
        })
        .collect();
    let figures = match reports.is_empty() {
        false => Figures::Incremental(Box::new(median_report(reports))),
        true => Figures::Recomputation {
            median_seconds: median(&runs, |run| match run.figures {
                Figures::Recomputation { median_seconds } => median_seconds,
                Figures::Incremental(_) => f64::NAN,
            }),
        },
    };
    Outcome {
        memory_peak_bytes,
        figures,
        ..runs.swap_remove(0)
    }
}

fn median_report(mut runs: Vec<Report>) -> Report {
    let of = |figure: &dyn Fn(&Report) -> f64| median(&runs, figure);
    let latencies = |steps: &dyn Fn(&Report) -> &Latencies| Latencies {
        p50_microseconds: of(&|run| steps(run).p50_microseconds),
        p99_microseconds: of(&|run| steps(run).p99_microseconds),
        max_microseconds: of(&|run| steps(run).max_microseconds),
        ..steps(&runs[0]).clone()
    };
    let load_step = latencies(&|run| &run.load_step);
    let sizes = 0..runs[0].deltas.len();
    let deltas = sizes
        .map(|size| latencies(&|run| &run.deltas[size]))
        .collect();
    let customers_load_seconds = of(&|run| run.customers_load_seconds);
    let orders_load_seconds = of(&|run| run.orders_load_seconds);
    let memory_loaded_bytes = of(&|run| run.memory_loaded_bytes as f64) as u64;
    let memory_peak_bytes = of(&|run| run.memory_peak_bytes as f64) as u64;
    Report {
        customers_load_seconds,
        orders_load_seconds,
        load_step,
        deltas,
        memory_loaded_bytes,
        memory_peak_bytes,
        ..runs.swap_remove(0)
    }
}

/// Of an even number the upper one.
fn median<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
