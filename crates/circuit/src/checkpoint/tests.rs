use std::path::Path;

use highwater_storage::Kind;
use proptest::prelude::*;

use super::*;

fn saved() -> SavedWorker {
    let location = |rows| BatchLocation {
        file: "w0-x.feldera".to_owned(),
        offset: 64,
        length: 1_000,
        tail_length: 300,
        tail_checksum: 7,
        rows,
        hashes: None,
    };
    let spine = |position, batches| SavedSpine {
        operator: OperatorId(9),
        position,
        batches,
    };
    SavedWorker {
        version: VERSION,
        worker: 0,
        spines: vec![
            spine(0, vec![location(3), location(4)]),
            spine(1, Vec::new()),
        ],
    }
}

#[test]
fn the_format_is_what_it_was() {
    let text = r#"{"version":1,"worker":0,"spines":[{"operator":"o00000000000000000000000000000009","position":0,"batches":[{"file":"w0-x.feldera","offset":64,"length":1000,"tail_length":300,"tail_checksum":7,"rows":3},{"file":"w0-x.feldera","offset":64,"length":1000,"tail_length":300,"tail_checksum":7,"rows":4}]},{"operator":"o00000000000000000000000000000009","position":1,"batches":[]}]}"#;
    assert_eq!(String::from_utf8(saved().encode().unwrap()).unwrap(), text);
    let decoded = SavedWorker::decode(Path::new("x"), text.as_bytes()).unwrap();
    assert_eq!(decoded, saved());
    assert_eq!(decoded.files().len(), 1);
    assert_eq!(decoded.spine(OperatorId(9), 1), Some(&[][..]));
    assert_eq!(decoded.spine(OperatorId(8), 0), None);
}

#[test]
fn a_newer_version_is_refused_by_name() {
    let text = r#"{"version":2,"something":"else"}"#;
    let error = SavedWorker::decode(Path::new("pspine-0.dat"), text.as_bytes()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(
        error.to_string().starts_with("pspine-0.dat: has version 2"),
        "{error}"
    );
}

proptest! {
    /// Scenario C15.
    #[test]
    fn c15_garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..100) {
        let error = SavedWorker::decode(Path::new("x"), &bytes).unwrap_err();
        prop_assert_eq!(error.kind(), Kind::Corrupt);
        let mut text = saved().encode().unwrap();
        text.truncate(text.len() - 1 - cut);
        prop_assert!(SavedWorker::decode(Path::new("x"), &text).is_err());
    }
}
