//! The manifest of a checkpoint: every file that it needs, with size and digest.
//!
//! It is the last file that is written into the checkpoint's folder, as `dependencies.json`; other
//! programs read the names in it and ignore our further keys. The catalog holds the manifest's own
//! digest, so that from the catalog on every byte is accounted for. Manifests of other programs have
//! names only. The format is described in `docs/internals/storage-root.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use highwater_types::checkpoint::{CheckpointDependencies, CheckpointDependenciesWrite};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::paths;

/// Of our further keys; manifests of other programs have none.
pub const VERSION: u32 = 1;

/// Size and digest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    #[serde(rename = "size")]
    pub size_bytes: u64,
    pub digest: Digest,
}

impl FileDigest {
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            digest: Digest::of(bytes),
        }
    }
}

impl FileDigest {
    /// Compares with what was found at `path`.
    pub(crate) fn check(self, path: &Path, found: Self) -> Result<()> {
        if found.size_bytes != self.size_bytes {
            return Err(self.wrong_size(path, found.size_bytes));
        }
        if found.digest != self.digest {
            let (found, expected) = (found.digest, self.digest);
            let message =
                format!("its contents have changed: their digest is {found}, not {expected}");
            return Err(Error::corrupt(path, message));
        }
        Ok(())
    }

    pub(crate) fn wrong_size(self, path: &Path, found_bytes: u64) -> Error {
        let expected_bytes = self.size_bytes;
        Error::corrupt(
            path,
            format!("has {found_bytes} bytes, not {expected_bytes}"),
        )
    }
}

/// Files by name; what is not known of files of other programs is `None`.
pub type FileList = BTreeMap<String, Option<FileDigest>>;

/// The files that a checkpoint needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// At the root, shared with other checkpoints.
    pub batches: FileList,
    /// In the checkpoint's folder.
    pub state_files: FileList,
}

impl Manifest {
    /// Bytes of all files whose size is known.
    pub fn size_bytes(&self) -> u64 {
        let files = self.batches.values().chain(self.state_files.values());
        files.flatten().map(|file| file.size_bytes).sum()
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// If a digest is missing.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut files = BTreeMap::new();
        for (name, digest) in self.batches.iter().chain(&self.state_files) {
            let digest = digest.ok_or_else(|| {
                let message = format!("the digest of {name} is not known");
                Error::new(Kind::Invalid, paths::MANIFEST, message)
            })?;
            files.insert(name.as_str(), digest);
        }
        let batches: Vec<String> = self.batches.keys().cloned().collect();
        let state_files: Vec<String> = self.state_files.keys().cloned().collect();
        let written = Written {
            names: CheckpointDependenciesWrite {
                batches: &batches,
                state_files: &state_files,
            },
            version: VERSION,
            files,
        };
        let mut bytes = serde_json::to_vec_pretty(&written)
            .map_err(|error| Error::new(Kind::Invalid, paths::MANIFEST, error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads a manifest, which is at `path`, in any form that was ever written.
    ///
    /// # Errors
    /// If it is damaged, or of a newer version.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        let no_manifest = |error| Error::corrupt(path, format!("is no list of files: {error}"));
        let value: Value = serde_json::from_slice(bytes).map_err(no_manifest)?;
        let further = if value.is_object() {
            Further::deserialize(&value).map_err(no_manifest)?
        } else {
            Further::default()
        };
        if further
            .version
            .is_some_and(|version| version > VERSION.into())
        {
            let message = "was written by a newer version of this program";
            let error = Error::new(Kind::Unsupported, path, message);
            return Err(error.with_remedy("use that version, or another directory"));
        }
        let names = CheckpointDependencies::deserialize(&value).map_err(no_manifest)?;
        let manifest = Self {
            batches: list(names.batches(), &further),
            state_files: list(names.state_files(), &further),
        };
        manifest.check(&names, &further, path)?;
        Ok(manifest)
    }

    fn check(&self, names: &CheckpointDependencies, further: &Further, path: &Path) -> Result<()> {
        let all = || names.batches().iter().chain(names.state_files());
        if let Some(name) = all().find(|name| !paths::is_plain(name)) {
            return Err(Error::corrupt(
                path,
                format!("`{name}` is no name of a file"),
            ));
        }
        let distinct: BTreeSet<&String> = all().collect();
        if distinct.len() != all().count() {
            return Err(Error::corrupt(path, "lists a file twice"));
        }
        if further.version.is_none() {
            return Ok(());
        }
        if let Some(name) = all().find(|name| !further.files.contains_key(*name)) {
            return Err(Error::corrupt(path, format!("has no digest of {name}")));
        }
        if let Some(name) = further.files.keys().find(|name| !distinct.contains(name)) {
            return Err(Error::corrupt(
                path,
                format!("has a digest of {name}, which it does not list"),
            ));
        }
        Ok(())
    }
}

fn list(names: &[String], further: &Further) -> FileList {
    let list = names.iter();
    list.map(|name| (name.clone(), further.files.get(name).copied()))
        .collect()
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    names: CheckpointDependenciesWrite<'a>,
    version: u32,
    files: BTreeMap<&'a str, FileDigest>,
}

/// The keys that are ours.
#[derive(Debug, Default, Deserialize)]
struct Further {
    #[serde(default)]
    version: Option<u64>,
    #[serde(default)]
    files: BTreeMap<String, FileDigest>,
}

/// How the files of two checkpoints differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// At the root.
    pub batches: ListDifference,
    /// In the checkpoints' folders: files of the same name are the same if their digests are.
    pub state_files: ListDifference,
}

/// How two lists of files differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListDifference {
    pub only_left: FileList,
    pub only_right: FileList,
    pub both: FileList,
    /// Of the same name, but not known to be the same; as they are on the right.
    pub changed: FileList,
}

/// How the files of two checkpoints differ.
pub fn difference(left: &Manifest, right: &Manifest) -> Difference {
    Difference {
        // A batch file is written once: the name says it all.
        batches: list_difference(&left.batches, &right.batches, |_, _| true),
        state_files: list_difference(&left.state_files, &right.state_files, |left, right| {
            left.is_some() && left == right
        }),
    }
}

fn list_difference(
    left: &FileList,
    right: &FileList,
    is_same: impl Fn(&Option<FileDigest>, &Option<FileDigest>) -> bool,
) -> ListDifference {
    let mut difference = ListDifference::default();
    for (name, digest) in left {
        let list = match right.get(name) {
            None => &mut difference.only_left,
            Some(other) if is_same(digest, other) => &mut difference.both,
            Some(other) => {
                difference.changed.insert(name.clone(), *other);
                continue;
            }
        };
        list.insert(name.clone(), *digest);
    }
    let added = right.iter().filter(|(name, _)| !left.contains_key(*name));
    difference.only_right = added
        .map(|(name, digest)| (name.clone(), *digest))
        .collect();
    difference
}

#[cfg(test)]
mod tests;
