//! Workloads that are stopped or refused at every call, and recoveries from every disk that may be
//! left (X1), recoveries that are stopped in turn (X2).

use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::crash::{Bound, Crash};
use crate::faults::{Fault, FaultPlan};
use crate::model::Model;
use crate::oracle::{Door, Oracle, plain_door};
use crate::report::Report;
use crate::sim_disk::SimDisk;
use crate::workload::{Run, Workload, prepared_disk, run};

/// Calls of the trace that a story ends with.
const CALLS_TOLD: usize = 20;

/// How many recoveries in a row are stopped.
const DEPTH: u32 = 3;

/// Runs cases, compares, and counts.
pub struct Harness {
    pub door: Door,
    pub report: Report,
    /// Crash states per moment.
    pub bound: Bound,
    /// One crash state of so many is recovered from with stops in between.
    pub one_deep_of: u32,
    /// After so many failures there is nothing more to learn.
    pub failures_max: u64,
    choice: ChaCha8Rng,
    /// The end of the last workload, for stories.
    history: String,
}

impl Harness {
    pub fn new(name: impl Into<String>, seed: u64) -> Self {
        Self {
            door: plain_door(),
            report: Report::new(name, seed),
            bound: Bound {
                exhaustive: 64,
                has_singles: true,
                random: 16,
                seed,
            },
            one_deep_of: u32::MAX,
            failures_max: 5,
            choice: ChaCha8Rng::seed_from_u64(seed),
            history: String::new(),
        }
    }

    pub fn is_done(&self) -> bool {
        self.report.failed >= self.failures_max
    }

    pub(crate) fn next_bound(&mut self) -> Bound {
        Bound {
            seed: self.choice.random(),
            ..self.bound
        }
    }

    /// Runs a workload with these faults; what must not happen while it runs is a failure.
    pub fn case(&mut self, workload: &Workload, plan: FaultPlan, what: &str) -> Run {
        self.case_on(workload, what, |disk| disk.set_plan(plan))
    }

