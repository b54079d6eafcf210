//! The published contents: what queries see.
//!
//! After each step the contents of all materialized relations are replaced at once, by swapping one
//! `Arc`, so whoever holds one sees all of some step and nothing of the next.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_circuit::dataflow::RelationRef;
use highwater_zset::Snapshot;

/// The contents of all materialized relations after one step.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    step: u64,
    relations: BTreeMap<RelationRef, Arc<[Snapshot]>>,
}

impl Contents {
    /// What a restored circuit holds after a step.
    pub(crate) fn restored(step: u64, relations: &BTreeMap<RelationRef, Vec<Snapshot>>) -> Self {
        let relations = relations.iter();
        let relations = relations.map(|(relation, parts)| (*relation, parts.clone().into()));
        Self {
            step,
            relations: relations.collect(),
        }
    }

    /// The step that these contents are the result of; 0 before the first.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// One snapshot per worker; none at all if the relation is still empty.
    pub fn snapshots(&self, relation: RelationRef) -> Vec<Snapshot> {
        let snapshots = self.relations.get(&relation);
        snapshots.map_or_else(Vec::new, |snapshots| snapshots.to_vec())
    }

    /// These contents after a step that changed some relations.
    pub(crate) fn after(&self, step: u64, changed: Vec<(RelationRef, Vec<Snapshot>)>) -> Self {
        let mut relations = self.relations.clone();
        relations.extend(
            changed
                .into_iter()
                .map(|(relation, snapshots)| (relation, snapshots.into())),
        );
        Self { step, relations }
    }
}

/// Where the latest contents are.
#[derive(Debug, Default)]
pub(crate) struct Published {
    latest: Mutex<Arc<Contents>>,
}

impl Published {
    pub(crate) fn latest(&self) -> Arc<Contents> {
        self.latest
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn publish(&self, contents: Arc<Contents>) {
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = contents;
    }
}
