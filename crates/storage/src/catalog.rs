//! The catalog: the list of checkpoints, oldest first, in one file at the root.
//!
//! A checkpoint exists if and only if the catalog lists it: the rename that puts a new catalog in
//! place of the old one is the one commit point of this crate (`store/commit.rs` makes that call).
//! The file is a JSON array of [`CheckpointMetadata`] that other programs read; we add further keys,
//! among them a checksum per entry. The format is described in `docs/internals/storage-root.md`.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{DateTime, Utc};
use highwater_types::checkpoint::CheckpointMetadata;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::digest::checksum;
use crate::error::{Error, Kind, Result};
use crate::manifest::FileDigest;

/// Written into each entry; entries of other programs have none.
pub const VERSION: u32 = 1;

const VERSION_KEY: &str = "version";
const CHECKSUM_KEY: &str = "checksum";

/// One checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogEntry {
    #[serde(flatten)]
    pub metadata: CheckpointMetadata,
    /// Kept until it is unpinned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// It was found damaged: nobody starts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<Unusable>,
    /// Of its manifest. Catalogs that other programs wrote have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<FileDigest>,
}

/// Why a checkpoint is not used any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// Names the file.
    pub reason: String,
    pub since: DateTime<Utc>,
}

impl CatalogEntry {
    pub fn uuid(&self) -> Uuid {
        self.metadata.uuid
    }

    pub fn is_usable(&self) -> bool {
        self.unusable.is_none()
    }

    /// Pinned or named: it is not dropped for being old.
    pub fn is_kept_on_purpose(&self) -> bool {
        self.pinned || self.metadata.identifier.is_some()
    }
}

/// The bytes of a catalog: one entry per line.
///
/// # Errors
/// If an entry cannot be written as JSON, which cannot be.
pub fn encode(entries: &[CatalogEntry]) -> Result<Vec<u8>> {
    let mut text = String::from("[");
    for (position, entry) in entries.iter().enumerate() {
        text.push_str(if position == 0 { "\n" } else { ",\n" });
        text.push_str(&encode_entry(entry).map_err(no_json)?);
    }
    text.push_str("\n]\n");
    Ok(text.into_bytes())
}

fn no_json(error: serde_json::Error) -> Error {
    Error::new(Kind::Invalid, crate::paths::CATALOG, error.to_string())
}

fn encode_entry(entry: &CatalogEntry) -> serde_json::Result<String> {
    let mut value = serde_json::to_value(entry)?;
    if let Value::Object(fields) = &mut value {
        fields.insert(VERSION_KEY.to_owned(), VERSION.into());
    }
    let sum = checksum_of(&value)?;
    if let Value::Object(fields) = &mut value {
        fields.insert(CHECKSUM_KEY.to_owned(), sum.into());
    }
    serde_json::to_string(&value)
}

/// Over the entry's compact JSON, without the checksum itself.
fn checksum_of(entry: &Value) -> serde_json::Result<String> {
    Ok(format!("{:016x}", checksum(&serde_json::to_vec(entry)?)))
}

/// Reads a catalog, which is at `path`.
///
/// # Errors
/// If it is damaged, or of a newer version.
pub fn decode(bytes: &[u8], path: &Path) -> Result<Vec<CatalogEntry>> {
    let values: Vec<Value> = serde_json::from_slice(bytes)
        .map_err(|error| damaged(path, format!("is no list of checkpoints: {error}")))?;
    let mut uuids = BTreeSet::new();
    let mut entries = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let entry = decode_entry(value, path, position + 1)?;
        if !uuids.insert(entry.uuid()) {
            return Err(damaged(path, format!("lists {} twice", entry.uuid())));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn decode_entry(mut value: Value, path: &Path, position: usize) -> Result<CatalogEntry> {
    let stored = match &mut value {
        // The order of the other keys matters to the checksum.
        Value::Object(fields) => fields.shift_remove(CHECKSUM_KEY),
        _ => None,
    };
    if let Some(stored) = stored {
        let computed = checksum_of(&value);
        if !computed.is_ok_and(|computed| stored == computed) {
            let message = format!("the checksum of entry {position} is wrong");
            return Err(damaged(path, message));
        }
    }
    let version = value.get(VERSION_KEY).and_then(Value::as_u64);
    if version.is_some_and(|version| version > VERSION.into()) {
        let message = format!("entry {position} was written by a newer version of this program");
        let error = Error::new(Kind::Unsupported, path, message);
        return Err(error.with_remedy("use that version, or another directory"));
    }
    serde_json::from_value(value)
        .map_err(|error| damaged(path, format!("entry {position} is no checkpoint: {error}")))
}

fn damaged(path: &Path, message: String) -> Error {
    let error = Error::corrupt(path, message);
    error.with_remedy("put it back from a copy; nothing was deleted")
}

#[cfg(test)]
mod tests;
