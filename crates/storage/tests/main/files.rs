//! Files that are written once.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::error::Kind;
use highwater_storage::{Digest, Files, paths};

use crate::memory::{Fault, MemoryDisk};

fn files() -> (MemoryDisk, Arc<Files>) {
    let disk = MemoryDisk::new();
    (disk.clone(), Files::new(Arc::new(disk), "/"))
}

fn is_there(disk: &MemoryDisk, name: &str) -> bool {
    disk.paths().contains(&Path::new("/").join(name))
}

#[test]
fn i2_a_file_goes_with_its_last_handle_unless_a_checkpoint_owns_it() {
    let (disk, files) = files();
    let mut writer = files.create(3).unwrap();
    writer.write(b"abc").unwrap();
    writer.write(&vec![b'd'; 3 << 20]).unwrap();
    let file = writer.finish().unwrap();
    assert_eq!(file.size_bytes(), (3 << 20) + 3);
    assert_eq!(file.read(1, 4).unwrap(), b"bcdd");
    assert_eq!(
        file.read(file.size_bytes(), 1).unwrap_err().kind(),
        Kind::Corrupt
    );
    assert_eq!(file.digest(), Digest::of(&disk.bytes(file.path())));
    assert_eq!(files.bytes_in_use(), file.size_bytes());
    let name = file.name().to_owned();
    assert!(name.starts_with("w3-") && is_there(&disk, &name));
    let second = Arc::clone(&file);
    drop(file);
    assert!(is_there(&disk, &name));

    files.set_owned([name.clone()].into());
    let (size_bytes, digest) = (second.size_bytes(), second.digest());
    drop(second);
    assert!(is_there(&disk, &name) && files.in_use().is_empty());
    let opened = files.open(&name, size_bytes, digest).unwrap();
    let same = files.open(&name, size_bytes, digest).unwrap();
    assert!(Arc::ptr_eq(&opened, &same));
    files.set_owned([].into());
    drop(opened);
    assert!(is_there(&disk, &name));
    drop(same);
    assert!(!is_there(&disk, &name));
}

#[test]
fn a_file_of_another_size_is_not_opened() {
    let (_disk, files) = files();
    let file = files.create(0).unwrap().finish().unwrap();
    let name = file.name().to_owned();
    files.set_owned([name.clone()].into());
    let digest = file.digest();
    drop(file);
    assert_eq!(
        files.open(&name, 1, digest).unwrap_err().kind(),
        Kind::Corrupt
    );
    assert_eq!(
        files.open("w0-x", 1, digest).unwrap_err().kind(),
        Kind::NotFound
    );
    assert!(files.open(&name, 0, digest).is_ok());
}

#[test]
fn i3_a_failed_sync_is_not_made_good_by_a_second_one() {
    let (disk, files) = files();
    let file = files.create(0).unwrap().finish().unwrap();
    disk.set_fault(Some(Fault::Before(disk.calls())));
    let first = file.sync().unwrap_err().to_string();
    assert!(file.is_poisoned());
    assert_eq!(file.sync().unwrap_err().to_string(), first);
    let other = files.create(0).unwrap().finish().unwrap();
    other.sync().unwrap();
    other.sync().unwrap();
    assert!(!other.is_poisoned());
}

#[test]
fn i3_what_a_poisoned_file_has_is_written_to_another_one() {
    let (disk, files) = files();
    let mut writer = files.create(1).unwrap();
    let bytes: Vec<u8> = (0..3 << 20).map(|byte: u32| (byte >> 3) as u8).collect();
    writer.write(&bytes).unwrap();
    let file = writer.finish().unwrap();
    let name = file.name().to_owned();
    disk.set_fault(Some(Fault::Before(disk.calls())));
    file.sync().unwrap_err();
    // It may take several attempts.
    let calls = disk.calls();
    disk.set_fault(Some(Fault::Before(calls + 3)));
    file.rewrite(2).unwrap_err();
    assert!(file.rewritten().is_none());
    assert_eq!(disk.paths(), [Path::new("/").join(&name)]);
    let copy = file.rewrite(2).unwrap();
    assert!(copy.name().starts_with("w2-"));
    assert_eq!(copy.read(0, bytes.len()).unwrap(), bytes);
    assert!(Arc::ptr_eq(file.rewritten().unwrap(), &copy));
    copy.sync().unwrap();
    drop(file);
    assert!(!is_there(&disk, &name) && is_there(&disk, copy.name()));
}

#[test]
fn i3_what_a_failed_sync_has_lost_is_not_written_again() {
    let (disk, files) = files();
    let mut writer = files.create(1).unwrap();
    writer.write(b"abc").unwrap();
    let file = writer.finish().unwrap();
    disk.set_fault(Some(Fault::Before(disk.calls())));
    file.sync().unwrap_err();
    disk.set_bytes(file.path(), b"ab\0".to_vec());
    let error = file.rewrite(1).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.to_string().contains(file.name()), "{error}");
    assert!(error.to_string().contains("sync of it failed"), "{error}");
    assert_eq!(disk.paths(), [file.path()]);
}

#[test]
fn i4_a_file_is_in_use_before_it_has_its_name() {
    let (disk, files) = files();
    let writer = files.create(0).unwrap();
    let unfinished = disk.paths();
    let name = unfinished[0].file_name().unwrap().to_str().unwrap();
    let name = name
        .strip_suffix(paths::UNFINISHED_SUFFIX)
        .unwrap()
        .to_owned();
    assert_eq!(files.in_use(), [name.clone()].into());
    let file = writer.finish().unwrap();
    assert_eq!(files.in_use(), [name].into());
    drop(file);
    assert!(files.in_use().is_empty() && disk.paths().is_empty());
    drop(files.create(0).unwrap());
    assert!(files.in_use().is_empty() && disk.paths().is_empty());
}

#[test]
fn a_file_that_cannot_be_finished_leaves_nothing() {
    for number in 0..3 {
        let (disk, files) = files();
        disk.set_fault(Some(Fault::Full(number)));
        let written = files.create(0).and_then(|mut writer| {
            writer.write(b"abc")?;
            writer.finish()
        });
        assert_eq!(written.unwrap_err().kind(), Kind::Exhausted);
        assert!(
            files.in_use().is_empty() && disk.paths().is_empty(),
            "call {number}"
        );
    }
}
