//! Pins, names, removal, marks of damage, and collection.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Change, Store};
use crate::catalog::{CatalogEntry, Unusable};
use crate::collect::{self, CollectionMoment, CollectionPlan, CollectionReport, Facts};
use crate::error::{Error, Kind, Result};
use crate::paths;

impl Store {
    /// Keeps a checkpoint whatever its age, or no longer.
    ///
    /// # Errors
    /// If it is not listed, or the catalog cannot be written.
    pub fn pin(&self, uuid: Uuid, pinned: bool) -> Result<()> {
        self.alter(uuid, |entry| entry.pinned = pinned)
    }

    /// Names a checkpoint, which keeps it whatever its age; or takes its name away.
    ///
    /// # Errors
    /// If it is not listed, another one has the name, or the catalog cannot be written.
    pub fn set_identifier(&self, uuid: Uuid, identifier: Option<String>) -> Result<()> {
        self.check_writable()?;
        let mut change = self.change();
        if let Some(identifier) = &identifier {
            self.check_identifier(uuid, identifier)?;
        }
        self.alter_within(&mut change, uuid, |entry| {
            entry.metadata.identifier = identifier
        })
    }

    /// # Errors
    /// If another checkpoint has this name.
    pub(super) fn check_identifier(&self, uuid: Uuid, identifier: &str) -> Result<()> {
        let state = self.state();
        let has_it =
            |entry: &&CatalogEntry| entry.metadata.identifier.as_deref() == Some(identifier);
        let taken = state.entries.iter().filter(has_it);
        match taken.map(CatalogEntry::uuid).find(|other| *other != uuid) {
            None => Ok(()),
            Some(other) => {
                let message = format!("checkpoint {other} is named `{identifier}` already");
                let error = Error::new(Kind::Invalid, &self.shared.root, message);
                Err(error.with_remedy("choose another name"))
            }
        }
    }

    /// Marks a checkpoint as damaged: nobody starts from it any more.
    ///
    /// # Errors
    /// If it is not listed, or the catalog cannot be written: then it is marked in memory only.
    pub fn quarantine(&self, uuid: Uuid, reason: &str) -> Result<()> {
        let mark = Unusable {
            reason: reason.to_owned(),
            since: self.now(),
        };
        let mut change = self.change();
        let marked = self.altered(uuid, |entry| entry.unusable = Some(mark))?;
        tracing::error!(%uuid, reason, "a checkpoint is unusable");
        self.set_entries(marked.clone());
        if self.is_read_only() {
            return Ok(());
        }
        self.commit(&mut change, marked, &BTreeSet::new())
    }

    /// Takes the mark of damage away, after every file was verified.
    ///
    /// # Errors
    /// If it is not listed, a file is still damaged, or the catalog cannot be written.
    pub fn readmit(&self, uuid: Uuid) -> Result<()> {
        let verification = self.verify(uuid, &mut |_| {})?;
        if let Some(damage) = verification.damages.into_iter().next() {
            return Err(damage);
        }
        self.alter(uuid, |entry| entry.unusable = None)
    }

    /// Removes a checkpoint, and what only it needs.
    ///
    /// # Errors
    /// If it is not listed, pinned or in use, or the catalog cannot be written.
    pub fn remove(&self, uuid: Uuid) -> Result<()> {
        self.check_writable()?;
        let mut change = self.change();
        let entry = self.entry(uuid)?;
        let folder = paths::checkpoint_dir(&self.shared.root, uuid);
        if entry.pinned {
            return Err(
                Error::new(Kind::Invalid, folder, "is pinned").with_remedy("unpin it first")
            );
        }
        if self.state().holds.contains_key(&uuid) {
            return Err(Error::new(Kind::Invalid, folder, "is being read or sent"));
        }
        let mut entries = self.entries();
        entries.retain(|entry| entry.uuid() != uuid);
        self.commit(&mut change, entries, &BTreeSet::new())?;
        self.settle(&mut change);
        Ok(())
    }

    fn alter(&self, uuid: Uuid, alter: impl FnOnce(&mut CatalogEntry)) -> Result<()> {
        self.check_writable()?;
        let mut change = self.change();
        self.alter_within(&mut change, uuid, alter)
    }

    fn alter_within(
        &self,
        change: &mut Change,
        uuid: Uuid,
        alter: impl FnOnce(&mut CatalogEntry),
    ) -> Result<()> {
        let entries = self.altered(uuid, alter)?;
        self.commit(change, entries, &BTreeSet::new())
    }

