//! What every [`Disk`] does, whichever it is: run by the simulated one and by the one of this machine.
//!
//! Each function takes a disk and an empty folder on it, and panics where the disk breaks a promise.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use highwater_storage::disk::{DirectoryEntry, Disk, EntryKind, Lock};

/// The name of a promise and the function that tests it.
pub type Check = (&'static str, fn(&Arc<dyn Disk>, &Path));

/// Every promise that can be tested without a loss of power.
pub const CHECKS: &[Check] = &[
    ("files", files),
    ("refusals", refusals),
    ("handles", handles),
    ("renames", renames),
    ("renames of folders", renames_of_folders),
    ("links", links),
    ("folders", folders),
    ("lists", lists),
    ("locks", locks),
    ("room", room),
];

fn write(disk: &Arc<dyn Disk>, path: &Path, bytes: &[u8]) {
    let file = disk.create(path).expect("a new file");
    file.append(bytes).expect("room");
    file.sync().expect("a sync");
}

fn read(disk: &Arc<dyn Disk>, path: &Path) -> Vec<u8> {
    let file = disk.open(path).expect("a file");
    let mut bytes = vec![0; file.len().expect("a length") as usize];
    file.read_at(0, &mut bytes).expect("its bytes");
    bytes
}

fn refused<T>(outcome: io::Result<T>, expected: ErrorKind) {
    match outcome {
        Ok(_) => panic!("nobody refused; expected {expected:?}"),
        Err(error) => assert_eq!(error.kind(), expected, "{error}"),
    }
}

fn files(disk: &Arc<dyn Disk>, folder: &Path) {
    let path = folder.join("a");
    let file = disk.create(&path).expect("a new file");
    assert_eq!(file.len().expect("a length"), 0);
    file.append(b"hello ").expect("room");
    file.append(b"").expect("room");
    file.append(b"world").expect("room");
    assert_eq!(file.len().expect("a length"), 11);
    let mut bytes = [0; 5];
    file.read_at(6, &mut bytes).expect("bytes");
    assert_eq!(&bytes, b"world");
    file.sync().expect("a sync");
    file.sync().expect("a second sync");
    disk.sync_dir(folder).expect("a sync");
    assert_eq!(read(disk, &path), b"hello world");
    let opened = disk.open(&path).expect("a file");
    opened.sync().expect("a sync of a file that was opened");
    refused(opened.read_at(7, &mut bytes), ErrorKind::UnexpectedEof);
    opened.read_at(11, &mut []).expect("nothing, at the end");
    assert!(opened.append(b"x").is_err(), "it was opened for reading");
    assert_eq!(read(disk, &path), b"hello world");
    disk.remove_file(&path).expect("a removal");
    refused(disk.open(&path), ErrorKind::NotFound);
}

fn refusals(disk: &Arc<dyn Disk>, folder: &Path) {
    let (file, absent) = (folder.join("file"), folder.join("absent"));
    let (dir, deep) = (folder.join("dir"), folder.join("absent/x"));
    write(disk, &file, b"1");
    disk.create_dir(&dir).expect("a new folder");
    refused(disk.create(&file), ErrorKind::AlreadyExists);
    refused(disk.create(&dir), ErrorKind::AlreadyExists);
    refused(disk.create(&deep), ErrorKind::NotFound);
    refused(disk.create(&file.join("x")), ErrorKind::NotADirectory);
    refused(disk.open(&absent), ErrorKind::NotFound);
    refused(disk.rename(&absent, &file), ErrorKind::NotFound);
    refused(disk.rename(&file, &deep), ErrorKind::NotFound);
    refused(disk.rename(&file, &dir), ErrorKind::IsADirectory);
    refused(disk.rename(&dir, &file), ErrorKind::NotADirectory);
    refused(disk.hard_link(&absent, &deep), ErrorKind::NotFound);
    refused(disk.hard_link(&file, &dir), ErrorKind::AlreadyExists);
    refused(disk.hard_link(&dir, &absent), ErrorKind::PermissionDenied);
    refused(disk.remove_file(&absent), ErrorKind::NotFound);
    refused(disk.remove_file(&dir), ErrorKind::IsADirectory);
    refused(disk.create_dir(&dir), ErrorKind::AlreadyExists);
    refused(disk.create_dir(&file), ErrorKind::AlreadyExists);
    refused(disk.create_dir(&deep), ErrorKind::NotFound);
    refused(disk.remove_dir(&absent), ErrorKind::NotFound);
    refused(disk.remove_dir(&file), ErrorKind::NotADirectory);
    refused(disk.list(&absent), ErrorKind::NotFound);
    refused(disk.list(&file), ErrorKind::NotADirectory);
    refused(disk.sync_dir(&absent), ErrorKind::NotFound);
    refused(disk.lock(&deep), ErrorKind::NotFound);
    refused(disk.free_bytes(&absent), ErrorKind::NotFound);
    assert_eq!(read(disk, &file), b"1");
    assert_eq!(disk.list(folder).expect("a list").len(), 2);
}

/// An open file is the file, not its name.
fn handles(disk: &Arc<dyn Disk>, folder: &Path) {
    let (first, second) = (folder.join("1"), folder.join("2"));
    let file = disk.create(&first).expect("a new file");
    let reader = disk.open(&first).expect("a file");
    file.append(b"abc").expect("room");
    disk.rename(&first, &second).expect("another name");
    file.append(b"def").expect("room");
    assert_eq!(reader.len().expect("a length"), 6);
    disk.remove_file(&second).expect("a removal");
    write(disk, &second, b"other");
    let mut bytes = [0; 6];
    reader.read_at(0, &mut bytes).expect("bytes without a name");
    assert_eq!(&bytes, b"abcdef");
    file.sync().expect("a sync without a name");
    assert_eq!(read(disk, &second), b"other");
}

fn renames(disk: &Arc<dyn Disk>, folder: &Path) {
    let (first, second) = (folder.join("1"), folder.join("2"));
    let inside = folder.join("dir/3");
    disk.create_dir(&folder.join("dir")).expect("a new folder");
    write(disk, &first, b"new");
    write(disk, &second, b"old");
    let old = disk.open(&second).expect("a file");
    disk.rename(&first, &second).expect("another name");
    assert_eq!(read(disk, &second), b"new");
    refused(disk.open(&first), ErrorKind::NotFound);
    assert_eq!(old.len().expect("what was replaced is still open"), 3);
    disk.rename(&second, &inside).expect("another folder");
    assert_eq!(read(disk, &inside), b"new");
    disk.rename(&inside, &inside).expect("its own name");
    disk.hard_link(&inside, &first).expect("a second name");
    disk.rename(&inside, &first)
        .expect("a name of the same file");
    assert_eq!(read(disk, &inside), b"new", "POSIX keeps both names");
    assert_eq!(read(disk, &first), b"new");
}

fn renames_of_folders(disk: &Arc<dyn Disk>, folder: &Path) {
    let (first, second) = (folder.join("1"), folder.join("2"));
    disk.create_dir(&first).expect("a new folder");
    disk.create_dir(&second).expect("a new folder");
    write(disk, &first.join("x"), b"x");
    disk.rename(&first, &second)
        .expect("an empty folder is replaced");
    assert_eq!(read(disk, &second.join("x")), b"x");
    disk.create_dir(&first).expect("the name is free");
    refused(disk.rename(&first, &second), ErrorKind::DirectoryNotEmpty);
}

fn links(disk: &Arc<dyn Disk>, folder: &Path) {
    let (first, second) = (folder.join("1"), folder.join("2"));
    let file = disk.create(&first).expect("a new file");
    disk.hard_link(&first, &second).expect("a second name");
    file.append(b"both").expect("room");
    assert_eq!(read(disk, &second), b"both");
    disk.remove_file(&first).expect("a removal");
    assert_eq!(read(disk, &second), b"both");
}

fn folders(disk: &Arc<dyn Disk>, folder: &Path) {
    let (outer, inner) = (folder.join("outer"), folder.join("outer/inner"));
    disk.create_dir(&outer).expect("a new folder");
    disk.create_dir(&inner).expect("a new folder");
    refused(disk.remove_dir(&outer), ErrorKind::DirectoryNotEmpty);
    disk.sync_dir(&outer).expect("a sync");
    disk.remove_dir(&inner).expect("a removal");
    disk.remove_dir(&outer).expect("a removal");
    refused(disk.list(&outer), ErrorKind::NotFound);
}

fn lists(disk: &Arc<dyn Disk>, folder: &Path) {
    for name in ["b", "a", "c.mut", "Z"] {
        write(disk, &folder.join(name), name.as_bytes());
    }
    disk.create_dir(&folder.join("d")).expect("a new folder");
    write(disk, &folder.join("d/inside"), b"");
    let listed = disk.list(folder).expect("a list");
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["Z", "a", "b", "c.mut", "d"]);
    let file = DirectoryEntry {
        name: "c.mut".to_owned(),
        kind: EntryKind::File,
        size_bytes: 5,
    };
    assert_eq!(listed[3], file);
    assert_eq!(listed[4].kind, EntryKind::Directory);
}

fn locks(disk: &Arc<dyn Disk>, folder: &Path) {
    let path = folder.join("lock");
    let held = disk.lock(&path).expect("a lock");
    let Lock::Held(guard) = held else {
        panic!("nobody has it: {held:?}")
    };
    let id: u32 = String::from_utf8(read(disk, &path))
        .expect("text")
        .parse()
        .expect("a process id");
    match disk.lock(&path).expect("an answer") {
        Lock::Taken { holder } => assert_eq!(holder, Some(id)),
        Lock::Held(_) => panic!("it was taken"),
    }
    let another = disk.lock(&folder.join("lock2")).expect("another lock");
    assert!(matches!(another, Lock::Held(_)));
    drop(guard);
    let again = disk.lock(&path).expect("a lock");
    assert!(matches!(again, Lock::Held(_)), "it is free again");
    assert_eq!(read(disk, &path), id.to_string().as_bytes());
}

fn room(disk: &Arc<dyn Disk>, folder: &Path) {
    assert!(disk.free_bytes(folder).expect("a number") > 0);
}
