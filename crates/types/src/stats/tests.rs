use serde_json::json;

use super::*;
use crate::suspend::PermanentSuspendError;

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sample() -> PipelineStats {
    PipelineStats {
        global_metrics: GlobalMetrics::default(),
        inputs: vec![InputEndpointStatus {
            endpoint_name: "t1.c1".to_owned(),
            config: EndpointConfig {
                stream: "t1".to_owned(),
            },
            ..InputEndpointStatus::default()
        }],
        outputs: vec![OutputEndpointStatus {
            endpoint_name: "v1.unnamed-0".to_owned(),
            ..OutputEndpointStatus::default()
        }],
        suspend_error: Some(SuspendError::Permanent(vec![
            PermanentSuspendError::StorageRequired,
        ])),
        checkpoint_activity: Some(CheckpointActivity::Idle),
        permanent_checkpoint_errors: None,
    }
}

#[test]
fn top_level_keys_are_exact() {
    let value = serde_json::to_value(sample()).unwrap();
    let expected = [
        "global_metrics",
        "inputs",
        "outputs",
        "suspend_error",
        "checkpoint_activity",
        "permanent_checkpoint_errors",
    ];
    assert_eq!(keys(&value), expected);
    assert_eq!(
        value["suspend_error"],
        json!({"Permanent": ["StorageRequired"]})
    );
    assert_eq!(value["checkpoint_activity"], json!({"status": "idle"}));
    assert_eq!(value["permanent_checkpoint_errors"], Value::Null);
}

#[test]
fn global_metrics_are_the_contract() {
    let value = serde_json::to_value(GlobalMetrics::default()).unwrap();
    let expected = json!({
        "state": "Paused",
        "bootstrap_in_progress": false,
        "transaction_status": "NoTransaction",
        "transaction_id": 0,
        "transaction_msecs": null,
        "transaction_records": null,
        "commit_progress": null,
        "transaction_initiators":
            {"transaction_id": null, "initiated_by_api": null, "initiated_by_connectors": {}},
        "concurrent_bootstrap_phase": "Inactive",
        "concurrent_bootstrap_progress": null,
        "rss_bytes": 0,
        "cpu_msecs": 0,
        "uptime_msecs": 0,
        "memory_pressure": "low",
        "memory_pressure_epoch": 0,
        "start_time": 0,
        "initial_start_time": 0,
        "incarnation_uuid": "00000000-0000-0000-0000-000000000000",
        "storage_bytes": 0,
        "storage_mb_secs": 0,
        "runtime_elapsed_msecs": 0,
        "buffered_input_records": 0,
        "buffered_input_bytes": 0,
        "total_input_records": 0,
        "total_input_bytes": 0,
        "total_processed_records": 0,
        "total_processed_bytes": 0,
        "total_completed_records": 0,
        "output_stall_msecs": 0,
        "total_initiated_steps": 0,
        "total_completed_steps": 0,
        "pipeline_complete": false,
    });
    assert_eq!(value, expected);
}

#[test]
fn error_lists_are_absent_unless_asked_for() {
    let mut stats = sample();
    let value = serde_json::to_value(&stats.inputs[0]).unwrap();
    let expected = [
        "endpoint_name",
        "config",
        "metrics",
        "paused",
        "barrier",
        "fatal_error",
        "health",
        "completed_frontier",
    ];
    assert_eq!(keys(&value), expected);
    assert_eq!(value["config"], json!({"stream": "t1"}));
    stats.inputs[0].parse_errors = Some(vec![ConnectorError {
        timestamp: DateTime::from_timestamp(0, 0).unwrap(),
        index: 3,
        tag: None,
        message: "bad".to_owned(),
    }]);
    let value = serde_json::to_value(&stats.inputs[0]).unwrap();
    let expected = json!([{"timestamp": "1970-01-01T00:00:00Z", "index": 3, "message": "bad"}]);
    assert_eq!(value["parse_errors"], expected);
    assert_eq!(
        serde_json::from_value::<InputEndpointStatus>(value).unwrap(),
        stats.inputs[0]
    );
}

#[test]
fn output_metrics_are_the_contract() {
    let value = serde_json::to_value(OutputEndpointMetrics::default()).unwrap();
    let expected = [
        "transmitted_records",
        "transmitted_bytes",
        "queued_records",
        "queued_batches",
        "buffered_records",
        "buffered_batches",
        "num_encode_errors",
        "num_transport_errors",
        "total_processed_input_records",
        "total_processed_steps",
        "memory",
    ];
    assert_eq!(keys(&value), expected);
}
