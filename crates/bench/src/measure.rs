//! Drives one engine through the workload and measures it.
//!
//! Measured is a step from handing over its input to having its output; making the input is not.
//! Nothing is done to let background work settle: what it costs a later step is part of that step.

use std::time::{Duration, Instant};

use crate::options::Options;
use crate::report::{Latencies, Report};
use crate::workload::{Answers, Customers, Generator, OrderChanges, Reference};

/// Delta sizes in rows, each with its number of steps.
pub const DELTAS: &[(usize, usize)] = &[(1, 2000), (1_000, 300), (100_000, 20)];
/// Steps of each delta size before the measured ones.
pub const WARM_UP_STEPS: usize = 3;

/// What is measured.
pub trait Engine {
    /// Changes in the engine's own form.
    type Input;
    /// Why a step failed.
    type Error;
    fn customers_input(&self, customers: &Customers) -> Self::Input;
    fn orders_input(&self, changes: &OrderChanges) -> Self::Input;
    /// Applies the changes and takes over the views' changes.
    ///
    /// # Errors
    /// The engine's own.
    fn step(&mut self, input: Self::Input) -> Result<(), Self::Error>;
    /// The views, from all changes taken over so far.
    fn answers(&self) -> Answers;
}

/// Runs the whole workload.
///
/// # Errors
/// If the engine fails.
pub fn run<E: Engine>(name: &str, engine: &mut E, options: &Options) -> Result<Report, E::Error> {
    let mut generator = Generator::new(options);
    let customers = engine.customers_input(&generator.customers());
    let customers_load = timed_step(engine, customers)?;
    let load = load_orders(engine, &mut generator, options)?;
    let memory_loaded_bytes = memory("VmRSS:");
    let mut deltas = Vec::new();
    for &(rows, steps) in DELTAS {
        let durations = (0..WARM_UP_STEPS + steps)
            .map(|_| {
                let input = engine.orders_input(&generator.changes(rows));
                timed_step(engine, input)
            })
            .collect::<Result<Vec<_>, _>>()?;
        deltas.push(latencies(rows, &durations[WARM_UP_STEPS..]));
    }
    Ok(Report {
        engine: name.to_owned(),
        workers: options.workers,
        orders: options.orders,
        customers: options.customers,
        customers_load_seconds: customers_load.as_secs_f64(),
        orders_load_seconds: load.iter().sum::<Duration>().as_secs_f64(),
        load_step: latencies(options.load_step_rows, &load),
        deltas,
        memory_loaded_bytes,
        memory_peak_bytes: memory("VmHWM:"),
        answers: engine.answers(),
    })
}

/// The tables after [`run`], without an engine.
pub fn replay(options: &Options) -> (Customers, Reference) {
    let mut generator = Generator::new(options);
    let customers = generator.customers();
    let mut reference = Reference::new(&customers);
    for rows in load_steps(options) {
        reference.apply(&generator.insertions(rows));
    }
    for &(rows, steps) in DELTAS {
        for _ in 0..WARM_UP_STEPS + steps {
            reference.apply(&generator.changes(rows));
        }
    }
    (customers, reference)
}

fn load_orders<E: Engine>(
    engine: &mut E,
    generator: &mut Generator,
    options: &Options,
) -> Result<Vec<Duration>, E::Error> {
    load_steps(options)
        .map(|rows| {
            let input = engine.orders_input(&generator.insertions(rows));
            timed_step(engine, input)
        })
        .collect()
}

/// Rows of each step of the load.
fn load_steps(options: &Options) -> impl Iterator<Item = usize> {
    let (orders, rows) = (options.orders as usize, options.load_step_rows);
    (0..orders)
        .step_by(rows)
        .map(move |start| rows.min(orders - start))
}

fn timed_step<E: Engine>(engine: &mut E, input: E::Input) -> Result<Duration, E::Error> {
    let start = Instant::now();
    engine.step(input)?;
    Ok(start.elapsed())
}

pub(crate) fn latencies(rows: usize, durations: &[Duration]) -> Latencies {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let at = |fraction: f64| {
        let index = (sorted.len() as f64 * fraction) as usize;
        let duration = sorted.get(index.min(sorted.len().saturating_sub(1)));
        duration.map_or(0.0, |duration| duration.as_secs_f64() * 1e6)
    };
    Latencies {
        rows,
        steps: sorted.len(),
        p50_microseconds: at(0.5),
        p99_microseconds: at(0.99),
        max_microseconds: at(1.0),
    }
}

/// A figure of this process in `/proc/self/status`, in bytes; 0 where there is no such file.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kibibytes.and_then(|text| text.parse().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// The reference as an engine.
    struct Plain(Reference);

    enum PlainInput {
        Customers(Reference),
        Orders(OrderChanges),
    }

    impl Engine for Plain {
        type Input = PlainInput;
        type Error = Infallible;

        fn customers_input(&self, customers: &Customers) -> PlainInput {
            PlainInput::Customers(Reference::new(customers))
        }

        fn orders_input(&self, changes: &OrderChanges) -> PlainInput {
            PlainInput::Orders(OrderChanges {
                ids: changes.ids.clone(),
                customers: changes.customers.clone(),
                amounts: changes.amounts.clone(),
                is_deletion: changes.is_deletion.clone(),
            })
        }

        fn step(&mut self, input: PlainInput) -> Result<(), Infallible> {
            match input {
                PlainInput::Customers(reference) => self.0 = reference,
                PlainInput::Orders(changes) => self.0.apply(&changes),
            }
            Ok(())
        }

        fn answers(&self) -> Answers {
            self.0.answers()
        }
    }

    #[test]
    fn a_replay_makes_the_same_changes_as_a_run() {
        let options = Options {
            orders: 1_050,
            customers: 40,
            load_step_rows: 100,
            ..Options::default()
        };
        let mut engine = Plain(Reference::default());
        let Ok(report) = run("plain", &mut engine, &options);

        let (customers, reference) = replay(&options);
        assert_eq!(customers.ids.len(), 40);
        assert_eq!(report.load_step.steps, 11);
        assert_eq!(report.answers, reference.answers());
        assert!(!report.answers.buyers.is_empty());

        let read = crate::report::Report::from_line(&report.to_line());
        assert!(read.is_ok_and(|read| read.answers == report.answers));
    }
}
