//! The metrics of checkpoints: how long, how much, when last.

use chrono::{DateTime, Utc};
use highwater_pipeline::controller::CheckpointCounters;
use highwater_types::api::{Metric, MetricKind};

use super::{metric, plain};

use MetricKind::{Counter, Gauge};

type OfCheckpoints = (
    &'static str,
    MetricKind,
    &'static str,
    fn(&CheckpointCounters) -> f64,
);

const CHECKPOINTS: &[OfCheckpoints] = &[
    (
        "checkpoint_successes_total",
        Counter,
        "Checkpoints that were published",
        |it| it.successes as f64,
    ),
    (
        "checkpoint_failures_total",
        Counter,
        "Checkpoints that failed",
        |it| it.failures as f64,
    ),
    (
        "checkpoint_unchanged_total",
        Counter,
        "Requests that the checkpoint before has answered, because nothing had changed",
        |it| it.unchanged as f64,
    ),
    (
        "checkpoint_delay_seconds",
        Gauge,
        "From the request to the snapshot, of the last checkpoint",
        |it| it.last_delay.as_secs_f64(),
    ),
    (
        "checkpoint_duration_seconds",
        Gauge,
        "From the snapshot to its publication, of the last checkpoint",
        |it| it.last_duration.as_secs_f64(),
    ),
    (
        "checkpoint_written_bytes",
        Gauge,
        "Bytes of batch files that the last checkpoint wrote",
        |it| it.last_bytes_written as f64,
    ),
    (
        "checkpoint_written_files",
        Gauge,
        "Batch files that the last checkpoint wrote",
        |it| it.last_files_written as f64,
    ),
    (
        "checkpoint_last_success_timestamp_seconds",
        Gauge,
        "When the last checkpoint was published; 0 before the first",
        |it| seconds(it.last_success_at),
    ),
    (
        "checkpoint_last_failure_timestamp_seconds",
        Gauge,
        "When the last checkpoint failed; 0 if none has",
        |it| seconds(it.last_failure_at),
    ),
];

fn seconds(moment: Option<DateTime<Utc>>) -> f64 {
    moment.map_or(0.0, |moment| moment.timestamp_millis() as f64 / 1_000.0)
}

/// All metrics of checkpoints.
pub(super) fn metrics(counters: &CheckpointCounters) -> impl Iterator<Item = Metric> + '_ {
    CHECKPOINTS.iter().map(|(key, kind, description, read)| {
        metric(key, *kind, description, plain(read(counters)))
    })
}
