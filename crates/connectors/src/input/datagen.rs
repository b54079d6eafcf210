//! `datagen`: made-up rows by plan, at a rate, up to a limit.
//!
//! The rows are a pure function of the seed and the plan: chunk `c` of a plan is made, column by
//! column, from the stream `c` of a ChaCha generator keyed by (seed, plan, column). So they can be
//! made from any place on, which is what resuming does, and `workers`, rates and batch sizes
//! do not change them.
//!
//! The position is `{"plan": p, "rows": n}`: `n` rows of plan `p` are behind.

use std::sync::Arc;
use std::time::Duration;

use highwater_types::connector::ConnectorConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::stream::end_input;
use super::{
    Finished, InputChunk, InputEvent, InputSink, InputTransport, Opened, Progress, ProgressUnit,
    WAIT_STEP, batch_rows, wait_while_paused,
};
use crate::changes::ParsedChanges;
use crate::clock::Clock;
use crate::decode::parse_config;
use crate::encode::json::JsonRows;
use crate::error::{ConfigError, RowErrors, TransportError};
use crate::table::InputTable;

mod config;
mod generator;
mod numbers;
mod pick;
mod words;

use config::{DatagenConfig, Plan};
use generator::RowGenerator;

/// Rows that are made at once. Part of what the rows are: changing it changes them.
const CHUNK_ROWS: u64 = 10_000;

/// Where a generator is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    plan: usize,
    rows: u64,
}

struct Datagen {
    plans: Vec<(Plan, RowGenerator)>,
    start: Position,
    batch_rows: usize,
}

/// Makes the transport.
pub(super) fn open(
    config: &ConnectorConfig,
    table: &Arc<InputTable>,
    start: Option<Value>,
) -> Opened {
    let transport = Datagen::new(config, table, start);
    let within = |error: ConfigError| error.within("transport `datagen`");
    match transport {
        Ok(transport) => Ok(Box::new(transport)),
        Err(TransportError::Config(error)) => Err(within(error).into()),
        Err(error) => Err(error),
    }
}

impl Datagen {
    fn new(
        config: &ConnectorConfig,
        table: &Arc<InputTable>,
        start: Option<Value>,
    ) -> Result<Self, TransportError> {
        let options: DatagenConfig = parse_config(&config.transport.config)?;
        options.validate()?;
        let start: Position = match start {
            Some(position) => serde_json::from_value(position)
                .map_err(|error| TransportError::Position(error.to_string()))?,
            None => Position::default(),
        };
        if start.plan > options.plan.len() {
            return Err(TransportError::Position(format!(
                "there is no plan {}",
                start.plan
            )));
        }
        let seed = options.seed.unwrap_or_default();
        let generator = |(i, plan): (usize, Plan)| {
            let generator = RowGenerator::new(table, &plan, seed, i as u64)
                .map_err(|error| error.within(format_args!("plan {i}")))?;
            Ok((plan, generator))
        };
        let plans = options.plan.into_iter().enumerate().map(generator);
        Ok(Self {
            plans: plans.collect::<Result<_, ConfigError>>()?,
            start,
            batch_rows: batch_rows(config),
        })
    }
}

impl InputTransport for Datagen {
    fn run(
        self: Box<Self>,
        sink: &dyn InputSink,
        clock: &dyn Clock,
    ) -> Result<Finished, TransportError> {
        let total = self
            .plans
            .iter()
            .map(|(plan, _)| plan.limit)
            .sum::<Option<u64>>();
        let limits = self
            .plans
            .iter()
            .map(|(plan, _)| plan.limit.unwrap_or_default());
        let mut done = limits.take(self.start.plan).sum::<u64>();
        for (i, (plan, generator)) in self.plans.iter().enumerate().skip(self.start.plan) {
            let first_row = if i == self.start.plan {
                self.start.rows
            } else {
                0
            };
            let mut run = PlanRun {
                index: i,
                generator,
                limit: plan.limit.unwrap_or(u64::MAX),
                next_row: first_row,
                chunk: None,
                pace: Pace::new(plan.rate, clock),
                batch_rows: self.batch_rows as u64,
                done_before: done,
                total,
            };
            if let Finished::Stopped = run.run(sink, clock)? {
                return Ok(Finished::Stopped);
            }
            done += run.next_row;
        }
        if !wait_while_paused(sink, clock, |_| ()) {
            return Ok(Finished::Stopped);
        }
        Ok(end_input(sink))
    }
}

