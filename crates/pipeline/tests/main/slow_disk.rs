//! A disk that does not answer: what goes on, and what waits.

use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use highwater_pipeline::OpenedStorage;
use highwater_storage::disk::{DirectoryEntry, DiskFile, Lock};
use highwater_storage::{Disk, LocalDisk};
use highwater_types::checkpoint::CheckpointActivity;
use uuid::Uuid;

use crate::bench::{Program, completed, eventually, push, total_of};
use crate::stored::{settings, start_on};

/// Writes wait while it is held.
#[derive(Debug, Default)]
struct Hold {
    is_held: Mutex<bool>,
    changed: Condvar,
}

impl Hold {
    fn set(&self, is_held: bool) {
        *self.is_held.lock().unwrap() = is_held;
        self.changed.notify_all();
    }

    fn wait(&self) {
        let held = self.is_held.lock().unwrap();
        drop(self.changed.wait_while(held, |held| *held).unwrap());
    }
}

#[derive(Debug)]
struct HeldDisk(Arc<Hold>);

#[derive(Debug)]
struct HeldFile(Arc<dyn DiskFile>, Arc<Hold>);

impl Disk for HeldDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = LocalDisk.create(path)?;
        Ok(Arc::new(HeldFile(file, Arc::clone(&self.0))))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        LocalDisk.open(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        LocalDisk.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.remove_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        LocalDisk.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        LocalDisk.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        LocalDisk.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        LocalDisk.free_bytes(path)
    }

    fn draw_uuid(&self) -> Uuid {
        LocalDisk.draw_uuid()
    }
}

impl DiskFile for HeldFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, buffer)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.1.wait();
        self.0.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.1.wait();
        self.0.sync()
    }
}

/// How long that takes is measured by `highwater-bench checkpoint`.
#[tokio::test(flavor = "multi_thread")]
async fn p6_steps_go_on_while_a_checkpoint_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let hold = Arc::new(Hold::default());
    let disk = HeldDisk(Arc::clone(&hold));
    let started = start_on(disk, folder.path(), &Program::default(), settings()).await;
    let pipeline = started.unwrap();
    let input = pipeline.open_http_input(0, "api".to_owned()).await.unwrap();
    push(&input, &[(0, 100, 1)]).await;
    completed(&pipeline, &input).await;

    hold.set(true);
    let sequence = pipeline.checkpoint().await.unwrap();
    eventually("it is being written", || async {
        let activity = pipeline.stats(false).await.unwrap().checkpoint_activity;
        matches!(activity, Some(CheckpointActivity::InProgress { .. }))
    })
    .await;
    for id in 1..50 {
        push(&input, &[(id, 1, 1)]).await;
        completed(&pipeline, &input).await;
        assert_eq!(total_of(&pipeline.contents()), (id + 1, Some(100 + id)));
    }
    let status = pipeline.checkpoint_status(None).await.unwrap();
    assert_eq!((status.success, status.failure), (None, None));

    hold.set(false);
    eventually("it is complete", || async {
        let status = pipeline.checkpoint_status(None).await.unwrap();
        status.success == Some(sequence)
    })
    .await;
    pipeline.stop().await;
    drop(pipeline);
    // It has what there was when it was asked for.
    let storage = OpenedStorage::open(Arc::new(LocalDisk), folder.path()).unwrap();
    assert_eq!(
        storage.saved().unwrap().record().counters.processed_records,
        1
    );
}
