//! Where the bytes of a root are: which checkpoint has them alone, which are shared, which are pinned.
//!
//! Every file at the root is counted once, in [`Usage::total_bytes`], which is the sum of what
//! checkpoints have, what is in use only, garbage, the catalog and what is not ours.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::disk::EntryKind;
use crate::error::Result;
use crate::paths::{self, RootName};
use crate::store::Store;

/// Where the bytes of a root are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Oldest first.
    pub checkpoints: Vec<CheckpointUsage>,
    /// Of all checkpoints together; what they share is counted once.
    pub checkpoints_bytes: u64,
    /// What pinned and named checkpoints keep, and no other one does.
    pub pinned_only_bytes: u64,
    /// Batch files that no checkpoint needs, and somebody holds.
    pub in_use_bytes: u64,
    /// Ours, and needed by nobody.
    pub garbage_bytes: u64,
    pub catalog_bytes: u64,
    /// Files at the root that are not ours.
    pub foreign_bytes: u64,
    pub total_bytes: u64,
}

/// Where the bytes of one checkpoint are. `unique_bytes` and `shared_bytes` make up `total_bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointUsage {
    pub uuid: Uuid,
    /// Everything that it needs: batch files and its folder.
    pub total_bytes: u64,
    /// What would be given back if it went.
    pub unique_bytes: u64,
    /// What other checkpoints need as well.
    pub shared_bytes: u64,
    /// What of it some pinned or named checkpoint needs, itself or another one.
    pub pinned_bytes: u64,
}

/// A checkpoint, as far as its bytes go.
#[derive(Clone, Debug)]
pub struct CheckpointFiles {
    pub uuid: Uuid,
    /// Pinned or named.
    pub is_kept_on_purpose: bool,
    pub folder_bytes: u64,
    pub batches: BTreeSet<String>,
}

/// Shares out the bytes of batch files, whose sizes are given, and of folders.
pub fn share_out(checkpoints: &[CheckpointFiles], batches_bytes: &BTreeMap<String, u64>) -> Usage {
    let mut users: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pinned: BTreeSet<&str> = BTreeSet::new();
    let mut recent: BTreeSet<&str> = BTreeSet::new();
    for checkpoint in checkpoints {
        for name in &checkpoint.batches {
            *users.entry(name).or_default() += 1;
            let set = if checkpoint.is_kept_on_purpose {
                &mut pinned
            } else {
                &mut recent
            };
            set.insert(name);
        }
    }
    let bytes_of = |name: &str| batches_bytes.get(name).copied().unwrap_or(0);
    let mut usage = Usage::default();
    for checkpoint in checkpoints {
        let names = || checkpoint.batches.iter().map(String::as_str);
        let sum = |names: &mut dyn Iterator<Item = &str>| names.map(bytes_of).sum::<u64>();
        let folder_bytes = checkpoint.folder_bytes;
        let unique = sum(&mut names().filter(|name| users.get(name) == Some(&1)));
        let shared = sum(&mut names()) - unique;
        let pinned_batches = sum(&mut names().filter(|name| pinned.contains(name)));
        let pinned_folder = if checkpoint.is_kept_on_purpose {
            folder_bytes
        } else {
            0
        };
        usage.checkpoints_bytes += folder_bytes;
        usage.pinned_only_bytes += pinned_folder;
        usage.checkpoints.push(CheckpointUsage {
            uuid: checkpoint.uuid,
            total_bytes: folder_bytes + unique + shared,
            unique_bytes: folder_bytes + unique,
            shared_bytes: shared,
            pinned_bytes: pinned_folder + pinned_batches,
        });
    }
    usage.checkpoints_bytes += users.keys().map(|name| bytes_of(name)).sum::<u64>();
    let pinned_only = pinned.difference(&recent).map(|name| bytes_of(name));
    usage.pinned_only_bytes += pinned_only.sum::<u64>();
    usage.total_bytes = usage.checkpoints_bytes;
    usage
}

impl Store {
    /// Where the bytes are.
    ///
    /// # Errors
    /// If a manifest cannot be read, or the system refuses.
    pub fn usage(&self) -> Result<Usage> {
        let facts = self.facts_for_usage()?;
        let mut checkpoints = Vec::with_capacity(facts.checkpoints.len());
        for checkpoint in &facts.checkpoints {
            let uuid = checkpoint.retention.uuid;
            checkpoints.push(CheckpointFiles {
                uuid,
                is_kept_on_purpose: checkpoint.retention.is_kept_on_purpose,
                folder_bytes: facts.folders_bytes.get(&uuid).copied().unwrap_or(0),
                batches: checkpoint.batches.clone()?,
            });
        }
        let files = facts
            .root
            .iter()
            .filter(|entry| entry.kind == EntryKind::File);
        let files: BTreeMap<String, u64> = files
            .map(|entry| (entry.name.clone(), entry.size_bytes))
            .collect();
        let mut usage = share_out(&checkpoints, &files);
        let needed: BTreeSet<&String> = checkpoints
            .iter()
            .flat_map(|files| &files.batches)
            .collect();
        for (name, bytes) in &files {
            let place = match paths::root_name(name) {
                _ if needed.contains(name) => continue,
                RootName::Batch { .. } if facts.in_use.contains(name) => &mut usage.in_use_bytes,
                RootName::Batch { .. } | RootName::Unfinished => &mut usage.garbage_bytes,
                RootName::Catalog | RootName::Lock => &mut usage.catalog_bytes,
                RootName::Checkpoint(_) | RootName::Foreign => &mut usage.foreign_bytes,
            };
            *place += bytes;
            usage.total_bytes += bytes;
        }
        for (uuid, bytes) in &facts.folders_bytes {
            if checkpoints
                .iter()
                .all(|checkpoint| checkpoint.uuid != *uuid)
            {
                usage.garbage_bytes += bytes;
                usage.total_bytes += bytes;
            }
        }
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(
        number: u128,
        is_kept_on_purpose: bool,
        folder_bytes: u64,
        batches: &[&str],
    ) -> CheckpointFiles {
        CheckpointFiles {
            uuid: Uuid::from_u128(number),
            is_kept_on_purpose,
            folder_bytes,
            batches: batches.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn every_byte_is_counted_once() {
        let sizes = [("a", 1), ("b", 10), ("c", 100), ("d", 1000)];
        let sizes = sizes.map(|(name, bytes)| (name.to_owned(), bytes)).into();
        let checkpoints = [
            files(1, true, 10_000, &["a", "b"]),
            files(2, false, 20_000, &["b", "c"]),
            files(3, false, 40_000, &["c", "d"]),
        ];
        let usage = share_out(&checkpoints, &sizes);
        let numbers = usage.checkpoints.iter().map(|usage| {
            (
                usage.total_bytes,
                usage.unique_bytes,
                usage.shared_bytes,
                usage.pinned_bytes,
            )
        });
        let expected = [
            (10_011, 10_001, 10, 10_011),
            (20_110, 20_000, 110, 10),
            (41_100, 41_000, 100, 0),
        ];
        assert_eq!(numbers.collect::<Vec<_>>(), expected);
        assert_eq!(usage.checkpoints_bytes, 71_111);
        assert_eq!(usage.pinned_only_bytes, 10_001);
    }
}