/// A plan in progress.
struct PlanRun<'a> {
    index: usize,
    generator: &'a RowGenerator,
    limit: u64,
    next_row: u64,
    /// The chunk that holds the next row, by its number.
    chunk: Option<(u64, ParsedChanges)>,
    pace: Pace<'a>,
    batch_rows: u64,
    done_before: u64,
    total: Option<u64>,
}

impl PlanRun<'_> {
    fn run(&mut self, sink: &dyn InputSink, clock: &dyn Clock) -> Result<Finished, TransportError> {
        while self.next_row < self.limit {
            let mut was_paused = false;
            if !wait_while_paused(sink, clock, |_| was_paused = true) {
                return Ok(Finished::Stopped);
            }
            if was_paused {
                self.pace.restart();
            }
            let allowed = self.pace.allowed();
            if allowed == 0 {
                clock.sleep(self.pace.time_to_next_row().min(WAIT_STEP));
                continue;
            }
            let event = self.make_piece(allowed.min(self.batch_rows))?;
            if sink.push(InputEvent::Changes(event)).is_err() {
                return Ok(Finished::Stopped);
            }
        }
        Ok(Finished::EndOfInput)
    }

    /// At most `rows_max` rows, from one chunk.
    fn make_piece(&mut self, rows_max: u64) -> Result<InputChunk, TransportError> {
        let number = self.next_row / CHUNK_ROWS;
        let chunk_start = number * CHUNK_ROWS;
        let chunk_rows = CHUNK_ROWS.min(self.limit - chunk_start);
        if self.chunk.as_ref().is_none_or(|(made, _)| *made != number) {
            let rows = self
                .generator
                .chunk(number, chunk_start, chunk_rows as usize)?;
            self.chunk = Some((number, ParsedChanges::insertions(rows)));
        }
        let Some((_, chunk)) = &self.chunk else {
            unreachable!("made above")
        };
        let offset = self.next_row - chunk_start;
        let rows = rows_max.min(chunk_rows - offset);
        let changes = chunk.slice(offset as usize, rows as usize);
        self.next_row += rows;
        self.pace.spend(rows);
        let bytes = json_bytes(&changes)?;
        let position = Position {
            plan: self.index,
            rows: self.next_row,
        };
        let position = serde_json::to_value(position)
            .map_err(|error| TransportError::Position(error.to_string()))?;
        let progress = Progress {
            done: self.done_before + self.next_row,
            total: self.total,
            unit: ProgressUnit::Rows,
        };
        Ok(InputChunk {
            changes,
            errors: RowErrors::default(),
            bytes,
            position,
            progress,
        })
    }
}

/// What the rows would be as JSON objects: the size that made-up rows count with.
fn json_bytes(changes: &ParsedChanges) -> Result<u64, TransportError> {
    let rows = JsonRows::new(&changes.rows)?;
    let (mut bytes, mut text) = (0, Vec::new());
    for row in 0..changes.len() {
        text.clear();
        rows.write_object(row, &mut text);
        bytes += text.len() as u64;
    }
    Ok(bytes)
}

/// How many rows may be made by now.
struct Pace<'a> {
    clock: &'a dyn Clock,
    rows_per_second: Option<f64>,
    began: Duration,
    spent: u64,
}

impl<'a> Pace<'a> {
    fn new(rows_per_second: Option<f64>, clock: &'a dyn Clock) -> Self {
        Self {
            clock,
            rows_per_second,
            began: clock.now(),
            spent: 0,
        }
    }

    /// Time that passed in a pause earns no rows.
    fn restart(&mut self) {
        self.began = self.clock.now();
        self.spent = 0;
    }

    fn earned(&self) -> Option<f64> {
        let elapsed = self.clock.now().saturating_sub(self.began).as_secs_f64();
        self.rows_per_second.map(|rate| elapsed * rate)
    }

    fn allowed(&self) -> u64 {
        match self.earned() {
            Some(earned) => (earned as u64).saturating_sub(self.spent),
            None => u64::MAX,
        }
    }

    fn spend(&mut self, rows: u64) {
        self.spent += rows;
    }

    fn time_to_next_row(&self) -> Duration {
        match (self.earned(), self.rows_per_second) {
            (Some(earned), Some(rate)) => {
                let missing = (self.spent as f64 + 1.0 - earned).max(0.0);
                // A hair more than needed, so that rounding never makes it an endless wait.
                Duration::from_secs_f64((missing / rate + 1e-6).min(1.0))
            }
            _ => Duration::ZERO,
        }
    }
}
