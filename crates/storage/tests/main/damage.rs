//! Each bit of each file flips, each file ends at each byte: it is found, or it does no harm.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::{Result, Store, paths};
use uuid::Uuid;

use crate::memory::MemoryDisk;
use crate::support::{batch, checkpoint, options};

const ROOT: &str = "/state";

/// A root with two checkpoints that share a batch file; the newer one.
fn root() -> (MemoryDisk, Uuid) {
    let disk = MemoryDisk::new();
    let store = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options()).unwrap();
    let files: Vec<_> = (0..3).map(|_| batch(&store, 20).unwrap()).collect();
    checkpoint(&store, &files[..2], 2).unwrap();
    let uuid = checkpoint(&store, &files[1..], 2).unwrap().uuid();
    drop((store, files));
    (disk, uuid)
}

/// What somebody who starts from this disk gets to see.
fn start(disk: &MemoryDisk) -> Result<Started> {
    let store = Store::open_with(Arc::new(disk.clone()), Path::new(ROOT), options())?;
    let saved = store
        .newest_usable()?
        .checkpoint
        .expect("there are checkpoints");
    let verification = store.verify(saved.uuid(), &mut |_| {})?;
    if let Some(damage) = verification.damages.into_iter().next() {
        return Err(damage);
    }
    let names = saved.manifest().state_files.keys();
    let mut contents = names
        .map(|name| saved.state(name))
        .collect::<Result<Vec<_>>>()?;
    for name in saved.manifest().batches.keys() {
        let file = saved.open_batch(name)?;
        contents.push(file.read(0, usize::try_from(file.size_bytes()).unwrap())?);
    }
    Ok((saved.uuid(), contents))
}

type Started = (Uuid, Vec<Vec<u8>>);

/// A good disk, and what starting from it gives.
struct Good {
    disk: MemoryDisk,
    started: Started,
}

impl Good {
    fn new() -> Self {
        let (disk, newest) = root();
        let started = start(&disk.copy()).unwrap();
        assert_eq!(started.0, newest);
        Self { disk, started }
    }

    /// True if the damage was found; otherwise all is as it was, or an older checkpoint is used.
    #[track_caller]
    fn check(&self, path: &Path, bytes: Vec<u8>) -> bool {
        let disk = self.disk.copy();
        let before = disk.paths();
        disk.set_bytes(path, bytes);
        let found = start(&disk);
        // Whatever it was, no file of a checkpoint is deleted.
        let after = disk.paths();
        assert!(
            before.iter().all(|path| after.contains(path)),
            "{}",
            path.display()
        );
        match found {
            Err(_) => true,
            Ok((uuid, _)) if uuid != self.started.0 => true,
            Ok(found) => {
                assert_eq!(found, self.started, "{}", path.display());
                false
            }
        }
    }
}

#[test]
fn c15_each_flipped_bit_is_found_or_harmless() {
    let good = Good::new();
    let root = Path::new(ROOT);
    let newest = paths::checkpoint_dir(root, good.started.0);
    for path in good.disk.paths() {
        let bytes = good.disk.bytes(&path);
        let is_newest = path.starts_with(&newest);
        // Of catalog and manifest each bit has its turn beside their decoders; and the older
        // checkpoint has the same kinds of files.
        let is_json = path.ends_with(paths::CATALOG) || path.ends_with(paths::MANIFEST);
        let is_at_root = path.parent() == Some(root);
        let step = match is_newest || is_at_root {
            true if is_json => 7,
            true => 1,
            false => 13,
        };
        for bit in (0..bytes.len() * 8).step_by(step) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let is_found = good.check(&path, bytes);
            // Every byte of these is under a digest.
            assert!(is_found || !is_newest, "{} bit {bit}", path.display());
        }
    }
}

#[test]
fn c15_each_shorter_file_is_found_or_harmless() {
    let good = Good::new();
    for path in good.disk.paths() {
        let bytes = good.disk.bytes(&path);
        for length in 0..bytes.len() {
            good.check(&path, bytes[..length].to_vec());
        }
        let mut longer = bytes.clone();
        longer.extend_from_slice(b"x");
        good.check(&path, longer);
    }
}

#[test]
fn c15_garbage_in_place_of_any_file_is_no_panic() {
    let good = Good::new();
    let garbage: [&[u8]; 8] = [
        b"",
        b"\0",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"null",
        b"[null]",
        b"{\"batches\": [\"/etc/passwd\"], \"state_files\": [\"../../x\"]}",
    ];
    for path in good.disk.paths() {
        for garbage in garbage {
            // An empty catalog says that there are no checkpoints: that is not for us to doubt.
            if !(garbage == b"[]" && path.ends_with(paths::CATALOG)) {
                good.check(&path, garbage.to_vec());
            }
        }
    }
}
