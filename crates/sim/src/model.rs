//! What must hold of a storage root, whatever happens: the other side of every comparison.
//!
//! While nothing runs, the disk lists exactly what the last operation left. While an operation runs,
//! or after one that failed, there is more than one possibility; each is a [`Range`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use highwater_storage::CatalogEntry;
use uuid::Uuid;

/// One line of the catalog, as far as users see it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub uuid: Uuid,
    pub is_pinned: bool,
    pub identifier: Option<String>,
}

/// Short, for stories: uuids of one run differ in their last digits.
impl fmt::Debug for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.uuid)?;
        if self.is_pinned {
            formatter.write_str(" pinned")?;
        }
        match &self.identifier {
            Some(identifier) => write!(formatter, " {identifier:?}"),
            None => Ok(()),
        }
    }
}

impl Item {
    pub fn of(entry: &CatalogEntry) -> Self {
        Self {
            uuid: entry.metadata.uuid,
            is_pinned: entry.pinned,
            identifier: entry.metadata.identifier.clone(),
        }
    }

    fn is_kept_on_purpose(&self) -> bool {
        self.is_pinned || self.identifier.is_some()
    }
}

/// The catalog, oldest first.
pub type List = Vec<Item>;

/// Lists that have all of `must`, and nothing that `may` has not, in the order of `may`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    must: List,
    may: List,
}

impl Range {
    pub fn exactly(list: &[Item]) -> Self {
        Self {
            must: list.to_vec(),
            may: list.to_vec(),
        }
    }

    /// What retention may leave of a list: the newest ones, and those that are kept on purpose.
    pub fn retained(list: &[Item], retain: usize) -> Self {
        let recent = list.len().saturating_sub(retain.max(1));
        let kept = list.iter().enumerate();
        let kept = kept.filter(|(position, item)| *position >= recent || item.is_kept_on_purpose());
        Self {
            must: kept.map(|(_, item)| item.clone()).collect(),
            may: list.to_vec(),
        }
    }

    pub fn admits(&self, list: &[Item]) -> bool {
        self.must.iter().all(|item| list.contains(item)) && is_subsequence(list, &self.may)
    }
}

fn is_subsequence(short: &[Item], long: &[Item]) -> bool {
    let mut rest = long.iter();
    short.iter().all(|item| rest.any(|other| other == item))
}

/// What is in a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// At the root.
    pub batches: BTreeMap<String, Arc<Vec<u8>>>,
    /// In its folder.
    pub states: BTreeMap<String, Arc<Vec<u8>>>,
}

/// What must hold.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// Every checkpoint that anybody ever began to publish.
    pub checkpoints: BTreeMap<Uuid, Contents>,
    /// What the running store lists.
    pub memory: List,
    /// What the disk may list.
    pub possible: Vec<Range>,
    /// The last change failed: a process that starts now cannot know it.
    pub is_in_doubt: bool,
    /// Even then, what a start has shown must last.
    pub is_strict: bool,
    /// Counts what happened to `possible`.
    pub version: u64,
    /// Not ours; never touched.
    pub foreign: BTreeMap<PathBuf, Vec<u8>>,
}

impl Model {
    pub fn new(foreign: BTreeMap<PathBuf, Vec<u8>>) -> Self {
        Self {
            possible: vec![Range::exactly(&[])],
            foreign,
            ..Self::default()
        }
    }

    /// An operation starts that may leave one of these.
    pub fn begin(&mut self, outcomes: Vec<Range>) {
        self.possible.extend(outcomes);
        self.version += 1;
    }

    /// It succeeded: from now on there is one possibility, which must be one of these.
    ///
    /// # Errors
    /// If the store lists something else.
    pub fn succeeded(&mut self, outcomes: &[Range], list: List) -> Result<(), String> {
        if !outcomes.iter().any(|range| range.admits(&list)) {
            return Err(format!("lists {list:?} instead of {outcomes:?}"));
        }
        self.is_in_doubt = false;
        self.settle(list);
        Ok(())
    }

    /// It succeeded without having anything to write.
    ///
    /// # Errors
    /// If the store lists something else than before.
    pub fn changed_nothing(&mut self, list: List) -> Result<(), String> {
        self.check(&list)?;
        self.shown(list);
        Ok(())
    }

    /// A start shows this list; what was shown once is not taken back.
    ///
    /// Known limitation: after a change that failed, the engine syncs the names again when it starts,
    /// which proves nothing ([`highwater_storage::disk`]). Unless the model is strict, the list may
    /// still change back then.
    pub fn shown(&mut self, list: List) {
        if self.is_in_doubt && !self.is_strict {
            self.memory = list;
        } else {
            self.settle(list);
        }
    }

    fn settle(&mut self, list: List) {
        self.possible = vec![Range::exactly(&list)];
        self.memory = list;
        self.version += 1;
    }

    /// It failed: the disk may list what it did before, or not.
    ///
    /// # Errors
    /// If the store lists neither.
    pub fn failed(&mut self, list: List) -> Result<(), String> {
        self.is_in_doubt = true;
        self.check(&list)?;
        self.memory = list;
        Ok(())
    }

    /// # Errors
    /// If this is not one of the possible lists.
    pub fn check(&self, list: &[Item]) -> Result<(), String> {
        if self.possible.iter().any(|range| range.admits(list)) {
            return Ok(());
        }
        let possible = &self.possible;
        Err(format!("lists {list:?}, possible are {possible:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u128, is_pinned: bool) -> Item {
        Item {
            uuid: Uuid::from_u128(number),
            is_pinned,
            identifier: None,
        }
    }

    #[test]
    fn a_range_has_a_floor_a_ceiling_and_an_order() {
        let list = [
            item(1, false),
            item(2, true),
            item(3, false),
            item(4, false),
        ];
        let range = Range::retained(&list, 2);
        assert!(range.admits(&list));
        assert!(range.admits(&list[1..]));
        assert!(!range.admits(&list[2..]), "the pinned one is missing");
        assert!(!range.admits(&list[..3]), "the newest is missing");
        let mut swapped = list.to_vec();
        swapped.swap(2, 3);
        assert!(!range.admits(&swapped));
        assert!(Range::exactly(&list).admits(&list));
        assert!(!Range::exactly(&list).admits(&list[1..]));
        let unpinned = [
            item(1, false),
            item(2, false),
            item(3, false),
            item(4, false),
        ];
        assert!(!range.admits(&unpinned), "it is not as it was");
    }

    #[test]
    fn a_failed_operation_leaves_both_possibilities_until_one_succeeds() {
        let (old, new) = (vec![item(1, false)], vec![item(1, false), item(2, false)]);
        let mut model = Model::new(BTreeMap::new());
        model
            .succeeded(&[Range::exactly(&old)], old.clone())
            .unwrap();
        model.begin(vec![Range::exactly(&new)]);
        model.failed(old.clone()).unwrap();
        assert!(model.check(&old).is_ok() && model.check(&new).is_ok());
        assert!(model.check(&[]).is_err());
        assert!(model.failed(vec![item(9, false)]).is_err());
        model.succeeded(&[Range::exactly(&old)], old).unwrap();
        assert!(model.check(&new).is_err());
    }
}
