//! The real pipeline on a simulated disk: stopped or refused at every call, with what a loss of power may
//! leave (X1), and every checkpoint restored (C13).

use std::collections::BTreeSet;
use std::path::Path;

use highwater_pipeline::{Pipeline, Settings};
use highwater_sim::report::Report;
use highwater_sim::{Bound, Fault, FaultPlan, SimDisk};
use highwater_storage::LocalDisk;
use highwater_zset::Delta;
use tokio::task::JoinSet;

use crate::bench::{Program, TOTAL, contents_of, expected_total, rows_of, total_of};
use crate::stored::{self, checkpoint, insert, start_on};

const ROOT: &str = "/state";

fn settings(workers: usize) -> Settings {
    Settings {
        workers,
        ..stored::settings()
    }
}

/// What a life of a pipeline has confirmed, and what it may have saved besides: numbers of accounts.
#[derive(Clone, Debug, Default)]
struct Saved {
    confirmed: i64,
    possible: BTreeSet<i64>,
    /// Checkpoints that failed.
    refused: u64,
}

async fn open(disk: &SimDisk, workers: usize) -> Result<Pipeline, String> {
    let program = Program::default();
    start_on(disk.clone(), Path::new(ROOT), &program, settings(workers)).await
}

/// One round: some rows, a checkpoint; true if that is confirmed.
async fn round(pipeline: &Pipeline, saved: &mut Saved, rows: i64) -> bool {
    let before = total_of(&pipeline.contents()).0;
    let count = before + rows;
    insert(pipeline, before..count).await;
    saved.possible.insert(count);
    let is_confirmed = checkpoint(pipeline).await.is_ok();
    if is_confirmed {
        saved.confirmed = count;
        saved.possible.retain(|possible| *possible >= count);
    }
    saved.refused += u64::from(!is_confirmed);
    is_confirmed
}

/// Rounds until the disk stops, or all are done.
async fn live(disk: &SimDisk, workers: usize, rounds: &[i64]) -> Saved {
    let mut saved = Saved::default();
    saved.possible.insert(0);
    let Ok(pipeline) = open(disk, workers).await else {
        return saved;
    };
    for rows in rounds {
        let is_confirmed = round(&pipeline, &mut saved, *rows).await;
        if !is_confirmed && disk.is_stopped() {
            break;
        }
    }
    pipeline.stop().await;
    saved
}

/// Starts on what was left, checks it, and goes on for a round.
async fn recover(disk: &SimDisk, saved: &Saved, workers: usize) -> Result<(), String> {
    let mut found = saved.clone();
    for workers in [workers, 3 - workers] {
        let pipeline = open(disk, workers).await?;
        let total = contents_of(&pipeline.contents(), TOTAL);
        let [(values, 1)] = total.as_slice() else {
            return Err(format!("a total of {total:?}"));
        };
        let total = (values[0].unwrap_or_default(), values[1]);
        if total != expected_total(total.0) {
            return Err(format!("two checkpoints are mixed: {total:?}"));
        }
        if total.0 < found.confirmed || !found.possible.contains(&total.0) {
            return Err(format!("{} accounts, but saved was {found:?}", total.0));
        }
        let is_confirmed = round(&pipeline, &mut found, 2).await;
        pipeline.stop().await;
        if !is_confirmed {
            return Err("no checkpoint after the recovery".to_owned());
        }
    }
    Ok(())
}

fn bound(seed: u64) -> Bound {
    Bound {
        exhaustive: 4,
        has_singles: false,
        random: 1,
        seed,
    }
}

/// A life with these faults, then recoveries from a kill and from losses of power at its end.
async fn case(number: u64, faults: FaultPlan, workers: usize, rounds: &[i64]) -> Report {
    let mut report = Report::new("a case", number);
    report.cases = 1;
    let what = format!("{faults:?}");
    let disk = SimDisk::new();
    disk.set_plan(faults);
    let saved = live(&disk, workers, rounds).await;
    report.count_fired(&disk.fired());
    if saved.refused > 1 && !disk.is_stopped() {
        report.fail(format!("{what}: later checkpoints are refused too"));
    }
    let states = disk.crash().states(bound(number));
    let disks = states.into_iter().map(|state| state.disk);
    for (number, left) in disks.chain([disk.kill()]).enumerate() {
        report.crash_states += 1;
        if let Err(error) = recover(&left, &saved, 1 + number % 2).await {
            report.fail(format!("{what}, disk {number}: {error}"));
        }
    }
    report
}

