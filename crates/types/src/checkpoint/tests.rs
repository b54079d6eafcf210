//! The JSON forms that other programs write and read, those of older versions included.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// Written like this, and read back from it.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), form);
    check_read(value, form);
}

/// Read from this, which may be a form that nobody writes any more.
fn check_read<T: DeserializeOwned + PartialEq + Debug>(value: &T, form: &Value) {
    let text = form.to_string();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn time() -> DateTime<Utc> {
    "2026-11-22T10:20:30.5Z".parse().unwrap()
}

#[test]
fn status() {
    let none = CheckpointStatus::default();
    check(&none, &json!({"success": null, "failure": null}));
    check_read(&none, &json!({}));
    let both = CheckpointStatus {
        success: Some(7),
        failure: Some(CheckpointFailure {
            sequence_number: 5,
            error: "no room".to_owned(),
            failed_at: time(),
        }),
    };
    let failure = json!({
        "sequence_number": 5,
        "error": "no room",
        "failed_at": "2026-11-22T10:20:30.500Z",
    });
    check(&both, &json!({"success": 7, "failure": failure}));
    check_read(
        &both,
        &json!({"success": 7, "failure": failure, "more": {}}),
    );
}

#[test]
fn activity() {
    assert_eq!(CheckpointActivity::default(), CheckpointActivity::Idle);
    check(&CheckpointActivity::Idle, &json!({"status": "idle"}));
    let delayed = CheckpointActivity::Delayed {
        reasons: vec![
            TemporarySuspendError::Replaying,
            TemporarySuspendError::InputEndpointBarrier("t.c".to_owned()),
        ],
        delayed_since: time(),
    };
    let form = json!({
        "status": "delayed",
        "reasons": ["Replaying", {"InputEndpointBarrier": "t.c"}],
        "delayed_since": "2026-11-22T10:20:30.500Z",
    });
    check(&delayed, &form);
    let running = CheckpointActivity::InProgress { started_at: time() };
    let form = json!({"status": "in_progress", "started_at": "2026-11-22T10:20:30.500Z"});
    check(&running, &form);
}

#[test]
fn responses_with_and_without_the_incarnation() {
    let old = CheckpointResponse {
        checkpoint_sequence_number: 3,
        incarnation_uuid: None,
    };
    check(&old, &json!({"checkpoint_sequence_number": 3}));
    let new = CheckpointResponse {
        incarnation_uuid: Some(uuid(1)),
        ..old
    };
    let form = json!({
        "checkpoint_sequence_number": 3,
        "incarnation_uuid": "01900000-0000-7000-8000-000000000001",
    });
    check(&new, &form);
    let old = CheckpointSyncResponse {
        checkpoint_uuid: uuid(2),
        incarnation_uuid: None,
    };
    let form = json!({"checkpoint_uuid": "01900000-0000-7000-8000-000000000002"});
    check(&old, &form);
    let new = CheckpointSyncResponse {
        incarnation_uuid: Some(uuid(1)),
        ..old
    };
    let form = json!({
        "checkpoint_uuid": "01900000-0000-7000-8000-000000000002",
        "incarnation_uuid": "01900000-0000-7000-8000-000000000001",
    });
    check(&new, &form);
}

#[test]
fn sync_status() {
    let none = CheckpointSyncStatus::default();
    let form = json!({"success": null, "failure": null, "periodic": null});
    check(&none, &form);
    check_read(&none, &json!({"running": []}));
    let all = CheckpointSyncStatus {
        success: Some(uuid(1)),
        failure: Some(CheckpointSyncFailure {
            uuid: uuid(2),
            error: "access denied".to_owned(),
        }),
        periodic: Some(uuid(3)),
    };
    let failure = json!({
        "uuid": "01900000-0000-7000-8000-000000000002",
        "error": "access denied",
    });
    let form = json!({
        "success": "01900000-0000-7000-8000-000000000001",
        "failure": failure,
        "periodic": "01900000-0000-7000-8000-000000000003",
    });
    check(&all, &form);
}

#[test]
fn sync_metrics() {
    let metrics = CheckpointSyncMetrics {
        duration: Duration::from_millis(1500),
        speed: 1000,
        bytes: 1500,
    };
    let duration = json!({"secs": 1, "nanos": 500_000_000});
    let form = json!({"duration": duration, "speed": 1000, "bytes": 1500});
    check(&metrics, &form);
}

#[test]
fn metadata_in_full_and_as_older_versions_wrote_it() {
    let full = CheckpointMetadata {
        uuid: uuid(1),
        identifier: Some("before the change".to_owned()),
        fingerprint: u64::MAX,
        size: Some(12),
        steps: Some(3),
        processed_records: Some(4),
    };
    let form = json!({
        "uuid": "01900000-0000-7000-8000-000000000001",
        "identifier": "before the change",
        "fingerprint": u64::MAX,
        "size": 12,
        "steps": 3,
        "processed_records": 4,
    });
    check(&full, &form);
    let bare = CheckpointMetadata {
        uuid: uuid(1),
        identifier: None,
        fingerprint: 9,
        size: None,
        steps: None,
        processed_records: None,
    };
    let form = json!({
        "uuid": "01900000-0000-7000-8000-000000000001",
        "identifier": null,
        "fingerprint": 9,
        "size": null,
        "steps": null,
        "processed_records": null,
    });
    check(&bare, &form);
    let old = json!({
        "uuid": "01900000-0000-7000-8000-000000000001",
        "fingerprint": 9,
        "of_a_later_version": [1, 2],
    });
    check_read(&bare, &old);
}

#[test]
fn worker_batches() {
    let batches = PSpineBatches {
        files: vec!["w0-a.feldera".to_owned()],
    };
    check(&batches, &json!({"files": ["w0-a.feldera"]}));
    check_read(&batches, &json!({"files": ["w0-a.feldera"], "more": 1}));
}

#[test]
fn dependencies_of_every_version() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let v2 = CheckpointDependencies::V2 {
        batches: names(&["w0-a.feldera"]),
        state_files: names(&["pspine-0.dat", "state.json"]),
    };
    let form = json!({
        "batches": ["w0-a.feldera"],
        "state_files": ["pspine-0.dat", "state.json"],
    });
    check(&v2, &form);
    assert_eq!(v2.batches(), ["w0-a.feldera"]);
    assert_eq!(v2.state_files(), ["pspine-0.dat", "state.json"]);
    // With further keys of ours.
    let mut further = form.clone();
    further["files"] = json!({"w0-a.feldera": {"size": 1}});
    check_read(&v2, &further);
    // Without the files of the folder.
    let bare = CheckpointDependencies::V2 {
        batches: names(&["w0-a.feldera"]),
        state_files: Vec::new(),
    };
    check_read(&bare, &json!({"batches": ["w0-a.feldera"]}));
    // Version 1.
    let v1 = CheckpointDependencies::V1(names(&["w0-a.feldera", "w1-b.feldera"]));
    check(&v1, &json!(["w0-a.feldera", "w1-b.feldera"]));
    assert_eq!(v1.batches(), ["w0-a.feldera", "w1-b.feldera"]);
    assert!(v1.state_files().is_empty());
    check_read(&CheckpointDependencies::V1(Vec::new()), &json!([]));
    for no_form in [
        json!({}),
        json!({"state_files": []}),
        json!("x"),
        json!([1]),
    ] {
        let text = no_form.to_string();
        assert!(
            serde_json::from_str::<CheckpointDependencies>(&text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn dependencies_are_written_as_version_2() {
    let batches = ["w0-a.feldera".to_owned()];
    let written = CheckpointDependenciesWrite {
        batches: &batches,
        state_files: &[],
    };
    let form = serde_json::to_value(written).unwrap();
    assert_eq!(
        form,
        json!({"batches": ["w0-a.feldera"], "state_files": []})
    );
    let read: CheckpointDependencies = serde_json::from_value(form).unwrap();
    assert_eq!(read.batches(), batches);
}
