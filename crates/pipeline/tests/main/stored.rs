//! What tests do with a pipeline on a storage root.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use highwater_connectors::clock::SystemClock;
use highwater_pipeline::{OpenedStorage, Pipeline, Settings};
use highwater_storage::Disk;

use crate::bench::{Program, completed, definition, push};

/// Checkpoints only when they are asked for.
pub(crate) fn settings() -> Settings {
    Settings {
        checkpoint_interval: None,
        ..Settings::default()
    }
}

/// A pipeline that goes on from the root and runs; or why not.
pub(crate) async fn start_on(
    disk: impl Disk + 'static,
    root: &Path,
    program: &Program,
    settings: Settings,
) -> Result<Pipeline, String> {
    let storage = OpenedStorage::open(Arc::new(disk), root).map_err(|error| error.to_string())?;
    let clock = Arc::new(SystemClock::new());
    let started = Pipeline::start_on(definition(program), settings, clock, storage);
    let pipeline = started.map_err(|error| error.to_string())?;
    pipeline.resume().await.map_err(|error| error.to_string())?;
    Ok(pipeline)
}

/// Inserts accounts of these numbers, each with a balance of ten times its number.
pub(crate) async fn insert(pipeline: &Pipeline, ids: Range<i64>) {
    let rows: Vec<_> = ids.map(|id| (id, 10 * id, 1)).collect();
    let input = pipeline.open_http_input(0, "api".to_owned()).await.unwrap();
    push(&input, &rows).await;
    completed(pipeline, &input).await;
}

/// Takes a checkpoint that covers everything so far; or the reason why it failed.
pub(crate) async fn checkpoint(pipeline: &Pipeline) -> Result<(), String> {
    let sequence = pipeline.checkpoint().await.unwrap();
    loop {
        let status = pipeline.checkpoint_status(None).await.unwrap();
        if status.success >= Some(sequence) {
            return Ok(());
        }
        let failure = status.failure;
        if let Some(failure) = failure.filter(|failure| failure.sequence_number == sequence) {
            return Err(failure.error);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
