//! The body of `GET /stats`: counters of a pipeline, its inputs and its outputs.
//!
//! Field names are the contract with clients, which compare counters with `==` to find out whether a
//! pipeline is idle: a record is counted when it is received, again when its step is evaluated
//! (*processed*), and again when all outputs have delivered that step (*completed*).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::checkpoint::CheckpointActivity;
use crate::suspend::SuspendError;
use crate::transaction::{CommitProgress, TransactionInitiators, TransactionStatus};

/// Everything that `GET /stats` tells; exactly these keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineStats {
    pub global_metrics: GlobalMetrics,
    /// Sorted by `endpoint_name`.
    pub inputs: Vec<InputEndpointStatus>,
    /// Sorted by `endpoint_name`.
    pub outputs: Vec<OutputEndpointStatus>,
    /// Why the pipeline cannot be suspended now.
    pub suspend_error: Option<SuspendError>,
    pub checkpoint_activity: Option<CheckpointActivity>,
    pub permanent_checkpoint_errors: Option<Vec<String>>,
}

/// What the pipeline is asked to do with its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum PipelineState {
    #[default]
    Paused,
    Running,
    /// Stopped, by request or by an error.
    Terminated,
}

/// How far a bootstrap beside the running views is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum ConcurrentBootstrapPhase {
    #[default]
    Inactive,
    ConcurrentBootstrapping,
    Synchronizing,
}

/// How close the process is to its memory limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MemoryPressure {
    /// Also if there is no limit.
    #[default]
    Low,
    Moderate,
    High,
    Critical,
}

/// Counters of the whole pipeline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct GlobalMetrics {
    pub state: PipelineState,
    pub bootstrap_in_progress: bool,
    pub transaction_status: TransactionStatus,
    /// 0 if there is none.
    pub transaction_id: i64,
    pub transaction_msecs: Option<u64>,
    pub transaction_records: Option<u64>,
    pub commit_progress: Option<CommitProgress>,
    pub transaction_initiators: TransactionInitiators,
    pub concurrent_bootstrap_phase: ConcurrentBootstrapPhase,
    pub concurrent_bootstrap_progress: Option<CommitProgress>,
    /// Memory of this process now.
    pub rss_bytes: u64,
    /// Processor time of this process.
    pub cpu_msecs: u64,
    pub uptime_msecs: u64,
    pub memory_pressure: MemoryPressure,
    pub memory_pressure_epoch: u64,
    /// Seconds since 1970: start of this process.
    pub start_time: u64,
    /// Seconds since 1970: first start since the storage was empty.
    pub initial_start_time: u64,
    /// Drawn at each start.
    pub incarnation_uuid: Uuid,
    pub storage_bytes: u64,
    pub storage_mb_secs: u64,
    /// Time spent in steps, times the number of workers.
    pub runtime_elapsed_msecs: u64,
    /// Received, but not yet in a step.
    pub buffered_input_records: u64,
    pub buffered_input_bytes: u64,
    pub total_input_records: u64,
    pub total_input_bytes: u64,
    pub total_processed_records: u64,
    pub total_processed_bytes: u64,
    pub total_completed_records: u64,
    /// Time during which steps waited for an output.
    pub output_stall_msecs: u64,
    pub total_initiated_steps: u64,
    pub total_completed_steps: u64,
    /// All inputs but HTTP ones have ended and all their records are completed.
    pub pipeline_complete: bool,
}

/// The relation that an endpoint belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointConfig {
    pub stream: String,
}

/// One input connector or HTTP input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InputEndpointStatus {
    /// `table.connector`.
    pub endpoint_name: String,
    pub config: EndpointConfig,
    pub metrics: InputEndpointMetrics,
    /// Paused by its user or its configuration, whatever the pipeline does.
    pub paused: bool,
    /// True if it holds up checkpoints.
    pub barrier: bool,
    pub fatal_error: Option<String>,
    pub health: Option<EndpointHealth>,
    pub completed_frontier: Option<CompletedFrontier>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parse_errors: Option<Vec<ConnectorError>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_errors: Option<Vec<ConnectorError>>,
}

/// Counters of one input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InputEndpointMetrics {
    pub total_bytes: u64,
    /// Rows that were read and are good.
    pub total_records: u64,
    pub buffered_records: u64,
    pub buffered_bytes: u64,
    pub num_transport_errors: u64,
    /// Rows that were refused.
    pub num_parse_errors: u64,
    pub end_of_input: bool,
    pub processing_latency_p99_micros: Option<u64>,
}

/// One output connector or follower.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputEndpointStatus {
    /// `view.connector`.
    pub endpoint_name: String,
    pub config: EndpointConfig,
    pub metrics: OutputEndpointMetrics,
    pub fatal_error: Option<String>,
    pub health: Option<EndpointHealth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encode_errors: Option<Vec<ConnectorError>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport_errors: Option<Vec<ConnectorError>>,
}

/// Counters of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OutputEndpointMetrics {
    pub transmitted_records: u64,
    pub transmitted_bytes: u64,
    /// Handed to the output, not yet delivered.
    pub queued_records: u64,
    pub queued_batches: u64,
    pub buffered_records: u64,
    pub buffered_batches: u64,
    pub num_encode_errors: u64,
    pub num_transport_errors: u64,
    /// Input records of the pipeline whose effects this output has delivered.
    pub total_processed_input_records: u64,
    /// Steps that this output has delivered, changed or not.
    pub total_processed_steps: u64,
    /// Bytes of the rows that are queued.
    pub memory: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_records_written: Option<u64>,
}

/// Whether an endpoint works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EndpointHealth {
    pub status: HealthStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum HealthStatus {
    Healthy,
    Unhealthy,
}

/// The newest piece of an input whose effects are delivered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletedFrontier {
    /// The transport's position after the piece.
    #[schema(value_type = Object)]
    pub metadata: Value,
    pub ingested_at: DateTime<Utc>,
    pub processed_at: DateTime<Utc>,
    pub completed_at: DateTime<Utc>,
}

/// An error that an endpoint has met and survived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConnectorError {
    pub timestamp: DateTime<Utc>,
    /// Counts the errors of this kind of this endpoint.
    pub index: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    pub message: String,
}

#[cfg(test)]
mod tests;
