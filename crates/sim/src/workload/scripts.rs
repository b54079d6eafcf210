//! The workloads: a few that are written down, and as many random ones as there are seeds.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Publication, Step, Workload};

fn publish(keys: &[usize], states: &[usize], retain: usize) -> Step {
    Step::Publish(Publication {
        keys: keys.to_vec(),
        states: states.to_vec(),
        identifier: None,
        retain,
        meanwhile: None,
    })
}

fn write(key: usize, bytes: usize) -> Step {
    Step::Write {
        key,
        worker: key % 2,
        bytes,
    }
}

fn workload(name: &str, steps: Vec<Step>) -> Workload {
    Workload {
        name: name.to_owned(),
        has_new_root: false,
        is_strict: false,
        steps,
    }
}

/// Each shows something that the others do not.
pub fn written() -> Vec<Workload> {
    let further = [
        shared_files(),
        pins_and_names(),
        restarts(),
        changed_minds(),
        forks(),
        retention(),
    ];
    short().into_iter().chain(further).collect()
}

/// The shorter half of them.
pub fn short() -> Vec<Workload> {
    let first = vec![write(0, 700), publish(&[0], &[300], 2)];
    let nothing = vec![publish(&[], &[], 1), publish(&[], &[], 1)];
    vec![
        Workload {
            has_new_root: true,
            ..workload("first checkpoint", first)
        },
        workload("nothing in it", nothing),
        kills(),
        two_at_once(),
    ]
}

/// Three checkpoints with common batch files.
pub fn shared_files() -> Workload {
    let steps = vec![
        write(0, 600),
        write(1, 600),
        publish(&[0, 1], &[200], 2),
        write(2, 600),
        publish(&[0, 2], &[200, 1100], 2),
        Step::Forget { key: 1 },
        write(3, 600),
        Step::Forget { key: 0 },
        publish(&[2, 3], &[200], 1),
        Step::Collect { retain: 1 },
    ];
    workload("shared files", steps)
}

fn pins_and_names() -> Workload {
    let named = |identifier: Option<&str>| Step::Name {
        position: 1,
        identifier: identifier.map(str::to_owned),
    };
    let pin = |is_pinned| Step::Pin {
        position: 0,
        is_pinned,
    };
    let steps = vec![
        write(0, 300),
        publish(&[0], &[100], 1),
        pin(true),
        write(0, 300),
        publish(&[0], &[100], 1),
        named(Some("before the change")),
        publish(&[0], &[100], 1),
        pin(false),
        Step::Collect { retain: 1 },
        named(None),
        Step::Remove { position: 0 },
        Step::Collect { retain: 1 },
    ];
    workload("pins and names", steps)
}

fn restarts() -> Workload {
    let steps = vec![
        write(0, 300),
        publish(&[0], &[600], 2),
        write(1, 300),
        Step::Reopen,
        write(2, 300),
        publish(&[2], &[100], 2),
        Step::Reopen,
        Step::Reopen,
        publish(&[], &[100], 2),
    ];
    workload("restarts", steps)
}

fn changed_minds() -> Workload {
    let abandon = |keys: &[usize]| Step::Abandon {
        keys: keys.to_vec(),
        state_bytes: 600,
    };
    let steps = vec![
        abandon(&[]),
        write(0, 300),
        abandon(&[0]),
        publish(&[0], &[100], 2),
        write(1, 300),
        abandon(&[0, 1]),
        Step::Forget { key: 1 },
        publish(&[0], &[100], 2),
        Step::Remove { position: 0 },
        abandon(&[0]),
        Step::Remove { position: 0 },
        publish(&[0], &[100], 2),
    ];
    workload("changed minds", steps)
}

fn forks() -> Workload {
    let fork = |position, retain| Step::Fork { position, retain };
    let steps = vec![
        write(0, 300),
        write(1, 300),
        publish(&[0, 1], &[100], 3),
        Step::Reopen,
        fork(0, 3),
        fork(0, 2),
        Step::Remove { position: 0 },
        fork(0, 1),
    ];
    workload("forks", steps)
}

