//! The same as X1 to X3 for as long as one likes, with new seeds each time:
//! `HIGHWATER_SIM_MINUTES=60 cargo test --release -p highwater-sim --test long -- --ignored --nocapture`

use std::time::{Duration, Instant, SystemTime};

use highwater_sim::Fault;
use highwater_sim::corruption::Specimen;
use highwater_sim::enumeration::Harness;
use highwater_sim::report::Report;
use highwater_sim::workload::scripts;

const PRINT_INTERVAL: Duration = Duration::from_secs(60);

/// One workload of its own, with everything that can happen to it.
fn everything_with(seed: u64) -> Report {
    let mut harness = Harness::new(format!("seed {seed}"), seed);
    let workload = scripts::random(seed, 10 + (seed % 15) as usize);
    harness.one_deep_of = 500;
    harness.stop_everywhere(&workload);
    harness.bound.exhaustive = 4;
    harness.bound.has_singles = false;
    harness.bound.random = 2;
    harness.refuse_everywhere(&workload, &Fault::ALL[1..]);
    harness.run_short(&workload, 300);
    harness.report
}

#[test]
#[ignore = "takes as many minutes as HIGHWATER_SIM_MINUTES says (1 by default)"]
fn x1_x2_for_minutes_with_fresh_seeds() {
    let minutes = std::env::var("HIGHWATER_SIM_MINUTES").ok();
    let minutes: u64 = minutes.map_or(1, |text| text.parse().expect("a number of minutes"));
    let epoch = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    let first_seed = epoch.as_secs() * 1000;
    println!("first seed {first_seed}, {minutes} minutes");
    let start = Instant::now();
    let mut last_print = start;
    let mut total = Report::new("long", first_seed);
    let mut seed = first_seed;
    while start.elapsed() < Duration::from_secs(minutes * 60) {
        total.absorb(everything_with(seed));
        if total.failed > 0 {
            println!("failed with seed {seed}");
            break;
        }
        seed += 1;
        if last_print.elapsed() > PRINT_INTERVAL {
            println!("{total}; next seed {seed}");
            last_print = Instant::now();
        }
    }
    total.conclude();
    total.require_fired(&Fault::ALL).unwrap();
}

#[test]
#[ignore = "every bit of every file; a minute"]
fn x3_every_single_bit_flip_in_every_file() {
    let mut harness = Harness::new("x3 all flips", 9);
    let specimen = harness.specimen();
    for (path, damage) in Specimen::flips(specimen.files()) {
        harness.damage(&specimen, &path, &damage);
    }
    harness.report.conclude();
}
