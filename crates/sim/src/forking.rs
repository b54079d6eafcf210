//! X1 for forks into another root: stopped or refused at every call, the source is as it was, and the
//! target is a whole copy, or nothing that anybody would take for one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use uuid::Uuid;

use crate::corruption::Specimen;
use crate::enumeration::Harness;
use crate::faults::{Fault, FaultPlan};
use crate::oracle::{Oracle, STORAGE_ROOT, items, open_store, panic_text};
use crate::sim_disk::SimDisk;

/// Where the fork goes.
const TARGET: &str = "/data/copy";

/// A fork that was tried.
struct Attempt {
    disk: SimDisk,
    /// It was said to have succeeded.
    is_promised: bool,
}

impl Harness {
    /// Stops a fork at every call, and refuses it in these ways.
    pub fn fork_everywhere(&mut self, faults: &[Fault]) {
        let specimen = self.specimen();
        let uuid = specimen.model().memory[0].uuid;
        let whole = self.fork(&specimen, uuid, FaultPlan::none());
        let calls = whole.disk.calls();
        if !whole.is_promised {
            self.fail("a fork", &whole.disk, None, "failed without a fault");
        }
        for call in 1..=calls.len() as u64 + 1 {
            let attempt = self.fork(&specimen, uuid, FaultPlan::stop_at(call));
            self.judge_fork(
                &specimen,
                uuid,
                &attempt,
                &format!("fork stopped at call {call}"),
            );
        }
        for call in &calls {
            for fault in faults.iter().filter(|fault| fault.applies_to(call.kind)) {
                let plan = FaultPlan::none().with(call.number, *fault);
                let attempt = self.fork(&specimen, uuid, plan);
                self.judge_fork(
                    &specimen,
                    uuid,
                    &attempt,
                    &format!("fork, {fault} at call {call}"),
                );
            }
        }
    }

    fn fork(&mut self, specimen: &Specimen, uuid: Uuid, plan: FaultPlan) -> Attempt {
        let disk = specimen.disk().kill();
        disk.set_plan(plan);
        let opened = open_store((self.door)(disk.clone()), Path::new(STORAGE_ROOT));
        let forked = opened.and_then(|store| store.fork(uuid, Path::new(TARGET)));
        self.report.cases += 1;
        self.report.count_fired(&disk.fired());
        Attempt {
            is_promised: forked.is_ok(),
            disk,
        }
    }

    fn judge_fork(&mut self, specimen: &Specimen, uuid: Uuid, attempt: &Attempt, what: &str) {
        let crash = attempt.disk.crash();
        let bound = self.next_bound();
        let states = crash.states(bound);
        let mut disks = vec![(attempt.disk.kill(), None)];
        disks.extend(
            states
                .into_iter()
                .map(|state| (state.disk, Some(state.choices))),
        );
        for (disk, choices) in disks {
            if self.is_done() {
                return;
            }
            let oracle = Oracle {
                door: &self.door,
                model: specimen.model(),
                goes_on: false,
                collects: false,
            };
            let judged = oracle.recover(&disk, &mut None).and_then(|_| {
                let target = catch_unwind(AssertUnwindSafe(|| {
                    judge_target(&oracle, &disk, uuid, attempt.is_promised)
                }));
                target.unwrap_or_else(|payload| Err(format!("panicked: {}", panic_text(&*payload))))
            });
            self.report.crash_states += 1;
            match judged {
                Ok(found) => self.report.took(found),
                Err(violation) => {
                    let cause = choices.as_deref().map(|choices| (&crash, choices));
                    self.fail(what, &disk, cause, &violation);
                }
            }
        }
    }
}

fn judge_target(
    oracle: &Oracle<'_>,
    disk: &SimDisk,
    uuid: Uuid,
    is_promised: bool,
) -> Result<&'static str, String> {
    let opened = open_store((oracle.door)(disk.clone()), Path::new(TARGET));
    let store = match opened {
        Ok(store) => store,
        Err(error) if is_promised => return Err(format!("the fork cannot be opened: {error}")),
        Err(_) => return Ok("no fork, refused"),
    };
    let list = items(&store);
    match list.as_slice() {
        [] if is_promised => Err("the fork is empty".to_owned()),
        [] => Ok("no fork, empty"),
        [item] if item.uuid == uuid && !item.is_pinned && item.identifier.is_none() => {
            match store.newest_usable() {
                Err(_) if !is_promised => Ok("no fork, unusable"),
                Err(error) => Err(format!("the fork is damaged: {error}")),
                Ok(_) => oracle.check_contents(&store, uuid).map(|()| "forked"),
            }
        }
        _ => Err(format!("the fork lists {list:?}")),
    }
}
