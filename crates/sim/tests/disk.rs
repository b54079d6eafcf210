//! The simulated disk keeps the promises of the door, takes what it may, and fails as told.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use highwater_sim::contract::CHECKS;
use highwater_sim::{Bound, CallKind, CrashState, Fault, FaultPlan, SimDisk, trace};
use highwater_storage::LocalDisk;
use highwater_storage::disk::{Disk, DiskFile, Lock};

const ALL: Bound = Bound {
    exhaustive: 100_000,
    has_singles: false,
    random: 0,
    seed: 0,
};

fn path(text: &str) -> &Path {
    Path::new(text)
}

/// The outcome of crash states, as sorted text: the files and what is in them.
fn outcomes(states: &[CrashState]) -> BTreeSet<String> {
    states.iter().map(|state| picture(&state.disk)).collect()
}

fn picture(disk: &SimDisk) -> String {
    let files = disk.files().into_keys().map(|path| {
        let bytes = disk.read(&path);
        format!(
            "{}={}",
            path.display(),
            String::from_utf8_lossy(&bytes).replace('\0', ".")
        )
    });
    files.collect::<Vec<_>>().join(" ")
}

fn set<const N: usize>(pictures: [&str; N]) -> BTreeSet<String> {
    pictures.iter().map(ToString::to_string).collect()
}

fn write(disk: &SimDisk, name: &str, bytes: &[u8]) -> Arc<dyn DiskFile> {
    let file = disk.create(path(name)).unwrap();
    file.append(bytes).unwrap();
    file
}

#[test]
fn contract_of_the_local_disk() {
    for (_, check) in CHECKS {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        check(&disk, folder.path());
    }
}

#[test]
fn contract_of_the_simulated_disk() {
    for (_, check) in CHECKS {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        disk.create_dir(path("/folder")).unwrap();
        check(&disk, path("/folder"));
    }
}

#[test]
fn crash_takes_names_and_data_that_were_not_synced() {
    let disk = SimDisk::new();
    write(&disk, "/a", b"xy");
    let states = disk.crash().states(ALL);
    assert_eq!(outcomes(&states), set(["", "/a=", "/a=xy", "/a=.."]));
    assert_eq!(states.len(), 4, "equal disks count once");
}

#[test]
fn crash_keeps_what_was_synced() {
    let disk = SimDisk::new();
    let file = write(&disk, "/a", b"xy");
    file.sync().unwrap();
    assert_eq!(outcomes(&disk.crash().states(ALL)), set(["", "/a=xy"]));
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&disk.crash().states(ALL)), set(["/a=xy"]));
    file.append(b"z").unwrap();
    let states = disk.crash().states(ALL);
    assert_eq!(outcomes(&states), set(["/a=xy", "/a=xyz", "/a=xy."]));
}

#[test]
fn crash_never_halves_a_rename() {
    let disk = SimDisk::new();
    write(&disk, "/c", b"1").sync().unwrap();
    write(&disk, "/n", b"2").sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.rename(path("/n"), path("/c")).unwrap();
    let states = disk.crash().states(ALL);
    assert_eq!(outcomes(&states), set(["/c=1 /n=2", "/c=2"]));
}

#[test]
fn crash_keeps_a_rename_whose_data_is_lost() {
    let disk = SimDisk::new();
    write(&disk, "/c", b"1").sync().unwrap();
    disk.sync_dir(path("/")).unwrap();
    write(&disk, "/n", b"2");
    disk.rename(path("/n"), path("/c")).unwrap();
    let expected = [
        "/c=1",
        "/c=1 /n=",
        "/c=1 /n=2",
        "/c=1 /n=.",
        "/c=",
        "/c=2",
        "/c=.",
    ];
    assert_eq!(outcomes(&disk.crash().states(ALL)), set(expected));
}