/// All cases, several at once: their threads mostly wait for each other.
async fn all_cases(
    report: &mut Report,
    plans: Vec<FaultPlan>,
    workers: usize,
    rounds: &'static [i64],
) {
    const AT_ONCE: usize = 8;
    let mut running = JoinSet::new();
    for (number, plan) in plans.into_iter().enumerate() {
        if running.len() == AT_ONCE
            && let Some(ended) = running.join_next().await
        {
            report.absorb(ended.unwrap());
        }
        running.spawn(case(number as u64, plan, workers, rounds));
    }
    for ended in running.join_all().await {
        report.absorb(ended);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn x1_a_pipeline_is_stopped_at_every_call() {
    const ROUNDS: &[i64] = &[3, 0, 2, 1];
    let mut report = Report::new("x1 pipeline, stopped", 1);
    let whole = SimDisk::new();
    let saved = live(&whole, 2, ROUNDS).await;
    assert_eq!(saved.confirmed, 6);
    let calls = whole.call_count();
    assert!(calls > 100, "{calls}");
    let plans = (1..=calls).map(FaultPlan::stop_at).collect();
    all_cases(&mut report, plans, 2, ROUNDS).await;
    report.require_fired(&[Fault::Stop]).unwrap();
    report.conclude();
}

#[tokio::test(flavor = "multi_thread")]
async fn x1_a_pipeline_is_refused_every_call() {
    const ROUNDS: &[i64] = &[3, 2, 1];
    let mut report = Report::new("x1 pipeline, refused", 2);
    let whole = SimDisk::new();
    live(&whole, 1, ROUNDS).await;
    let calls = whole.calls();
    let plans = calls.iter().zip(1..).flat_map(|(call, number)| {
        let kind = call.kind;
        let faults = Fault::ALL[1..].iter();
        let applicable = faults.filter(move |fault| fault.applies_to(kind));
        applicable.map(move |fault| FaultPlan::none().with(number, *fault))
    });
    all_cases(&mut report, plans.collect(), 1, ROUNDS).await;
    report.require_fired(&Fault::ALL[1..]).unwrap();
    report.conclude();
}

/// A checkpoint after every step; each is restored by itself, and all relations are what they were.
#[tokio::test(flavor = "multi_thread")]
async fn c13_every_checkpoint_restores_its_own_step() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("state");
    let all = |pipeline: &Pipeline| {
        let definition = pipeline.definition().clone();
        let contents = pipeline.contents();
        let relations = definition.relations().map(|(relation, _)| {
            let parts = contents.snapshots(relation);
            let deltas: Vec<Delta> = parts.iter().flat_map(|it| it.scan().unwrap()).collect();
            rows_of(&deltas)
        });
        relations.collect::<Vec<_>>()
    };
    let start = async |root: &Path, workers: usize| {
        let settings = Settings {
            retained_checkpoints: 100,
            ..settings(workers)
        };
        let started = start_on(LocalDisk, root, &Program::default(), settings).await;
        started.unwrap()
    };
    let pipeline = start(&root, 2).await;
    let mut states = Vec::new();
    let mut saved = Saved::default();
    for rows in [4, 1, 7, 2, 3, 1] {
        assert!(round(&pipeline, &mut saved, rows).await);
        states.push(all(&pipeline));
    }
    let store = pipeline.store().unwrap().clone();
    let entries = store.entries();
    assert_eq!(entries.len(), states.len());
    for (number, (entry, expected)) in entries.iter().zip(&states).enumerate() {
        let fork = folder.path().join(format!("fork-{number}"));
        store.fork(entry.uuid(), &fork).unwrap();
        let restored = start(&fork, 1 + number % 3).await;
        assert_eq!(&all(&restored), expected, "checkpoint {number}");
        restored.stop().await;
    }
    pipeline.stop().await;
}
