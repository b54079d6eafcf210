//! Checkpoints as clients see them, and as the disk and the bucket hold them.
//!
//! Names and JSON forms are shared with other programs. Readers tolerate unknown fields and missing
//! optional ones, so that records of older and newer versions stay readable.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::suspend::TemporarySuspendError;

/// Reply of `GET /checkpoint_status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointStatus {
    /// The greatest sequence number whose checkpoint is durable.
    #[serde(default)]
    pub success: Option<u64>,
    /// The last failure; a later success does not clear it.
    #[serde(default)]
    pub failure: Option<CheckpointFailure>,
}

/// A checkpoint that was asked for and could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointFailure {
    pub sequence_number: u64,
    pub error: String,
    pub failed_at: DateTime<Utc>,
}

/// What checkpointing does now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum CheckpointActivity {
    #[default]
    Idle,
    /// One is asked for and waits.
    Delayed {
        reasons: Vec<TemporarySuspendError>,
        /// Kept when the reasons change.
        delayed_since: DateTime<Utc>,
    },
    InProgress {
        started_at: DateTime<Utc>,
    },
}

/// Reply of `POST /checkpoint`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointResponse {
    /// For `GET /checkpoint_status`.
    pub checkpoint_sequence_number: u64,
    /// The process that counts; older ones did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation_uuid: Option<Uuid>,
}

/// Reply of `POST /checkpoint/sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointSyncResponse {
    /// The checkpoint that is sent to the bucket.
    pub checkpoint_uuid: Uuid,
    /// The process that sends it; older ones did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation_uuid: Option<Uuid>,
}

/// Reply of `GET /checkpoint/sync_status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointSyncStatus {
    /// The last one that was sent because somebody asked.
    #[serde(default)]
    pub success: Option<Uuid>,
    #[serde(default)]
    pub failure: Option<CheckpointSyncFailure>,
    /// The last one that was sent by the clock.
    #[serde(default)]
    pub periodic: Option<Uuid>,
}

/// A checkpoint that could not be sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointSyncFailure {
    pub uuid: Uuid,
    pub error: String,
}

/// What a transfer to or from a bucket took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointSyncMetrics {
    /// `{secs, nanos}`.
    #[schema(value_type = Object)]
    pub duration: Duration,
    /// Bytes per second.
    pub speed: u64,
    pub bytes: u64,
}

/// One checkpoint: an entry of the catalog, and of the reply of `GET /checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CheckpointMetadata {
    /// Version 7: later ones are greater. Names the checkpoint's folder.
    pub uuid: Uuid,
    /// A name that somebody gave it.
    #[serde(default)]
    pub identifier: Option<String>,
    /// Of the circuit.
    pub fingerprint: u64,
    /// Bytes of all its files.
    #[serde(default)]
    pub size: Option<u64>,
    /// Steps since the pipeline was empty.
    #[serde(default)]
    pub steps: Option<u64>,
    /// Input records since the pipeline was empty.
    #[serde(default)]
    pub processed_records: Option<u64>,
}

/// `pspine-batches-*.dat`: one worker's batch files, for tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PSpineBatches {
    pub files: Vec<String>,
}

/// `dependencies.json`: the files that a checkpoint needs, in any form that was ever written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum CheckpointDependencies {
    V2 {
        /// At the root, shared with other checkpoints.
        batches: Vec<String>,
        /// In the checkpoint's folder.
        #[serde(default)]
        state_files: Vec<String>,
    },
    /// Batches only.
    V1(Vec<String>),
}

impl CheckpointDependencies {
    /// Files at the root.
    pub fn batches(&self) -> &[String] {
        match self {
            Self::V2 { batches, .. } | Self::V1(batches) => batches,
        }
    }

    /// Files in the checkpoint's folder; version 1 did not list them.
    pub fn state_files(&self) -> &[String] {
        match self {
            Self::V2 { state_files, .. } => state_files,
            Self::V1(_) => &[],
        }
    }
}

/// What is written as `dependencies.json`: always version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct CheckpointDependenciesWrite<'a> {
    pub batches: &'a [String],
    pub state_files: &'a [String],
}

#[cfg(test)]
mod tests;