#[test]
fn crash_undoes_removals_in_any_order() {
    let disk = SimDisk::new();
    for name in ["/a", "/b"] {
        write(&disk, name, b"1").sync().unwrap();
    }
    disk.hard_link(path("/a"), path("/l")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    disk.remove_file(path("/a")).unwrap();
    disk.remove_file(path("/b")).unwrap();
    let expected = ["/l=1", "/a=1 /l=1", "/b=1 /l=1", "/a=1 /b=1 /l=1"];
    assert_eq!(outcomes(&disk.crash().states(ALL)), set(expected));
}

#[test]
fn crash_takes_a_folder_with_all_that_is_in_it() {
    let disk = SimDisk::new();
    disk.create_dir(path("/d")).unwrap();
    write(&disk, "/d/a", b"1").sync().unwrap();
    disk.sync_dir(path("/d")).unwrap();
    assert_eq!(outcomes(&disk.crash().states(ALL)), set(["", "/d/a=1"]));
    disk.sync_dir(path("/")).unwrap();
    disk.remove_file(path("/d/a")).unwrap();
    disk.remove_dir(path("/d")).unwrap();
    let states = disk.crash().states(ALL);
    // Gone, empty, and as before.
    assert_eq!(states.len(), 3);
    assert_eq!(outcomes(&states), set(["", "/d/a=1"]));
}

#[test]
fn crash_tears_at_sectors() {
    let disk = SimDisk::new();
    let file = disk.create(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    file.append(&[b'x'; 2000]).unwrap();
    let lengths: BTreeSet<(usize, usize)> = disk
        .crash()
        .states(ALL)
        .iter()
        .map(|state| {
            let bytes = state.disk.read(path("/a"));
            (
                bytes.len(),
                bytes.iter().filter(|byte| **byte == b'x').count(),
            )
        })
        .collect();
    let expected = [
        (0, 0),
        (1024, 1024),
        (2000, 0),
        (2000, 976),
        (2000, 1024),
        (2000, 2000),
    ];
    assert_eq!(lengths, BTreeSet::from(expected));
}

#[test]
fn crash_beyond_the_bound_tries_the_extremes_and_random_ones() {
    let disk = SimDisk::new();
    for number in 0..12 {
        write(&disk, &format!("/{number}"), b"").sync().unwrap();
    }
    let bound = Bound {
        exhaustive: 1000,
        has_singles: true,
        random: 50,
        seed: 7,
    };
    let crash = disk.crash();
    let states = crash.states(bound);
    let counts: Vec<usize> = states
        .iter()
        .map(|state| state.disk.files().len())
        .collect();
    let of = |count| counts.iter().filter(|found| **found == count).count();
    assert_eq!((of(0), of(12)), (1, 1));
    assert!(of(1) >= 12 && of(11) >= 12, "{counts:?}");
    assert!(states.len() > 60, "{counts:?}");
    let again: Vec<String> = crash
        .states(bound)
        .iter()
        .map(|state| picture(&state.disk))
        .collect();
    let first: Vec<String> = states.iter().map(|state| picture(&state.disk)).collect();
    assert_eq!(again, first);
    assert_eq!(
        picture(&crash.state(states[40].choices.clone()).disk),
        first[40]
    );
    assert_eq!(crash.describe(&states[40].choices).lines().count(), 12);
}

#[test]
fn kill_keeps_what_was_written_and_makes_nothing_durable() {
    let disk = SimDisk::new();
    write(&disk, "/a", b"x");
    let Lock::Held(_guard) = disk.lock(path("/lock")).unwrap() else {
        panic!("it is free")
    };
    disk.set_plan(FaultPlan::stop_at(disk.call_count() + 1));
    let refused = disk.list(path("/")).unwrap_err();
    assert!(refused.to_string().contains("simulated stop"), "{refused}");
    assert!(disk.create(path("/b")).is_err() && disk.is_stopped());
    let next = disk.kill();
    assert_eq!(next.read(path("/a")), b"x");
    assert!(matches!(next.lock(path("/lock")), Ok(Lock::Held(_))));
    assert_eq!(picture(&next.crash().nothing().disk), "");
    let everything = next.crash().everything().disk;
    assert!(picture(&everything).starts_with("/a=x /lock=4"));
    assert_eq!(everything.crash().effects(), 0);
}

#[test]
fn restart_ends_a_process_and_counts_on() {
    let disk = SimDisk::new();
    let file = write(&disk, "/a", b"x");
    let _guard = disk.lock(path("/lock")).unwrap();
    let calls = disk.call_count();
    let next = disk.restart();
    assert!(file.append(b"y").is_err() && disk.list(path("/")).is_err());
    assert_eq!((next.call_count(), next.is_stopped()), (calls, false));
    assert_eq!(next.read(path("/a")), b"x");
    assert!(matches!(next.lock(path("/lock")), Ok(Lock::Held(_))));
    assert_eq!(next.call_count(), calls + 1);
    assert_eq!(picture(&next.crash().nothing().disk), "");
}

#[test]
fn lock_tells_the_holder_to_another_process() {
    let disk = SimDisk::new();
    let held = disk.lock(path("/lock")).unwrap();
    let other = disk.other_process();
    let Lock::Taken { holder } = other.lock(path("/lock")).unwrap() else {
        panic!("it is taken")
    };
    assert_eq!(holder, Some(disk.process_id()));
    drop(held);
    assert!(matches!(other.lock(path("/lock")), Ok(Lock::Held(_))));
}

/// One scenario that has a call of every kind.
fn every_call(disk: &SimDisk) -> usize {
    let outcomes = [
        disk.create_dir(path("/d")).is_ok(),
        disk.create(path("/d/a"))
            .and_then(|file| {
                file.append(&[b'x'; 100])?;
                file.sync()?;
                file.len()?;
                file.read_at(0, &mut [0; 10])
            })
            .is_ok(),
        disk.hard_link(path("/d/a"), path("/d/b")).is_ok(),
        disk.rename(path("/d/b"), path("/d/c")).is_ok(),
        disk.sync_dir(path("/d")).is_ok(),
        disk.list(path("/d")).is_ok(),
        disk.open(path("/d/a")).is_ok(),
        disk.lock(path("/d/lock")).is_ok(),
        disk.free_bytes(path("/d")).is_ok(),
        disk.remove_file(path("/d/a")).is_ok(),
        disk.create_dir(path("/d/e")).is_ok(),
        disk.remove_dir(path("/d/e")).is_ok(),
    ];
    outcomes.iter().filter(|is_ok| **is_ok).count()
}

#[test]
fn faults_of_every_kind_fire_at_every_call_that_they_fit_and_are_counted() {
    let disk = SimDisk::new();
    assert_eq!(every_call(&disk), 12);
    let calls = disk.calls();
    let kinds: BTreeSet<CallKind> = calls.iter().map(|call| call.kind).collect();
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    for fault in Fault::ALL {
        let mut fired = 0;
        for call in &calls {
            let disk = SimDisk::new();
            disk.set_plan(FaultPlan::none().with(call.number, fault));
            let succeeded = every_call(&disk);
            let expected = u64::from(fault.applies_to(call.kind));
            assert_eq!(disk.fired().get(&fault).copied().unwrap_or(0), expected);
            assert_eq!(disk.unfired().len() as u64, 1 - expected);
            assert_eq!(succeeded < 12, expected == 1, "{fault} at {call}");
            fired += expected;
        }
        assert!(fired > 0, "{fault} fits nothing");
    }
}

#[test]
fn fault_short_write_leaves_a_part() {
    let disk = SimDisk::new();
    disk.set_plan(FaultPlan::none().with(2, Fault::ShortWrite));
    let file = disk.create(path("/a")).unwrap();
    assert!(file.append(b"1234").is_err());
    assert_eq!(disk.read(path("/a")), b"12");
    file.append(b"34").unwrap();
    assert_eq!(disk.read(path("/a")), b"1234");
}

#[test]
fn fault_after_the_deed_leaves_the_deed() {
    let disk = SimDisk::new();
    disk.set_plan(FaultPlan::none().with(2, Fault::DoneButRefused));
    let file = disk.create(path("/a")).unwrap();
    assert!(file.append(b"1234").is_err());
    assert_eq!(disk.read(path("/a")), b"1234");
}

#[test]
fn fault_of_a_sync_leaves_doubt_for_ever() {
    let disk = SimDisk::new();
    let file = write(&disk, "/a", b"x");
    disk.set_plan(
        FaultPlan::none()
            .with(3, Fault::SyncFailed)
            .with(5, Fault::SyncFailed),
    );
    assert!(file.sync().is_err());
    file.sync().expect("as on Linux");
    assert!(disk.sync_dir(path("/")).is_err());
    disk.sync_dir(path("/")).expect("as on Linux");
    let states = disk.crash().states(ALL);
    assert_eq!(outcomes(&states), set(["", "/a=", "/a=x", "/a=."]));
    // A removal that is certain ends the doubt about the name.
    disk.remove_file(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(outcomes(&disk.crash().states(ALL)), set([""]));
}

#[test]
fn fault_no_space_until_space_is_given_back() {
    let disk = SimDisk::new();
    disk.set_space_bytes(Some(10));
    let file = write(&disk, "/a", b"12345678");
    assert_eq!(disk.free_bytes(path("/")).unwrap(), 2);
    let error = file.append(b"9abc").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(disk.read(path("/a")), b"123456789a");
    disk.remove_file(path("/a")).unwrap();
    write(&disk, "/b", b"0123456789");
    assert_eq!(disk.fired()[&Fault::NoSpace], 1);
    disk.set_space_bytes(None);
    write(&disk, "/c", b"0123456789");
}

#[test]
fn fault_too_many_open_files() {
    let disk = SimDisk::new();
    disk.set_open_files_max(Some(2));
    let first = write(&disk, "/a", b"");
    let _second = disk.open(path("/a")).unwrap();
    let error = disk.open(path("/a")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(24));
    assert_eq!(disk.open_files(), 2);
    drop(first);
    disk.open(path("/a")).unwrap();
    assert_eq!(disk.fired()[&Fault::TooManyFiles], 1);
}

#[test]
fn same_seed_same_trace() {
    let run = |seed| {
        let disk = SimDisk::new();
        disk.set_plan(FaultPlan::none().with_random(&Fault::ALL[1..], 200, seed));
        let succeeded = every_call(&disk);
        (trace::hash(&disk.calls()), succeeded, disk.fired())
    };
    let seeds = 0..50;
    for seed in seeds.clone() {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
    let different: BTreeSet<u64> = seeds.map(|seed| run(seed).0).collect();
    assert!(
        different.len() > 40,
        "only {} different runs",
        different.len()
    );
}

#[test]
fn damage_is_no_call() {
    let disk = SimDisk::new();
    disk.plant(path("/x/y/a"), b"ab");
    disk.plant(path("/x/b"), b"cd");
    disk.flip_bit(path("/x/y/a"), 9);
    assert_eq!(disk.read(path("/x/y/a")), [b'a', b'b' ^ 2]);
    disk.swap(path("/x/y/a"), path("/x/b"));
    disk.resize(path("/x/y/a"), 3);
    assert_eq!(disk.read(path("/x/y/a")), b"cd\0");
    disk.resize(path("/x/y/a"), 1);
    disk.vanish(path("/x/b"));
    assert_eq!(picture(&disk.crash().nothing().disk), "/x/y/a=c");
    assert_eq!(disk.call_count(), 0);
}
