//! What a run tried and what it found, as figures.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use crate::faults::Fault;

/// Failures that are kept with their story; more are only counted.
const FAILURES_KEPT: usize = 5;

/// One run of the harness.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub name: String,
    pub seed: u64,
    /// Runs of a workload, or damaged disks.
    pub cases: u64,
    /// Disks on which a recovery ran.
    pub crash_states: u64,
    /// Recoveries by what they found: `listed`, `empty`, `refused`, ….
    pub paths: BTreeMap<&'static str, u64>,
    pub fired: BTreeMap<Fault, u64>,
    pub failed: u64,
    pub failures: Vec<String>,
}

impl Report {
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            name: name.into(),
            seed,
            ..Self::default()
        }
    }

    pub fn fail(&mut self, story: String) {
        self.failed += 1;
        if self.failures.len() < FAILURES_KEPT {
            self.failures.push(story);
        }
    }

    pub fn took(&mut self, path: &'static str) {
        *self.paths.entry(path).or_default() += 1;
    }

    pub fn count_fired(&mut self, fired: &BTreeMap<Fault, u64>) {
        for (fault, count) in fired {
            *self.fired.entry(*fault).or_default() += count;
        }
    }

    /// Another run's figures are part of this one's.
    pub fn absorb(&mut self, other: Self) {
        let Self {
            name: _,
            seed: _,
            cases,
            crash_states,
            paths,
            fired,
            failed,
            failures,
        } = other;
        self.cases += cases;
        self.crash_states += crash_states;
        for (path, count) in paths {
            *self.paths.entry(path).or_default() += count;
        }
        self.count_fired(&fired);
        self.failed += failed;
        let room = FAILURES_KEPT.saturating_sub(self.failures.len());
        self.failures.extend(failures.into_iter().take(room));
    }

    /// A run proves nothing about a fault that it never saw (X4).
    ///
    /// # Errors
    /// Names the faults that were asked for and never happened.
    pub fn require_fired(&self, faults: &[Fault]) -> Result<(), String> {
        let absent = faults
            .iter()
            .filter(|fault| !self.fired.contains_key(fault));
        let absent: Vec<String> = absent.map(Fault::to_string).collect();
        if absent.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: never fired: {}", self.name, absent.join(", ")))
        }
    }

    /// The same for what recoveries found.
    ///
    /// # Errors
    /// Names the paths that were never taken.
    pub fn require_paths(&self, paths: &[&'static str]) -> Result<(), String> {
        let absent = paths.iter().filter(|path| !self.paths.contains_key(*path));
        let absent: Vec<&str> = absent.copied().collect();
        if absent.is_empty() {
            Ok(())
        } else {
            Err(format!("{}: never taken: {}", self.name, absent.join(", ")))
        }
    }

    /// Prints the figures and panics with the stories of the failures.
    ///
    /// # Panics
    /// If anything failed or nothing was tried.
    pub fn conclude(&self) {
        // `println!` would be swallowed by a test that passes: a run is to show its figures.
        let _ = writeln!(io::stdout(), "{self}");
        assert!(self.failed == 0, "{}", self.failures.join("\n\n"));
        assert!(self.crash_states > 0, "{}: nothing was tried", self.name);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fired = self
            .fired
            .iter()
            .map(|(fault, count)| format!("{fault} {count}"));
        let fired: Vec<String> = fired.collect();
        let paths = self
            .paths
            .iter()
            .map(|(path, count)| format!("{path} {count}"));
        let paths: Vec<String> = paths.collect();
        let bound = if self.failed == 0 && self.crash_states > 0 {
            format!("{:.1e}", 3.0 / self.crash_states as f64)
        } else {
            "none".to_owned()
        };
        write!(
            formatter,
            "{}: seed {}, cases {}, crash states {}, faults [{}], found [{}], failures {}, 95 % upper bound {bound}",
            self.name,
            self.seed,
            self.cases,
            self.crash_states,
            fired.join(", "),
            paths.join(", "),
            self.failed,
        )
    }
}
