//! The JSON forms that clients know.

use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;

/// Written like this, and read back from it.
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, form: &Value) {
    assert_eq!(&serde_json::to_value(value).unwrap(), form);
    let text = form.to_string();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value);
}

#[test]
fn temporary_reasons_have_their_forms() {
    use TemporarySuspendError::*;
    check(&Replaying, &json!("Replaying"));
    check(&Bootstrapping, &json!("Bootstrapping"));
    check(&TransactionInProgress, &json!("TransactionInProgress"));
    let barrier = InputEndpointBarrier("t.c".to_owned());
    check(&barrier, &json!({"InputEndpointBarrier": "t.c"}));
    check(&Coordination, &json!("Coordination"));
}

#[test]
fn permanent_reasons_have_their_forms() {
    use PermanentSuspendError::*;
    check(&StorageRequired, &json!("StorageRequired"));
    check(&EnterpriseFeature, &json!("EnterpriseFeature"));
    let unsupported = UnsupportedInputEndpoint("t.c".to_owned());
    check(&unsupported, &json!({"UnsupportedInputEndpoint": "t.c"}));
}

#[test]
fn suspend_errors_say_whether_waiting_helps() {
    let permanent = SuspendError::Permanent(vec![PermanentSuspendError::StorageRequired]);
    check(&permanent, &json!({"Permanent": ["StorageRequired"]}));
    let temporary = SuspendError::Temporary(vec![
        TemporarySuspendError::Coordination,
        TemporarySuspendError::InputEndpointBarrier("t.c".to_owned()),
    ]);
    let form = json!({"Temporary": ["Coordination", {"InputEndpointBarrier": "t.c"}]});
    check(&temporary, &form);
}

#[test]
fn suspendable_is_what_has_no_reasons_against_it() {
    let response = SuspendableResponse::new(Vec::new());
    check(&response, &json!({"suspendable": true, "reasons": []}));
    let response = SuspendableResponse::new(vec![PermanentSuspendError::StorageRequired]);
    let form = json!({"suspendable": false, "reasons": ["StorageRequired"]});
    check(&response, &form);
    // Missing and unknown fields are tolerated.
    let read: SuspendableResponse =
        serde_json::from_value(json!({"suspendable": true, "more": 1})).unwrap();
    assert_eq!(read, SuspendableResponse::new(Vec::new()));
}