    fn altered(
        &self,
        uuid: Uuid,
        alter: impl FnOnce(&mut CatalogEntry),
    ) -> Result<Vec<CatalogEntry>> {
        let mut altered = self.entry(uuid)?;
        alter(&mut altered);
        let mut entries = self.entries();
        let entry = entries.iter_mut().find(|entry| entry.uuid() == uuid);
        entry.into_iter().for_each(|entry| *entry = altered.clone());
        Ok(entries)
    }

    /// What a collection would do that keeps the newest `retain` usable checkpoints.
    ///
    /// # Errors
    /// If anything is in doubt.
    pub fn plan_collection(&self, retain: usize) -> Result<CollectionPlan> {
        let change = self.change();
        self.plan_within(&change, Some(retain), CollectionMoment::Running)
    }

    /// As [`Self::plan_collection`], for a process that writes no files, so that unfinished ones are
    /// garbage too. All checkpoints are kept if `retain` is `None`.
    ///
    /// # Errors
    /// If anything is in doubt, or the root is only read: then only its owner knows what is garbage.
    pub fn plan_collection_alone(&self, retain: Option<usize>) -> Result<CollectionPlan> {
        self.check_writable()?;
        let change = self.change();
        self.plan_within(&change, retain, CollectionMoment::Opening)
    }

    fn plan_within(
        &self,
        change: &Change,
        retain: Option<usize>,
        moment: CollectionMoment,
    ) -> Result<CollectionPlan> {
        if change.is_uncertain {
            let message = "nothing is collected, for it is not known whether the last change of the catalog lasts";
            let error = Error::new(
                Kind::Unavailable,
                self.shared.root.join(paths::CATALOG),
                message,
            );
            return Err(error.with_remedy("make another checkpoint"));
        }
        let facts = Facts {
            moment,
            ..self.facts()?
        };
        let mut plan = collect::plan(&facts, retain)?;
        plan.generation = self.state().generation;
        Ok(plan)
    }

    /// Does what a plan says. What cannot be deleted is reported, and is no error.
    ///
    /// # Errors
    /// If the catalog has changed since the plan was made, or cannot be written.
    pub fn collect(&self, plan: &CollectionPlan) -> Result<CollectionReport> {
        self.check_writable()?;
        let mut change = self.change();
        if change.is_uncertain || plan.generation != self.state().generation {
            let message = "the checkpoints have changed since the plan was made";
            let error = Error::new(Kind::Invalid, &self.shared.root, message);
            return Err(error.with_remedy("make another plan"));
        }
        let is_proof_needed = change.is_only_read && plan.deletes_files();
        if !plan.dropped.is_empty() || is_proof_needed {
            self.check_not_held(&plan.dropped)?;
            let mut entries = self.entries();
            entries.retain(|entry| !plan.dropped.contains(&entry.uuid()));
            self.commit(&mut change, entries, &BTreeSet::new())?;
        }
        Ok(self.execute(&mut change, plan))
    }

    /// # Errors
    /// If one of these is held.
    fn check_not_held(&self, dropped: &[Uuid]) -> Result<()> {
        let state = self.state();
        match dropped.iter().find(|uuid| state.holds.contains_key(uuid)) {
            None => Ok(()),
            Some(uuid) => {
                let folder = paths::checkpoint_dir(&self.shared.root, *uuid);
                let error = Error::new(Kind::Invalid, folder, "is being read or sent");
                Err(error.with_remedy("make another plan"))
            }
        }
    }

    /// Collects what the catalog, which was just replaced, no longer needs.
    pub(super) fn settle(&self, change: &mut Change) {
        let collection = self
            .plan_within(change, None, CollectionMoment::Running)
            .map(|plan| self.execute(change, &plan));
        match &collection {
            Ok(report) => {
                for error in &report.failures {
                    tracing::warn!(%error, "cannot remove a file that nobody needs; the next collection tries again");
                }
            }
            Err(error) => tracing::warn!(%error, "nothing was collected"),
        }
        self.state().last_collection = Some(collection);
    }

    fn execute(&self, change: &mut Change, plan: &CollectionPlan) -> CollectionReport {
        let shared = &self.shared;
        change.owned = plan.needed.clone();
        shared.files.set_owned(change.owned.clone());
        let in_use = shared.files.in_use();
        collect::execute(shared.disk.as_ref(), &shared.root, plan, &in_use)
    }
}
