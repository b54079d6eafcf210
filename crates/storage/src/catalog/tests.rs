//! Encoding and decoding.

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;

fn entry(number: u128) -> CatalogEntry {
    CatalogEntry {
        metadata: CheckpointMetadata {
            uuid: Uuid::from_u128(number),
            identifier: None,
            fingerprint: u64::MAX,
            size: Some(12),
            steps: Some(3),
            processed_records: None,
        },
        pinned: false,
        unusable: None,
        manifest: Some(FileDigest {
            size_bytes: 5,
            digest: Digest::of(b"x"),
        }),
    }
}

fn entries() -> Vec<CatalogEntry> {
    let mut second = entry(2);
    second.metadata.identifier = Some("named \"so\"\n".to_owned());
    second.pinned = true;
    second.unusable = Some(Unusable {
        reason: "a file is missing".to_owned(),
        since: "2026-11-22T10:20:30Z".parse().unwrap(),
    });
    vec![entry(1), second]
}

fn read(bytes: &[u8]) -> Result<Vec<CatalogEntry>> {
    decode(bytes, Path::new("/root/checkpoints.feldera"))
}

#[test]
fn the_form_is_the_one_that_is_documented() {
    let text = String::from_utf8(encode(&[entry(1)]).unwrap()).unwrap();
    let expected = "[\n{\"uuid\":\"00000000-0000-0000-0000-000000000001\",\"identifier\":null,\
        \"fingerprint\":18446744073709551615,\"size\":12,\"steps\":3,\"processed_records\":null,\
        \"manifest\":{\"size\":5,\"digest\":\"";
    assert!(text.starts_with(expected), "{text}");
    let end = "\"version\":1,\"checksum\":\"";
    assert!(text.contains(end), "{text}");
    assert!(text.ends_with("\"}\n]\n"), "{text}");
    assert_eq!(encode(&[]).unwrap(), b"[\n]\n");
}

#[test]
fn what_is_written_is_read_and_written_again_byte_for_byte() {
    let bytes = encode(&entries()).unwrap();
    let read = read(&bytes).unwrap();
    assert_eq!(read, entries());
    assert_eq!(encode(&read).unwrap(), bytes);
}

#[test]
fn catalogs_of_other_programs_are_read() {
    let text = r#"[{"uuid":"01900000-0000-7000-8000-000000000001","identifier":null,
        "fingerprint":9,"size":1,"steps":2,"processed_records":3,"new_key":[]},
        {"uuid":"01900000-0000-7000-8000-000000000002","fingerprint":9}]"#;
    let entries = read(text.as_bytes()).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(
        entries
            .iter()
            .all(|entry| entry.manifest.is_none() && entry.is_usable())
    );
    assert_eq!(entries[0].metadata.processed_records, Some(3));
}

#[test]
fn damage_is_found_and_the_file_is_named() {
    let good = String::from_utf8(encode(&entries()).unwrap()).unwrap();
    let damaged = [
        String::new(),
        "{}".to_owned(),
        "[1]".to_owned(),
        "[{}]".to_owned(),
        good.replace("\"steps\":3", "\"steps\":4"),
        good.replace("\"pinned\":true,", ""),
        good.replace("\"pinned\":true", "\"pinned\":true,\"x\":1"),
        good.replace("000000000002", "000000000001"),
        good.replace(']', ""),
    ];
    for text in damaged {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{text}");
        assert!(
            error.to_string().starts_with("/root/checkpoints.feldera: "),
            "{error}"
        );
    }
    let twice = encode(&[entry(1), entry(1)]).unwrap();
    assert!(read(&twice).unwrap_err().to_string().contains("twice"));
}

#[test]
fn a_newer_version_is_not_guessed_at() {
    let text = r#"[{"uuid":"01900000-0000-7000-8000-000000000001","version":2}]"#;
    assert_eq!(read(text.as_bytes()).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn c15_each_bit_that_flips_is_found_or_harmless() {
    let good = encode(&entries()).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(read) = read(&bytes) {
            assert_eq!(read, entries(), "bit {bit}");
        }
    }
    for length in 0..good.len() - 1 {
        assert!(read(&good[..length]).is_err(), "{length} bytes");
    }
}

proptest! {
    #[test]
    fn c15_garbage_is_an_error(bytes: Vec<u8>) {
        prop_assert!(read(&bytes).is_err());
    }

    #[test]
    fn c15_almost_a_catalog_is_no_panic(text in "[\\[\\]{}\",:0-9a-f-]{0,40}", at in 0_usize..400) {
        let mut bytes = encode(&entries()).unwrap();
        let at = at.min(bytes.len());
        bytes.splice(at..at, text.into_bytes());
        if let Ok(read) = read(&bytes) {
            prop_assert_eq!(read, entries());
        }
    }
}
