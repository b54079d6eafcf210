//! X4: the machinery itself: each planted bug is caught, and runs that saw nothing fail.

use std::io::Write;

use highwater_sim::Fault;
use highwater_sim::enumeration::Harness;
use highwater_sim::mutants::Mutant;
use highwater_sim::report::Report;

#[test]
fn x4_every_planted_bug_is_caught() {
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        let mut harness = Harness::new(format!("{mutant:?}"), 8);
        harness.hunt(mutant);
        let report = &harness.report;
        let (cases, states) = (report.cases, report.crash_states);
        match report.failures.first() {
            Some(story) => {
                let line = story.lines().next().unwrap_or_default();
                say(&format!(
                    "{mutant:?}: caught after {cases} cases, {states} crash states: {line}"
                ));
            }
            None => {
                say(&format!(
                    "{mutant:?}: NOT caught in {cases} cases, {states} crash states"
                ));
                missed.push(mutant);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
fn x4_without_a_planted_bug_the_hunt_finds_nothing() {
    let mut harness = Harness::new("x4 no bug", 8);
    harness.hunt_all();
    harness.report.conclude();
}

#[test]
fn x4_a_run_in_which_a_fault_never_fired_fails() {
    let mut report = Report::new("idle", 0);
    let absent = report.require_fired(&[Fault::Stop, Fault::NoSpace]);
    assert_eq!(absent.unwrap_err(), "idle: never fired: stop, ENOSPC");
    report.count_fired(&[(Fault::Stop, 1)].into());
    assert!(report.require_fired(&[Fault::Stop]).is_ok());
    assert!(report.require_paths(&["listed"]).is_err());
    let concluded = std::panic::catch_unwind(|| report.conclude());
    assert!(concluded.is_err(), "nothing was tried");
}

#[test]
fn x4_a_failure_fails_the_run_and_tells_its_story() {
    let mut report = Report::new("bad", 1);
    report.crash_states = 10;
    report.fail("a story".to_owned());
    let concluded = std::panic::catch_unwind(|| report.conclude());
    let payload = concluded.unwrap_err();
    let text = payload.downcast_ref::<String>().expect("text");
    assert!(text.contains("a story"), "{text}");
    assert!(
        report
            .to_string()
            .ends_with("failures 1, 95 % upper bound none")
    );
}

/// Shows a line though the test passes.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
