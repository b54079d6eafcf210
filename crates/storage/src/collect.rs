//! What may be deleted: a pure plan, and its execution.
//!
//! The plan is made of everything that is known ([`Facts`]): each name at the root is classified, and
//! only what is ours and what no kept checkpoint and no live handle needs is deleted. The plan is a
//! value that prints; a dry run shows the same plan that execution uses.
//!
//! Invariants
//! - I1: what a kept checkpoint needs is never in the plan.
//! - I2: what is not ours by its name is never in the plan.
//! - I3: any doubt, such as a manifest that cannot be read, and there is no plan at all.
//! - I4: what is in use is left to whoever uses it: a file goes with its last handle, the folder of a
//!   checkpoint that is being written with its [`crate::NewCheckpoint`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::disk::{DirectoryEntry, Disk, EntryKind};
use crate::error::{Error, Result};
use crate::paths::{self, RootName};

/// Everything that a plan depends on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of the catalog, oldest first.
    pub checkpoints: Vec<CheckpointFacts>,
    /// What the root holds.
    pub root: Vec<DirectoryEntry>,
    /// Bytes in the folders of checkpoints, listed ones or not.
    pub folders_bytes: BTreeMap<Uuid, u64>,
    /// Batch files that somebody holds or writes.
    pub in_use: BTreeSet<String>,
    /// Checkpoints that are being written: their folders are in no catalog yet.
    pub in_progress: BTreeSet<Uuid>,
    pub moment: CollectionMoment,
}

/// One checkpoint of the catalog.
#[derive(Clone, Debug)]
pub struct CheckpointFacts {
    pub retention: Retention,
    /// The batch files that it needs.
    pub batches: Result<BTreeSet<String>>,
}

/// What decides whether a checkpoint is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub uuid: Uuid,
    pub is_usable: bool,
    /// Pinned or named.
    pub is_kept_on_purpose: bool,
    /// It is being read or sent.
    pub is_held: bool,
}

/// When a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectionMoment {
    /// Nobody writes: unfinished files are garbage.
    Opening,
    /// Unfinished files are being written.
    Running,
}

/// Why a checkpoint is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptBecause {
    /// One of the newest usable ones.
    Recent,
    /// Pinned or named.
    OnPurpose,
    /// It is being read or sent.
    Held,
    /// Unusable, but not older than the oldest recent one: it may be wanted for inquiry.
    Evidence,
}

impl fmt::Display for KeptBecause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Recent => "recent",
            Self::OnPurpose => "pinned or named",
            Self::Held => "in use",
            Self::Evidence => "unusable, but newer than a recent one",
        })
    }
}

/// Which of the checkpoints, oldest first, are kept if the newest `retain` usable ones are; at least
/// one of those is. In the same order.
pub fn retained(checkpoints: &[Retention], retain: usize) -> Vec<Option<KeptBecause>> {
    let usable = checkpoints.iter().enumerate().rev();
    let usable = usable.filter(|(_, checkpoint)| checkpoint.is_usable);
    let recent: BTreeSet<usize> = usable
        .map(|(position, _)| position)
        .take(retain.max(1))
        .collect();
    let is_short = recent.len() < retain.max(1);
    let oldest_recent = recent.first().copied().filter(|_| !is_short);
    let decide = |(position, checkpoint): (usize, &Retention)| {
        if recent.contains(&position) {
            Some(KeptBecause::Recent)
        } else if checkpoint.is_kept_on_purpose {
            Some(KeptBecause::OnPurpose)
        } else if checkpoint.is_held {
            Some(KeptBecause::Held)
        } else if !checkpoint.is_usable && oldest_recent.is_none_or(|oldest| position > oldest) {
            Some(KeptBecause::Evidence)
        } else {
            None
        }
    };
    checkpoints.iter().enumerate().map(decide).collect()
}

/// What is deleted, and what is not. It holds for one state of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CollectionPlan {
    /// Checkpoints that stay in the catalog.
    pub kept: Vec<(Uuid, KeptBecause)>,
    /// Checkpoints that leave the catalog, before anything is deleted.
    pub dropped: Vec<Uuid>,
    /// Folders to delete, with their bytes.
    pub folders: Vec<(Uuid, u64)>,
    /// Batch files to delete, with their bytes.
    pub batches: Vec<(String, u64)>,
    /// Unfinished files to delete, with their bytes.
    pub unfinished: Vec<(String, u64)>,
    /// Batch files that no checkpoint needs, and that go with their last handle.
    pub in_use: Vec<(String, u64)>,
    /// Batch files that kept checkpoints need, whether they are there or not.
    pub needed: BTreeSet<String>,
    /// Names at the root that are not ours.
    pub foreign: Vec<String>,
    /// The state of the catalog that it was made for.
    pub(crate) generation: u64,
}

/// Decides what may be deleted if the newest `retain` usable checkpoints are kept; all are if it is
/// `None`.
///
/// # Errors
/// If it is not known what a kept checkpoint needs.
pub fn plan(facts: &Facts, retain: Option<usize>) -> Result<CollectionPlan> {
    let mut plan = CollectionPlan::default();
    let checkpoints: Vec<Retention> = facts
        .checkpoints
        .iter()
        .map(|facts| facts.retention)
        .collect();
    let decisions = retained(&checkpoints, retain.unwrap_or(usize::MAX));
    for (checkpoint, decision) in facts.checkpoints.iter().zip(decisions) {
        let uuid = checkpoint.retention.uuid;
        match decision {
            Some(because) => {
                let batches = checkpoint
                    .batches
                    .as_ref()
                    .map_err(|error| cannot_plan(uuid, error))?;
                plan.needed.extend(batches.iter().cloned());
                plan.kept.push((uuid, because));
            }
            None => plan.dropped.push(uuid),
        }
    }
    for entry in &facts.root {
        classify(entry, facts, &mut plan);
    }
    Ok(plan)
}

