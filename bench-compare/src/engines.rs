//! The engines: how each is built and run as a process, and what comes back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use highwater_bench::options::Options;
use highwater_bench::report::Report;
use highwater_bench::workload::{Answers, Customers, OrderChanges};
use serde::Deserialize;
use tempfile::TempDir;

use crate::Result;

/// Who runs the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Highwater,
    Dbsp { storage: bool },
    DuckDb,
    DataFusion,
}

/// What one run gave.
pub struct Outcome {
    pub engine: Engine,
    pub title: String,
    pub workers: usize,
    pub answers: Answers,
    pub memory_peak_bytes: u64,
    pub figures: Figures,
}

/// What was measured.
pub enum Figures {
    Incremental(Box<Report>),
    /// Seconds of one computation of both views.
    Recomputation {
        median_seconds: f64,
    },
}

/// The last line of `recompute.py`.
#[derive(Deserialize)]
struct Recomputation {
    engine: String,
    seconds: Vec<f64>,
    memory_peak_bytes: u64,
    answers: Answers,
}

impl Engine {
    pub const ALL: [Self; 5] = [
        Self::Highwater,
        Self::Dbsp { storage: false },
        Self::Dbsp { storage: true },
        Self::DuckDb,
        Self::DataFusion,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Highwater => "highwater",
            Self::Dbsp { storage: false } => "dbsp",
            Self::Dbsp { storage: true } => "dbsp-storage",
            Self::DuckDb => "duckdb",
            Self::DataFusion => "datafusion",
        }
    }

    pub fn from_name(name: &str) -> Result<Self> {
        let engine = Self::ALL.into_iter().find(|engine| engine.name() == name);
        engine.ok_or_else(|| format!("unknown engine {name}").into())
    }

    /// Compiles it, if it is one of Rust.
    pub fn build(self) -> Result<()> {
        let Some(mut command) = self.cargo("build") else {
            return Ok(());
        };
        let status = command.status()?;
        if !status.success() {
            return Err(format!("{} does not compile", self.name()).into());
        }
        Ok(())
    }

    /// Runs the workload in a process of its own.
    pub fn run(self, options: &Options, tables: &Final) -> Result<Outcome> {
        match self {
            Self::DuckDb | Self::DataFusion => self.recompute(options, tables),
            _ => self.run_steps(options),
        }
    }

    /// `cargo build` or `cargo run` of its program, if it is one of Rust. Highwater is selected as a
    /// binary of its whole workspace, so that it is built as users build it.
    fn cargo(self, verb: &str) -> Option<Command> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (manifest, selection) = match self {
            Self::Highwater => ("../Cargo.toml", ["--bin", "highwater-bench"]),
            Self::Dbsp { .. } => ("Cargo.toml", ["--package", "dbsp-orders"]),
            Self::DuckDb | Self::DataFusion => return None,
        };
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command
            .args([verb, "--release", "--quiet"])
            .args(selection)
            .arg("--manifest-path")
            .arg(here.join(manifest));
        Some(command)
    }

    fn run_steps(self, options: &Options) -> Result<Outcome> {
        let mut command = self.cargo("run").ok_or("not an engine of Rust")?;
        command.arg("--");
        let storage = TempDir::new()?;
        let mut options = options.clone();
        if self == (Self::Dbsp { storage: true }) {
            options.storage = Some(storage.path().to_string_lossy().into_owned());
        }
        if self == Self::Highwater {
            command.args(["orders", "--json"]);
        }
        let report = Report::from_line(&last_line(command.args(options.to_arguments()))?)?;
        Ok(Outcome {
            engine: self,
            title: report.engine.clone(),
            workers: report.workers,
            answers: report.answers.clone(),
            memory_peak_bytes: report.memory_peak_bytes,
            figures: Figures::Incremental(Box::new(report)),
        })
    }

    /// The benchmark of checkpoints, in a directory of its own; what it prints.
    pub fn checkpoints(self, options: &Options) -> Result<String> {
        let storage = TempDir::new()?;
        let options = Options {
            storage: Some(storage.path().to_string_lossy().into_owned()),
            ..options.clone()
        };
        let mut command = self.cargo("run").ok_or("not an engine of Rust")?;
        command
            .args(["--", "checkpoint"])
            .args(options.to_arguments());
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(format!("{} failed", self.name()).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }

    fn recompute(self, options: &Options, tables: &Final) -> Result<Outcome> {
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("recompute.py");
        let mut command = Command::new(python);
        command
            .arg(script)
            .arg(self.name())
            .arg(tables.directory.path())
            .arg(options.workers.to_string());
        let run: Recomputation = serde_json::from_str(&last_line(&mut command)?)?;
        Ok(Outcome {
            engine: self,
            title: format!("{}, anew", run.engine),
            workers: options.workers,
            answers: run.answers,
            memory_peak_bytes: run.memory_peak_bytes,
            figures: Figures::Recomputation {
                median_seconds: run.seconds[run.seconds.len() / 2],
            },
        })
    }
}

fn last_line(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().last().ok_or("it printed nothing")?;
    Ok(line.to_owned())
}

/// The tables after all deltas, as files of columns for `recompute.py`.
pub struct Final {
    directory: TempDir,
}

impl Final {
    pub fn write(customers: &Customers, orders: &OrderChanges) -> Result<Self> {
        let directory = TempDir::new()?;
        let columns = [
            ("customers.id", &customers.ids),
            ("customers.region", &customers.regions),
            ("orders.id", &orders.ids),
            ("orders.customer", &orders.customers),
            ("orders.amount", &orders.amounts),
        ];
        for (name, values) in columns {
            let bytes: Vec<u8> = values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            fs::write(directory.path().join(name), bytes)?;
        }
        Ok(Self { directory })
    }
}