/// More and fewer of them are kept.
pub fn retention() -> Workload {
    let steps = vec![
        write(0, 100),
        publish(&[0], &[100], 2),
        write(0, 100),
        publish(&[0], &[100], 2),
        write(0, 100),
        publish(&[0], &[100], 3),
        write(0, 100),
        publish(&[0], &[100], 3),
        write(0, 100),
        publish(&[0], &[100], 2),
        Step::Collect { retain: 1 },
    ];
    workload("retention", steps)
}

fn kills() -> Workload {
    let steps = vec![
        write(0, 300),
        publish(&[0], &[100], 1),
        write(1, 300),
        Step::Kill,
        write(1, 300),
        publish(&[1], &[100], 1),
        Step::Kill,
        Step::Abandon {
            keys: vec![],
            state_bytes: 100,
        },
        Step::Kill,
        publish(&[], &[100], 1),
    ];
    workload("kills", steps)
}

fn two_at_once() -> Workload {
    let publish_while = |keys: &[usize], meanwhile| {
        Step::Publish(Publication {
            keys: keys.to_vec(),
            states: vec![100],
            identifier: None,
            retain: 1,
            meanwhile: Some(meanwhile),
        })
    };
    let steps = vec![
        write(0, 100),
        publish(&[0], &[100], 1),
        write(1, 100),
        publish_while(&[1], (0, true)),
        write(2, 100),
        publish_while(&[1, 2], (0, false)),
    ];
    workload("two at once", steps)
}

/// A start after a change that failed must not show what a loss of power takes back.
pub fn start_after_a_failed_change() -> Workload {
    let steps = vec![publish(&[], &[60], 2), publish(&[], &[60], 2), Step::Reopen];
    Workload {
        is_strict: true,
        ..workload("start after a failed change", steps)
    }
}

/// Small files of every kind: two checkpoints that share a batch file, of which the older is pinned.
pub fn specimen() -> Workload {
    let steps = vec![
        write(0, 48),
        write(1, 48),
        publish(&[0, 1], &[24, 24], 2),
        Step::Pin {
            position: 0,
            is_pinned: true,
        },
        write(2, 48),
        Step::Publish(Publication {
            keys: vec![0, 2],
            states: vec![24, 24],
            identifier: Some("second".to_owned()),
            retain: 2,
            meanwhile: None,
        }),
    ];
    workload("specimen", steps)
}

/// A random workload.
pub fn random(seed: u64, length: usize) -> Workload {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let steps = (0..length)
        .map(|number| random_step(&mut random, number))
        .collect();
    Workload {
        name: format!("random {seed}"),
        has_new_root: seed.is_multiple_of(4),
        is_strict: false,
        steps,
    }
}

/// Names are given once only: they are refused otherwise.
fn random_step(random: &mut ChaCha8Rng, number: usize) -> Step {
    let key = random.random_range(0..4);
    let position = random.random_range(0..3);
    let retain = random.random_range(1..=3);
    match random.random_range(0..20) {
        0..5 => write(key, *[0, 60, 300, 600, 1300].choose(random).unwrap_or(&60)),
        5 => Step::Forget { key },
        6..11 => {
            let keys = (0..4).filter(|_| random.random_bool(0.6)).collect();
            let count = random.random_range(0..3);
            let states = (0..count).map(|_| *[0, 60, 700].choose(random).unwrap_or(&60));
            Step::Publish(Publication {
                keys,
                states: states.collect(),
                identifier: random.random_bool(0.1).then(|| format!("name {number}")),
                retain,
                meanwhile: random.random_bool(0.2).then_some((position, true)),
            })
        }
        11 => Step::Abandon {
            keys: vec![key],
            state_bytes: 60,
        },
        12 | 13 => Step::Pin {
            position,
            is_pinned: random.random_bool(0.5),
        },
        14 => Step::Name {
            position,
            identifier: random.random_bool(0.3).then(|| format!("name {number}")),
        },
        15 => Step::Remove { position },
        16 => Step::Collect { retain },
        17 => Step::Fork { position, retain },
        18 => Step::Reopen,
        _ => Step::Kill,
    }
}
