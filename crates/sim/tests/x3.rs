//! X3: damage to each kind of file is detected before use, or provably harmless.

use highwater_sim::corruption::{Damage, Specimen};
use highwater_sim::enumeration::Harness;

/// Every way in which a damage may end.
const PATHS: [&str; 4] = ["refused", "passed over", "found by reading", "harmless"];

#[test]
fn x3_every_single_bit_flip_in_a_file_of_each_kind() {
    let mut harness = Harness::new("x3 flips", 6);
    let specimen = harness.specimen();
    let files = specimen.one_of_each_kind();
    // Catalog, lock, batch, manifest, state: the marker is empty.
    assert_eq!(files.len(), 5, "{files:?}");
    for (path, damage) in Specimen::flips(files) {
        harness.damage(&specimen, &path, &damage);
    }
    harness.report.require_paths(&PATHS).unwrap();
    harness.report.conclude();
}

#[test]
fn x3_files_that_vanish_shrink_grow_or_change_places() {
    let mut harness = Harness::new("x3 larger damages", 7);
    let specimen = harness.specimen();
    for (path, damage) in specimen.larger_damages() {
        harness.damage(&specimen, &path, &damage);
    }
    harness.report.require_paths(&PATHS).unwrap();
    harness.report.conclude();
}

#[test]
fn x3_one_bit_of_every_byte_of_every_file() {
    let mut harness = Harness::new("x3 bytes", 8);
    let specimen = harness.specimen();
    for (path, size_bytes) in specimen.files() {
        for byte in 0..size_bytes as usize {
            let damage = Damage::Flip(byte * 8 + byte % 8);
            harness.damage(&specimen, &path, &damage);
        }
    }
    harness.report.conclude();
}
