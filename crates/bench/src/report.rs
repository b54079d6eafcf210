//! What a run measured; travels between processes as one line of JSON.

use serde::{Deserialize, Serialize};

use crate::workload::Answers;

/// One engine's run of the orders workload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub engine: String,
    pub workers: usize,
    pub orders: u64,
    pub customers: u64,
    pub customers_load_seconds: f64,
    pub orders_load_seconds: f64,
    /// While loading.
    pub load_step: Latencies,
    /// Steps of deltas, ascending in rows.
    pub deltas: Vec<Latencies>,
    /// Resident memory when the orders were loaded, and the most there ever was.
    pub memory_loaded_bytes: u64,
    pub memory_peak_bytes: u64,
    pub answers: Answers,
}

impl Report {
    /// Orders per second while loading.
    pub fn load_rows_per_second(&self) -> f64 {
        self.orders as f64 / self.orders_load_seconds
    }

    /// One line of JSON.
    ///
    /// # Panics
    /// Never: a report has only numbers, texts and maps of them.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).expect("a report is valid JSON")
    }

    /// Reads [`Self::to_line`].
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_line(line: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(line)
    }
}

/// Durations of steps of one size.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Latencies {
    /// Rows per step.
    pub rows: usize,
    /// Number of steps.
    pub steps: usize,
    pub p50_microseconds: f64,
    pub p99_microseconds: f64,
    pub max_microseconds: f64,
}

/// One engine's report as text for people.
pub fn describe(report: &Report) -> String {
    let mut lines = vec![format!(
        "{} with {} worker(s): {} orders loaded at {:.0} rows/s, {:.2} GB resident then, {:.2} GB at most",
        report.engine,
        report.workers,
        report.orders,
        report.load_rows_per_second(),
        report.memory_loaded_bytes as f64 / 1e9,
        report.memory_peak_bytes as f64 / 1e9,
    )];
    for step in std::iter::once(&report.load_step).chain(&report.deltas) {
        lines.push(format!(
            "  {:>7} rows × {:<5} p50 {:>9.3} ms   p99 {:>9.3} ms   max {:>9.3} ms",
            step.rows,
            step.steps,
            step.p50_microseconds / 1e3,
            step.p99_microseconds / 1e3,
            step.max_microseconds / 1e3,
        ));
    }
    lines.join("\n")
}
