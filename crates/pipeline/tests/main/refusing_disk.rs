//! P8: a disk that is full, or that fails to make things durable. A checkpoint fails with the reason, the
//! pipeline goes on, and the next checkpoint succeeds when the disk does again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use highwater_pipeline::{Pipeline, Settings};
use highwater_sim::{Bound, Fault, FaultPlan, SimDisk};

use crate::bench::{Program, eventually, expected_total, total_of};
use crate::stored::{checkpoint, insert, settings, start_on};

const ROOT: &str = "/state";

async fn start(disk: &SimDisk, settings: Settings) -> Pipeline {
    let started = start_on(disk.clone(), Path::new(ROOT), &Program::default(), settings).await;
    started.unwrap()
}

fn names(disk: &SimDisk) -> BTreeSet<PathBuf> {
    disk.files().into_keys().collect()
}

/// Starts on what a loss of power leaves.
async fn check_after_power_loss(disk: &SimDisk, rows: i64) {
    let bound = Bound {
        exhaustive: 4,
        has_singles: true,
        random: 2,
        seed: 8,
    };
    for state in disk.crash().states(bound) {
        let pipeline = start(&state.disk, settings()).await;
        assert_eq!(total_of(&pipeline.contents()), expected_total(rows));
        pipeline.stop().await;
    }
}

/// The disk is full after each of the bytes, in steps, that a checkpoint writes.
#[tokio::test(flavor = "multi_thread")]
async fn p8_a_full_disk_fails_the_checkpoint_and_not_the_pipeline() {
    const STEP_BYTES: u64 = 256;
    let mut failures = 0;
    for room_bytes in (0..).step_by(STEP_BYTES as usize) {
        let disk = SimDisk::new();
        let pipeline = start(&disk, settings()).await;
        insert(&pipeline, 0..3).await;
        checkpoint(&pipeline).await.unwrap();
        insert(&pipeline, 3..5).await;
        let before = names(&disk);
        let used_bytes: u64 = disk.files().values().sum();
        disk.set_space_bytes(Some(used_bytes + room_bytes));
        let Err(reason) = checkpoint(&pipeline).await else {
            pipeline.stop().await;
            break;
        };
        failures += 1;
        assert!(reason.contains("No space left"), "{reason}");
        let after = names(&disk);
        let left: Vec<_> = after.difference(&before).collect();
        let is_batch = |path: &&PathBuf| path.extension().is_some_and(|it| it == "feldera");
        assert!(left.iter().all(is_batch), "{left:?}");
        assert!(before.is_subset(&after), "nothing is removed");
        insert(&pipeline, 5..6).await;
        assert_eq!(total_of(&pipeline.contents()), expected_total(6));
        disk.set_space_bytes(None);
        checkpoint(&pipeline).await.unwrap();
        pipeline.stop().await;
        check_after_power_loss(&disk, 6).await;
    }
    assert!(failures > 10, "{failures}");
}

/// State that is in no memory any more is in files whose sync fails, as often as it is tried.
#[tokio::test(flavor = "multi_thread")]
async fn p8_files_whose_sync_failed_are_written_again() {
    // More than the least that is worth a file.
    const ROWS: i64 = 60_000;
    let disk = SimDisk::new();
    let scarce = Settings {
        state_bytes_max: 1 << 20,
        ..settings()
    };
    let pipeline = start(&disk, scarce).await;
    insert(&pipeline, 0..ROWS).await;
    let batch_bytes = || -> u64 {
        let files = disk.files().into_iter();
        let batches = files.filter(|(path, _)| path.to_string_lossy().contains("/w0-"));
        batches.map(|(_, size_bytes)| size_bytes).sum()
    };
    eventually("state is in files", || async { batch_bytes() > 0 }).await;
    disk.set_plan(FaultPlan::none().with_random(&[Fault::SyncFailed], 1_000, 1));
    for more in 0..3 {
        let reason = checkpoint(&pipeline).await.unwrap_err();
        assert!(reason.contains("cannot sync"), "{reason}");
        insert(&pipeline, ROWS + more..ROWS + more + 1).await;
    }
    let failed_bytes = batch_bytes();
    disk.set_plan(FaultPlan::none());
    checkpoint(&pipeline).await.unwrap();
    assert!(
        batch_bytes() < 2 * failed_bytes,
        "files that are of no use are removed"
    );
    pipeline.stop().await;
    check_after_power_loss(&disk, ROWS + 3).await;
}
