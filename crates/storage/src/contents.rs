//! Small files as a whole: reading one, writing one, and the digest of a large one.

use std::path::Path;
use std::sync::Arc;

use crate::digest::{Digest, Digester};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Kind, Result};

/// A large file is read in pieces of this size.
const PIECE_BYTES: u64 = 1 << 20;

/// All bytes of a file.
pub(crate) fn read(disk: &dyn Disk, path: &Path) -> Result<Vec<u8>> {
    let (file, length) = open(disk, path)?;
    let mut bytes = buffer(path, length)?;
    let read = file.read_at(0, &mut bytes);
    read.map_err(|error| read_error(path, error))?;
    Ok(bytes)
}

/// A new file with these bytes. They are not durable yet.
pub(crate) fn write(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<Arc<dyn DiskFile>> {
    let file = disk.create(path);
    let file = file.map_err(|error| Error::io("create", path, error))?;
    let appended = file.append(bytes);
    appended.map_err(|error| Error::io("write", path, error))?;
    Ok(file)
}

/// Makes the bytes of a file durable.
pub(crate) fn sync(file: &dyn DiskFile, path: &Path) -> Result<()> {
    file.sync().map_err(|error| Error::io("sync", path, error))
}

/// Size and digest of a file, read piece by piece; each piece's length is told.
pub(crate) fn measure(
    disk: &dyn Disk,
    path: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<(u64, Digest)> {
    let (file, length) = open(disk, path)?;
    let mut digester = Digester::default();
    let mut offset = 0;
    let mut bytes = buffer(path, length.min(PIECE_BYTES))?;
    while offset < length {
        let piece_bytes = (length - offset).min(PIECE_BYTES);
        bytes.truncate(usize::try_from(piece_bytes).unwrap_or(usize::MAX));
        let read = file.read_at(offset, &mut bytes);
        read.map_err(|error| read_error(path, error))?;
        digester.update(&bytes);
        offset += piece_bytes;
        progress(piece_bytes);
    }
    Ok((length, digester.finish()))
}

fn open(disk: &dyn Disk, path: &Path) -> Result<(Arc<dyn DiskFile>, u64)> {
    let file = disk.open(path);
    let file = file.map_err(|error| Error::io("open", path, error))?;
    let length = file.len();
    let length = length.map_err(|error| Error::io("measure", path, error))?;
    Ok((file, length))
}

/// A damaged length must not abort the process.
fn buffer(path: &Path, length: u64) -> Result<Vec<u8>> {
    let too_large = || {
        Error::new(
            Kind::Exhausted,
            path,
            format!("has {length} bytes, more than fit into memory"),
        )
    };
    let length = usize::try_from(length).map_err(|_| too_large())?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| too_large())?;
    bytes.resize(length, 0);
    Ok(bytes)
}

fn read_error(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => {
            Error::corrupt(path, "became shorter while it was read")
        }
        _ => Error::io("read", path, error),
    }
}
