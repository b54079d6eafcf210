//! Bodies and replies of the HTTP interface that are not statistics, errors or transactions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::difference::PipelineDiff;

/// Reply of `POST /ingress/{table}` and of `…/completion_token`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionTokenResponse {
    /// Opaque; for `GET /completion_status?token=…`.
    pub token: String,
}

/// Whether the records of a token are processed and delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CompletionStatus {
    Complete,
    InProgress,
}

/// Reply of `GET /completion_status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CompletionStatusResponse {
    pub status: CompletionStatus,
    /// The step that took the records up; `null` as long as they are queued.
    pub step: Option<u64>,
}

/// What a pipeline does, as `GET /status` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum RuntimeStatus {
    Initializing,
    /// The program has changed since the checkpoint, and nobody has said yet that it may go on.
    AwaitingApproval,
    Paused,
    Running,
}

/// Reply of `GET /status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusResponse {
    pub runtime_status: RuntimeStatus,
    pub runtime_status_details: RuntimeStatusDetails,
    pub runtime_desired_status: RuntimeStatus,
    #[schema(value_type = Object)]
    pub storage_status_details: Value,
}

/// Details of [`StatusResponse`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuntimeStatusDetails {
    pub connector_stats: ConnectorStats,
    /// What waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_diff: Option<PipelineDiff>,
}

/// Errors of all connectors together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConnectorStats {
    /// Transport, parse and encode errors.
    pub num_errors: u64,
}

/// One metric of `GET /metrics?format=json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Metric {
    /// The same name as in the Prometheus text.
    pub key: String,
    /// `counter` or `gauge`.
    #[serde(rename = "type")]
    pub kind: MetricKind,
    pub description: String,
    pub values: Vec<MetricValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    Counter,
    Gauge,
}

/// A value of a metric, with its labels if it has any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct MetricValue {
    pub value: f64,
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Reply of `GET /v0/config`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Configuration {
    pub edition: String,
    pub version: String,
    pub revision: String,
    pub runtime_revision: String,
    pub telemetry: String,
    pub posthog: String,
    pub conceptualhq: String,
    pub product_fruits: String,
    pub changelog_url: String,
    pub build_source: String,
    pub build_info: BuildInfo,
    #[schema(value_type = Option<Object>)]
    pub license_validity: Option<Value>,
    #[schema(value_type = Option<Object>)]
    pub update_info: Option<Value>,
    pub unstable_features: Option<String>,
}

/// How the binary was built; empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BuildInfo {
    pub build_timestamp: String,
    pub build_cpu: String,
    pub build_os: String,
    pub cargo_dependencies: String,
    pub cargo_features: String,
    pub cargo_debug: String,
    pub cargo_opt_level: String,
    pub cargo_target_triple: String,
    pub rustc_version: String,
}

/// Reply of `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Health {
    pub status: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replies_have_the_names_of_the_contract() {
        let status = CompletionStatusResponse {
            status: CompletionStatus::InProgress,
            step: None,
        };
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({"status": "inprogress", "step": null})
        );
        let status = StatusResponse {
            runtime_status: RuntimeStatus::Running,
            runtime_status_details: RuntimeStatusDetails::default(),
            runtime_desired_status: RuntimeStatus::Paused,
            storage_status_details: json!({"checkpoints": []}),
        };
        let expected = json!({
            "runtime_status": "Running",
            "runtime_status_details": {"connector_stats": {"num_errors": 0}},
            "runtime_desired_status": "Paused",
            "storage_status_details": {"checkpoints": []},
        });
        assert_eq!(serde_json::to_value(status).unwrap(), expected);
    }
}
