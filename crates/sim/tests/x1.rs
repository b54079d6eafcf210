//! X1: workloads that are stopped, or refused something, at every call, and recovery from every disk
//! that may be left behind.

use highwater_sim::enumeration::Harness;
use highwater_sim::workload::{prepared_disk, run, scripts};
use highwater_sim::{Fault, FaultPlan, oracle, trace};

#[test]
fn x1_a_stop_at_every_call_of_the_written_workloads() {
    let mut harness = Harness::new("x1 written", 1);
    harness.bound.exhaustive = 16;
    harness.bound.random = 2;
    for workload in scripts::written() {
        harness.stop_everywhere(&workload);
    }
    harness.report.require_fired(&[Fault::Stop]).unwrap();
    harness.report.require_paths(&["empty", "listed"]).unwrap();
    harness.report.conclude();
}

#[test]
fn x1_a_stop_at_every_call_of_random_workloads() {
    let mut harness = Harness::new("x1 random", 2);
    harness.bound.exhaustive = 16;
    harness.bound.random = 6;
    for seed in 0..3 {
        harness.stop_everywhere(&scripts::random(seed, 12));
    }
    harness.report.require_fired(&[Fault::Stop]).unwrap();
    harness.report.require_paths(&["empty", "listed"]).unwrap();
    harness.report.conclude();
}

/// Few crash states per case, since there are many cases.
fn refusing(name: &str, seed: u64) -> Harness {
    let mut harness = Harness::new(name, seed);
    harness.bound.exhaustive = 0;
    harness.bound.has_singles = false;
    harness.bound.random = 1;
    harness
}

#[test]
fn x1_a_refusal_at_every_call() {
    let mut harness = refusing("x1 refused", 3);
    let faults = &Fault::ALL[1..];
    for workload in scripts::short() {
        harness.refuse_everywhere(&workload, faults);
    }
    for seed in 100..102 {
        harness.refuse_everywhere(&scripts::random(seed, 12), faults);
    }
    harness.report.require_fired(faults).unwrap();
    harness.report.conclude();
}

#[test]
fn x1_too_little_room_and_too_few_open_files() {
    let mut harness = refusing("x1 short", 4);
    for workload in scripts::written() {
        harness.run_short(&workload, 500);
    }
    let faults = [Fault::NoSpace, Fault::TooManyFiles];
    harness.report.require_fired(&faults).unwrap();
    harness.report.conclude();
}

#[test]
fn x1_forks_into_another_root() {
    let mut harness = refusing("x1 forks", 9);
    harness.bound.exhaustive = 8;
    harness.bound.random = 2;
    let faults = &Fault::ALL[1..];
    harness.fork_everywhere(faults);
    harness.report.require_fired(faults).unwrap();
    harness
        .report
        .require_paths(&["forked", "no fork, empty", "no fork, refused"])
        .unwrap();
    harness.report.conclude();
}

/// O8: a seed that is printed is worth something only if it brings back the same run.
#[test]
fn x1_the_same_seed_is_the_same_run() {
    let faults = [Fault::InputOutput, Fault::SyncFailed, Fault::ShortWrite];
    let trace = |seed: u64, per_mille| {
        let workload = scripts::random(seed, 14);
        let (disk, foreign) = prepared_disk(workload.has_new_root);
        disk.set_plan(FaultPlan::none().with_random(&faults, per_mille, seed));
        let run = run(&workload, disk, foreign, &oracle::plain_door());
        assert_eq!(run.violations, Vec::<String>::new(), "seed {seed}");
        trace::hash(&run.disk.calls())
    };
    for seed in 0..20 {
        assert_eq!(trace(seed, 0), trace(seed, 0), "seed {seed}");
        assert_eq!(trace(seed, 30), trace(seed, 30), "seed {seed}, with faults");
    }
}

#[test]
fn x1_what_a_start_shows_after_a_failed_sync_lasts() {
    let mut harness = Harness::new("x1 strict", 5);
    let workload = scripts::start_after_a_failed_change();
    harness.refuse_everywhere(&workload, &[Fault::SyncFailed]);
    harness.report.conclude();
}