    fn case_on(&mut self, workload: &Workload, what: &str, prepare: impl FnOnce(&SimDisk)) -> Run {
        let (disk, foreign) = prepared_disk(workload.has_new_root);
        prepare(&disk);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(workload, disk.clone(), foreign.clone(), &self.door)
        }));
        self.report.cases += 1;
        let run = outcome.unwrap_or_else(|payload| Run {
            disk: disk.clone(),
            model: Model::new(foreign),
            refusals: Vec::new(),
            violations: vec![format!(
                "panicked: {}",
                crate::oracle::panic_text(&*payload)
            )],
        });
        self.report.count_fired(&run.disk.fired());
        self.history = format!("{}{}", run.refusals.join("\n"), told(&run.disk));
        if let Some(violation) = run.violations.first() {
            self.fail(
                &format!("{}, {what}", workload.name),
                &run.disk,
                None,
                violation,
            );
        }
        run
    }

    /// X1: stops at every call, and recovers from everything that may be left.
    pub fn stop_everywhere(&mut self, workload: &Workload) {
        let whole = self.case(workload, FaultPlan::none(), "not stopped");
        if let Some(refusal) = whole.refusals.first() {
            self.fail(
                &workload.name,
                &whole.disk,
                None,
                &format!("refused: {refusal}"),
            );
        }
        let total = whole.disk.call_count();
        let mut before = None;
        for call in 1..=total + 1 {
            if self.is_done() {
                return;
            }
            let what = format!("stopped at call {call} of {total}");
            let run = self.case(workload, FaultPlan::stop_at(call), &what);
            // Where nothing was changed and nothing was promised, the disks are the same again.
            let moment = (run.disk.changing_calls(), run.model.version);
            let is_last_changing = run
                .disk
                .calls()
                .last()
                .is_some_and(|call| call.kind.is_changing());
            if before.replace((moment, is_last_changing)) != Some((moment, is_last_changing)) {
                self.recover_everywhere(&format!("{}, {what}", workload.name), &run);
            }
        }
    }

    /// X2: stops at every call, and refuses something to the process that comes next.
    pub fn refuse_every_recovery(&mut self, workload: &Workload) {
        let whole = self.case(workload, FaultPlan::none(), "not stopped");
        let total = whole.disk.call_count();
        for call in 1..=total {
            if self.is_done() {
                return;
            }
            let what = format!("stopped at call {call} of {total}");
            let run = self.case(workload, FaultPlan::stop_at(call), &what);
            let calls = run.disk.calls();
            // The last one is the stop itself.
            let before = calls.iter().rev().nth(1);
            if before.is_some_and(|call| call.kind.is_changing()) {
                let what = format!("{}, {what}, killed", workload.name);
                self.refuse_recovery(&what, &run.disk.kill(), &run.model);
            }
        }
    }

    /// Refuses every call in every way that it can be refused, lets the workload go on, and recovers.
    pub fn refuse_everywhere(&mut self, workload: &Workload, faults: &[Fault]) {
        let whole = self.case(workload, FaultPlan::none(), "not refused");
        for call in whole.disk.calls() {
            for fault in faults.iter().filter(|fault| fault.applies_to(call.kind)) {
                if self.is_done() {
                    return;
                }
                let what = format!("{fault} at call {call}");
                let plan = FaultPlan::none().with(call.number, *fault);
                let run = self.case(workload, plan, &what);
                if !run.disk.unfired().is_empty() {
                    self.fail(
                        &workload.name,
                        &run.disk,
                        None,
                        &format!("never fired: {what}"),
                    );
                }
                self.recover_everywhere(&format!("{}, {what}", workload.name), &run);
            }
        }
    }

    /// Runs a workload with less and less room, and fewer and fewer open files; each time the limit is
    /// lifted afterwards.
    pub fn run_short(&mut self, workload: &Workload, step_bytes: usize) {
        let whole = self.case(workload, FaultPlan::none(), "with room");
        let used_bytes: u64 = whole.disk.files().values().sum();
        for limit in (0..=used_bytes + 2000).step_by(step_bytes) {
            let what = format!("room for {limit} bytes");
            let run = self.case_on(workload, &what, |disk| disk.set_space_bytes(Some(limit)));
            run.disk.set_space_bytes(None);
            self.recover_everywhere(&format!("{}, {what}", workload.name), &run);
        }
        for limit in 0..8 {
            let what = format!("{limit} open files");
            let run = self.case_on(workload, &what, |disk| disk.set_open_files_max(Some(limit)));
            run.disk.set_open_files_max(None);
            self.recover_everywhere(&format!("{}, {what}", workload.name), &run);
        }
    }

    /// A loss of power, in all its forms, and a mere end of the process.
    pub fn recover_everywhere(&mut self, what: &str, run: &Run) {
        let killed = run.disk.kill();
        self.recover(&format!("{what}, killed"), &killed, &run.model, None, true);
        let crash = run.disk.crash();
        let bound = self.next_bound();
        for (number, state) in crash.states(bound).into_iter().enumerate() {
            if self.is_done() {
                return;
            }
            let cause = Some((&crash, state.choices.as_slice()));
            let copy = state.disk.kill();
            // The first one has lost everything that may be lost.
            let is_good = self.recover(what, &state.disk, &run.model, cause, number == 0);
            if is_good && self.choice.random_ratio(1, self.one_deep_of) {
                self.stop_recovery(&format!("{what}, then"), &copy, &run.model, DEPTH);
                self.refuse_recovery(what, &copy, &run.model);
            }
        }
        let one_killed_of = (self.one_deep_of / 8).max(1);
        if !self.is_done() && self.choice.random_ratio(1, one_killed_of) {
            self.stop_recovery(
                &format!("{what}, killed, then"),
                &run.disk.kill(),
                &run.model,
                3,
            );
        }
    }

    fn recover(
        &mut self,
        what: &str,
        disk: &SimDisk,
        model: &Model,
        cause: Option<(&Crash, &[usize])>,
        goes_on: bool,
    ) -> bool {
        let oracle = Oracle {
            door: &self.door,
            model,
            goes_on,
            collects: false,
        };
        let outcome = oracle.recover(disk, &mut None);
        self.report.crash_states += 1;
        match outcome {
            Ok(list) => {
                let path = if list.is_empty() { "empty" } else { "listed" };
                self.report.took(path);
                true
            }
            Err(violation) => {
                self.fail(what, disk, cause, &violation);
                false
            }
        }
    }

    /// X2: the recovery itself is stopped, `depth` deep.
    pub fn stop_recovery(&mut self, what: &str, disk: &SimDisk, model: &Model, depth: u32) {
        let probe = disk.kill();
        let oracle = Oracle {
            door: &self.door,
            model,
            goes_on: false,
            collects: false,
        };
        if oracle.recover(&probe, &mut None).is_err() {
            // Found and told without a stop as well.
            return;
        }
        let total = probe.call_count();
        let stops = if depth == DEPTH { 4 } else { 1 };
        for call in (1..=total).choose_multiple(&mut self.choice, stops) {
            let stopped = disk.kill();
            stopped.set_plan(FaultPlan::stop_at(call));
            let mut told = None;
            let outcome = Oracle {
                door: &self.door,
                model,
                goes_on: false,
                collects: false,
            }
            .recover(&stopped, &mut told);
            self.report.cases += 1;
            self.report.count_fired(&stopped.fired());
            let what = format!("{what} recovery stopped at call {call} of {total}");
            if let Err(violation) = outcome
                && (violation.starts_with("panicked") || !stopped.is_stopped())
            {
                self.fail(&what, &stopped, None, &violation);
            }
            let mut narrowed = model.clone();
            if let Some(told) = told {
                narrowed.shown(told);
            }
            self.recover_deep(&what, &stopped, &narrowed, depth - 1);
            if self.is_done() {
                return;
            }
        }
    }

    fn recover_deep(&mut self, what: &str, stopped: &SimDisk, model: &Model, depth: u32) {
        self.report
            .took(if depth == 0 { "three deep" } else { "deep" });
        let crash = stopped.crash();
        let bound = Bound {
            exhaustive: 16,
            has_singles: false,
            random: 8,
            seed: self.choice.random(),
        };
        let states = crash.states(bound);
        let chosen = states.iter().choose_multiple(&mut self.choice, 2);
        for state in chosen {
            let copy = state.disk.kill();
            let cause = Some((&crash, state.choices.as_slice()));
            let is_good = self.recover(what, &state.disk, model, cause, false);
            if is_good && depth > 0 {
                self.stop_recovery(&format!("{what}, then"), &copy, model, depth);
            }
        }
        let killed = stopped.kill();
        if self.recover(
            &format!("{what}, killed"),
            &stopped.kill(),
            model,
            None,
            false,
        ) && depth > 0
        {
            self.stop_recovery(&format!("{what}, killed, then"), &killed, model, depth);
        }
    }

    /// X2: the recovery itself is refused something. It may fail, but what it leaves is no worse: a
    /// checkpoint that could not be read for once is not damaged.
    pub fn refuse_recovery(&mut self, what: &str, disk: &SimDisk, model: &Model) {
        let probe = disk.kill();
        let recover = |disk: &SimDisk, door: &Door| {
            let oracle = Oracle {
                door,
                model,
                goes_on: false,
                collects: true,
            };
            oracle.recover(disk, &mut None)
        };
        if recover(&probe, &self.door).is_err() {
            return;
        }
        let calls = probe.calls();
        let mut plans = Vec::new();
        for fault in &Fault::ALL[1..] {
            let fitting = calls.iter().filter(|call| fault.applies_to(call.kind));
            // Syncs are few, and a recovery that takes a failed one for a good one is dangerous.
            let tried = if *fault == Fault::SyncFailed {
                usize::MAX
            } else {
                1
            };
            let chosen = fitting.choose_multiple(&mut self.choice, tried.min(calls.len()));
            plans.extend(chosen.into_iter().map(|call| (call, *fault)));
        }
        for (call, fault) in plans {
            let refused = disk.kill();
            refused.set_plan(FaultPlan::none().with(call.number, fault));
            let outcome = recover(&refused, &self.door);
            self.report.cases += 1;
            self.report.count_fired(&refused.fired());
            self.report.took("refused recovery");
            let what = format!("{what}, recovery with {fault} at {call}");
            match outcome {
                Err(violation) if violation.starts_with("panicked") => {
                    self.fail(&what, &refused, None, &violation);
                }
                _ => {}
            }
            self.recover(
                &format!("{what}, killed"),
                &refused.kill(),
                model,
                None,
                false,
            );
            let crash = refused.crash();
            for state in [crash.nothing(), crash.everything()] {
                let cause = Some((&crash, state.choices.as_slice()));
                self.recover(&what, &state.disk, model, cause, false);
            }
        }
    }

    /// Tells what happened, so that it can be understood without running it again.
    pub fn fail(
        &mut self,
        what: &str,
        disk: &SimDisk,
        cause: Option<(&Crash, &[usize])>,
        violation: &str,
    ) {
        let cause = cause.map_or_else(String::new, |(crash, choices)| {
            format!("\nloss of power:\n{}", crash.describe(choices))
        });
        let seed = self.report.seed;
        let story = format!(
            "{what} (seed {seed}): {violation}{cause}\nthe workload: {}\nthen: {}",
            self.history,
            told(disk)
        );
        self.report.fail(story);
    }
}

/// The last calls that may have changed something.
fn told(disk: &SimDisk) -> String {
    let calls = disk.calls();
    let changing = calls.iter().filter(|call| call.kind.is_changing());
    let last: Vec<String> = changing
        .rev()
        .take(CALLS_TOLD)
        .map(|call| format!("\n  {call}"))
        .collect();
    last.into_iter().rev().collect()
}
