//! Shows how loading goes: bars on a terminal, lines now and then elsewhere.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use highwater_connectors::input::ProgressUnit;
use highwater_pipeline::controller::InputProgress;
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

/// How often lines are printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// The display of all inputs.
pub(crate) struct Display {
    started: Instant,
    kind: Kind,
}

enum Kind {
    Bars {
        all: MultiProgress,
        bars: BTreeMap<String, ProgressBar>,
    },
    Lines {
        last: Instant,
    },
}

/// A bar for a checkpoint that is being written; nothing where there is no terminal.
pub(crate) fn checkpoint_bar() -> ProgressBar {
    let style = "checkpoint {bar:30} {bytes}/{total_bytes} {eta} {msg}";
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Display {
    pub(crate) fn new() -> Self {
        let started = Instant::now();
        let kind = if std::io::stderr().is_terminal() {
            Kind::Bars {
                all: MultiProgress::new(),
                bars: BTreeMap::new(),
            }
        } else {
            Kind::Lines { last: started }
        };
        Self { started, kind }
    }

    pub(crate) fn show(&mut self, inputs: &[InputProgress]) {
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        match &mut self.kind {
            Kind::Bars { all, bars } => {
                for input in inputs {
                    let bar = bars
                        .entry(input.name.clone())
                        .or_insert_with(|| all.add(new_bar(input)));
                    update(bar, input, seconds);
                }
            }
            Kind::Lines { last } => {
                if last.elapsed() >= LINE_INTERVAL {
                    *last = Instant::now();
                    eprintln!("loading: {}", rates(inputs, seconds));
                }
            }
        }
    }

    /// Removes the bars and says how it went.
    pub(crate) fn finish(self, inputs: &[InputProgress]) {
        if let Kind::Bars { bars, .. } = &self.kind {
            for bar in bars.values() {
                bar.finish_and_clear();
            }
        }
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        if !inputs.is_empty() {
            eprintln!("loaded {} in {seconds:.2} s", rates(inputs, seconds));
        }
    }
}

fn rates(inputs: &[InputProgress], seconds: f64) -> String {
    let rows: u64 = inputs.iter().map(|input| input.records).sum();
    let new_rows: u64 = inputs.iter().map(new_records).sum();
    let ended = inputs.iter().filter(|input| input.end_of_input).count();
    format!(
        "{} rows ({} rows/s), {ended} of {} inputs at their end",
        HumanCount(rows),
        HumanCount((new_rows as f64 / seconds) as u64),
        inputs.len()
    )
}

/// What came since the start.
fn new_records(input: &InputProgress) -> u64 {
    input.records.saturating_sub(input.restored_records)
}

fn new_bar(input: &InputProgress) -> ProgressBar {
    let bar = ProgressBar::no_length();
    let amounts = match input.progress.unit {
        ProgressUnit::Bytes => "{binary_bytes:>10}/{binary_total_bytes:<10}",
        ProgressUnit::Rows => "{human_pos:>10}/{human_len:<10}",
    };
    let template = format!("{{prefix:24!}} {{bar:30}} {amounts} {{msg}}");
    // A template that indicatif refuses costs the style, not the progress.
    let style = ProgressStyle::with_template(&template);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(input.name.clone());
    bar
}

fn update(bar: &ProgressBar, input: &InputProgress, seconds: f64) {
    if let Some(total) = input.progress.total {
        bar.set_length(total);
    }
    bar.set_position(input.progress.done);
    if input.end_of_input {
        bar.set_position(bar.length().unwrap_or(input.progress.done));
    }
    let bad = match input.parse_errors {
        0 => String::new(),
        bad => format!(", {bad} bad"),
    };
    bar.set_message(format!(
        "{} rows, {} rows/s{bad}",
        HumanCount(input.records),
        HumanCount((new_records(input) as f64 / seconds) as u64),
    ));
}
