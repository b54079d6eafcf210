//! X3: damage to each kind of file is detected before use, or provably harmless.

use highwater_sim::enumeration::Harness;

#[test]
fn x3_every_single_bit_flip() {
    let mut harness = Harness::new("x3 flips", 6);
    let specimen = harness.specimen();
    for (path, damage) in specimen.flips() {
        harness.damage(&specimen, &path, &damage);
    }
    let paths = ["refused", "passed over", "found by reading", "harmless"];
    harness.report.require_paths(&paths).unwrap();
    harness.report.conclude();
}

#[test]
fn x3_files_that_vanish_shrink_grow_or_change_places() {
    let mut harness = Harness::new("x3 larger damages", 7);
    let specimen = harness.specimen();
    for (path, damage) in specimen.larger_damages() {
        harness.damage(&specimen, &path, &damage);
    }
    let paths = ["refused", "passed over", "found by reading", "harmless"];
    harness.report.require_paths(&paths).unwrap();
    harness.report.conclude();
}
