//! X1: workloads that are stopped, or refused something, at every call, and recovery from every disk
//! that may be left behind.

use highwater_sim::Fault;
use highwater_sim::enumeration::Harness;
use highwater_sim::workload::scripts;

#[test]
fn x1_a_stop_at_every_call_of_the_written_workloads() {
    let mut harness = Harness::new("x1 written", 1);
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
    for seed in 0..6 {
        harness.stop_everywhere(&scripts::random(seed, 14));
    }
    harness.report.require_fired(&[Fault::Stop]).unwrap();
    harness.report.require_paths(&["empty", "listed"]).unwrap();
    harness.report.conclude();
}

#[test]
fn x1_a_refusal_at_every_call() {
    let mut harness = Harness::new("x1 refused", 3);
    harness.bound.exhaustive = 8;
    harness.bound.has_singles = false;
    harness.bound.random = 2;
    let faults = &Fault::ALL[1..];
    for workload in scripts::written() {
        harness.refuse_everywhere(&workload, faults);
    }
    harness.report.require_fired(faults).unwrap();
    harness.report.conclude();
}

#[test]
fn x1_a_refusal_at_every_call_of_random_workloads() {
    let mut harness = Harness::new("x1 refused, random", 4);
    harness.bound.exhaustive = 8;
    harness.bound.has_singles = false;
    harness.bound.random = 2;
    let faults = &Fault::ALL[1..];
    for seed in 100..103 {
        harness.refuse_everywhere(&scripts::random(seed, 14), faults);
    }
    harness.report.require_fired(faults).unwrap();
    harness.report.conclude();
}
