//! Encoding and decoding.

use proptest::prelude::*;

use super::*;

fn file(size_bytes: u64) -> Option<FileDigest> {
    Some(FileDigest {
        size_bytes,
        digest: Digest::of(&size_bytes.to_le_bytes()),
    })
}

fn list(names: &[(&str, u64)]) -> FileList {
    let names = names.iter();
    names
        .map(|(name, bytes)| ((*name).to_owned(), file(*bytes)))
        .collect()
}

fn manifest() -> Manifest {
    Manifest {
        batches: list(&[("w0-a.feldera", 5), ("w1-b.feldera", 6)]),
        state_files: list(&[("pspine-0.dat", 1), ("state.json", 2)]),
    }
}

fn read(bytes: &[u8]) -> Result<Manifest> {
    Manifest::decode(bytes, Path::new("/root/x/dependencies.json"))
}

#[test]
fn what_is_written_is_read_also_by_other_programs() {
    let bytes = manifest().encode().unwrap();
    assert_eq!(read(&bytes).unwrap(), manifest());
    assert_eq!(manifest().size_bytes(), 14);
    let names: CheckpointDependencies = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(names.batches(), ["w0-a.feldera", "w1-b.feldera"]);
    assert_eq!(names.state_files(), ["pspine-0.dat", "state.json"]);
    let value: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(value["version"], 1);
    assert_eq!(value["files"]["state.json"]["size"], 2);
}

#[test]
fn older_forms_have_names_only() {
    let v1 = read(br#"["w0-a.feldera"]"#).unwrap();
    assert_eq!(v1.batches, [("w0-a.feldera".to_owned(), None)].into());
    assert!(v1.state_files.is_empty());
    let v2 = read(br#"{"batches": ["w0-a.feldera"], "other": 1}"#).unwrap();
    assert_eq!(v2, v1);
    let v2 = read(br#"{"batches": [], "state_files": ["z1-3.dat"]}"#).unwrap();
    assert_eq!(v2.state_files, [("z1-3.dat".to_owned(), None)].into());
    assert!(v2.encode().is_err());
}

#[test]
fn damage_is_found_and_the_file_is_named() {
    let good = String::from_utf8(manifest().encode().unwrap()).unwrap();
    let damaged = [
        String::new(),
        "{}".to_owned(),
        "3".to_owned(),
        r#"{"batches": ["a", "a"]}"#.to_owned(),
        r#"["../outside"]"#.to_owned(),
        r#"{"batches": [], "state_files": ["/etc/passwd"]}"#.to_owned(),
        good.replacen("w0-a.feldera", "w0-c.feldera", 1),
        good.replacen("\"state.json\"", "\"z1.dat\", \"state.json\"", 1),
        good.replacen("\"size\"", "\"length\"", 1),
    ];
    for text in damaged {
        let error = read(text.as_bytes()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{text}");
        assert!(
            error.to_string().starts_with("/root/x/dependencies.json: "),
            "{error}"
        );
    }
    let newer = good.replace("\"version\": 1", "\"version\": 2");
    assert_eq!(
        read(newer.as_bytes()).unwrap_err().kind(),
        Kind::Unsupported
    );
}

#[test]
fn differences_are_by_name_and_in_folders_by_digest() {
    let mut other = manifest();
    other.batches.remove("w0-a.feldera");
    other.batches.insert("w2-c.feldera".to_owned(), file(9));
    other.state_files.insert("state.json".to_owned(), file(3));
    let difference = difference(&manifest(), &other);
    assert_eq!(difference.batches.only_left, list(&[("w0-a.feldera", 5)]));
    assert_eq!(difference.batches.only_right, list(&[("w2-c.feldera", 9)]));
    assert_eq!(difference.batches.both, list(&[("w1-b.feldera", 6)]));
    assert_eq!(difference.state_files.changed, list(&[("state.json", 3)]));
    assert_eq!(difference.state_files.both, list(&[("pspine-0.dat", 1)]));
}

#[test]
fn c15_each_bit_that_flips_is_found() {
    let good = manifest().encode().unwrap();
    let digest = FileDigest::of(&good);
    for bit in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // Alone it is no panic; against the catalog it is found.
        let _ = read(&bytes);
        assert!(
            digest
                .check(Path::new("x"), FileDigest::of(&bytes))
                .is_err(),
            "bit {bit}"
        );
    }
}

proptest! {
    #[test]
    fn c15_garbage_is_no_panic(bytes: Vec<u8>) {
        let _ = read(&bytes);
    }

    #[test]
    fn c15_almost_a_manifest_is_no_panic(text in "[\\[\\]{}\",:0-9a-f./-]{0,40}", at in 0_usize..900) {
        let mut bytes = manifest().encode().unwrap();
        let at = at.min(bytes.len());
        bytes.splice(at..at, text.into_bytes());
        let _ = read(&bytes);
    }
}