fn cannot_plan(uuid: Uuid, error: &Error) -> Error {
    let context = format!("nothing is collected, for the files of checkpoint {uuid} are not known");
    let error = error.clone().with_context(&context);
    error.with_remedy("repair that checkpoint or remove it")
}

fn classify(entry: &DirectoryEntry, facts: &Facts, plan: &mut CollectionPlan) {
    let name = || entry.name.clone();
    let file = || (name(), entry.size_bytes);
    let is_running = facts.moment == CollectionMoment::Running;
    match (paths::root_name(&entry.name), entry.kind) {
        (RootName::Catalog | RootName::Lock, EntryKind::File) => {}
        (RootName::Unfinished, EntryKind::File) if is_running => {}
        (RootName::Unfinished, EntryKind::File) => plan.unfinished.push(file()),
        (RootName::Batch { .. }, EntryKind::File) => {
            if plan.needed.contains(&entry.name) {
            } else if facts.in_use.contains(&entry.name) {
                plan.in_use.push(file());
            } else {
                plan.batches.push(file());
            }
        }
        (RootName::Checkpoint(uuid), EntryKind::Directory) => {
            let is_kept = plan.kept.iter().any(|(kept, _)| *kept == uuid);
            if !is_kept && !facts.in_progress.contains(&uuid) {
                let bytes = facts.folders_bytes.get(&uuid).copied().unwrap_or(0);
                plan.folders.push((uuid, bytes));
            }
        }
        _ => plan.foreign.push(name()),
    }
}

impl CollectionPlan {
    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.dropped.is_empty() && !self.deletes_files()
    }

    pub(crate) fn deletes_files(&self) -> bool {
        !(self.folders.is_empty() && self.batches.is_empty() && self.unfinished.is_empty())
    }

    /// Bytes that are given back at once.
    pub fn freed_bytes(&self) -> u64 {
        let folders = self.folders.iter().map(|(_, bytes)| bytes);
        let files = self.batches.iter().chain(&self.unfinished);
        folders.chain(files.map(|(_, bytes)| bytes)).sum()
    }
}

/// One line for each thing that is kept, dropped, deleted or left.
impl fmt::Display for CollectionPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (uuid, because) in &self.kept {
            writeln!(formatter, "keep checkpoint {uuid}: {because}")?;
        }
        for uuid in &self.dropped {
            writeln!(formatter, "drop checkpoint {uuid}: old")?;
        }
        for (uuid, bytes) in &self.folders {
            writeln!(formatter, "delete folder {uuid} ({bytes} bytes)")?;
        }
        for (name, bytes) in self.batches.iter().chain(&self.unfinished) {
            writeln!(formatter, "delete file {name} ({bytes} bytes)")?;
        }
        for (name, bytes) in &self.in_use {
            writeln!(
                formatter,
                "leave file {name} ({bytes} bytes): in use, goes with its last user"
            )?;
        }
        for name in &self.foreign {
            writeln!(formatter, "leave {name}: not ours")?;
        }
        let needed = self.needed.len();
        let freed_bytes = self.freed_bytes();
        write!(
            formatter,
            "{needed} batch files are needed; {freed_bytes} bytes are given back"
        )
    }
}

/// What was deleted.
#[derive(Clone, Debug, Default)]
pub struct CollectionReport {
    pub folders: usize,
    pub batches: usize,
    pub unfinished: usize,
    pub freed_bytes: u64,
    /// What could not be deleted. The next collection tries again.
    pub failures: Vec<Error>,
}

/// Deletes what the plan names. Failures are reported, and do not keep the rest from being deleted.
pub(crate) fn execute(
    disk: &dyn Disk,
    root: &Path,
    plan: &CollectionPlan,
    in_use: &BTreeSet<String>,
) -> CollectionReport {
    let mut report = CollectionReport::default();
    remove_unfinished(disk, root, plan, &mut report);
    for (uuid, bytes) in &plan.folders {
        match remove_folder(disk, &paths::checkpoint_dir(root, *uuid)) {
            Ok(()) => {
                report.folders += 1;
                report.freed_bytes += bytes;
            }
            Err(error) => report.failures.push(error),
        }
    }
    for (name, bytes) in plan
        .batches
        .iter()
        .filter(|(name, _)| !in_use.contains(name))
    {
        match remove_file(disk, &root.join(name)) {
            Ok(()) => {
                report.batches += 1;
                report.freed_bytes += bytes;
            }
            Err(error) => report.failures.push(error),
        }
    }
    report
}

/// Deletes unfinished files only.
pub(crate) fn remove_unfinished(
    disk: &dyn Disk,
    root: &Path,
    plan: &CollectionPlan,
    report: &mut CollectionReport,
) {
    for (name, bytes) in &plan.unfinished {
        match remove_file(disk, &root.join(name)) {
            Ok(()) => {
                report.unfinished += 1;
                report.freed_bytes += bytes;
            }
            Err(error) => report.failures.push(error),
        }
    }
}

/// Deletes a folder with its files. One that is gone already is no failure.
pub(crate) fn remove_folder(disk: &dyn Disk, path: &Path) -> Result<()> {
    let entries = match disk.list(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("list", path, error)),
    };
    // A folder within is not ours: it stays, and so does this one.
    for entry in entries
        .iter()
        .filter(|entry| entry.kind != EntryKind::Directory)
    {
        remove_file(disk, &path.join(&entry.name))?;
    }
    match disk.remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Deletes a file. One that is gone already is no failure.
pub(crate) fn remove_file(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
