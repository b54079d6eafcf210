//! X2: recoveries that are stopped themselves, three deep, or refused something.

use highwater_sim::Fault;
use highwater_sim::enumeration::Harness;
use highwater_sim::workload::scripts;

#[test]
fn x2_a_stop_during_recovery_three_deep() {
    let mut harness = Harness::new("x2", 5);
    harness.bound.exhaustive = 0;
    harness.bound.has_singles = false;
    harness.bound.random = 1;
    harness.one_deep_of = 350;
    for workload in scripts::written() {
        harness.stop_everywhere(&workload);
    }
    let paths = ["deep", "three deep", "refused recovery"];
    harness.report.require_fired(&[Fault::Stop]).unwrap();
    harness.report.require_paths(&paths).unwrap();
    harness.report.conclude();
}

#[test]
fn x2_a_refusal_during_every_recovery() {
    let mut harness = Harness::new("x2 refused", 10);
    for workload in [scripts::shared_files(), scripts::retention()] {
        harness.refuse_every_recovery(&workload);
    }
    harness.report.require_fired(&Fault::ALL).unwrap();
    harness.report.conclude();
}
