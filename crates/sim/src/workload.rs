//! What users of a store do, as a sequence of steps, with the model of what must hold after each.
//!
//! Contents are drawn from a running number and told to the model with the file's name, so that no two
//! files are equal and mixing up two is noticed. Sizes repeat: a mix-up is not found by size alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_storage::{CheckpointDetails, Error, Kind, Store, StoredFile, paths};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::model::{Contents, Item, List, Model, Range};
use crate::oracle::{Door, STORAGE_ROOT, complaint_about, items, open_store};
use crate::sim_disk::SimDisk;

pub mod scripts;

/// One thing that somebody does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Writes a batch file and holds it under a key; what was held there is let go.
    Write {
        key: usize,
        worker: usize,
        bytes: usize,
    },
    /// Lets go of a batch file.
    Forget {
        key: usize,
    },
    /// A checkpoint of batch files that are held (other keys do not matter) and of new state files.
    Publish(Publication),
    /// Begins a checkpoint, and changes its mind.
    Abandon {
        keys: Vec<usize>,
        state_bytes: usize,
    },
    /// Of the listed ones, counted from the oldest.
    Pin {
        position: usize,
        is_pinned: bool,
    },
    Name {
        position: usize,
        identifier: Option<String>,
    },
    Remove {
        position: usize,
    },
    Collect {
        retain: usize,
    },
    /// A checkpoint with the files of another one.
    Fork {
        position: usize,
        retain: usize,
    },
    /// The process ends in good order, and another one starts. It holds no batch files.
    Reopen,
    /// The same, but without any good order.
    Kill,
}

#[derive(Clone, Debug)]
pub struct Publication {
    pub keys: Vec<usize>,
    /// Size of each state file.
    pub states: Vec<usize>,
    pub identifier: Option<String>,
    pub retain: usize,
    /// Somebody pins or unpins this one while the checkpoint is being written.
    pub meanwhile: Option<(usize, bool)>,
}

/// A sequence of steps.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: String,
    /// It makes the root itself.
    pub has_new_root: bool,
    /// See [`Model::shown`].
    pub is_strict: bool,
    pub steps: Vec<Step>,
}

/// A workload that ran, to its end or until it was stopped.
#[derive(Debug)]
pub struct Run {
    /// As its last process sees it.
    pub disk: SimDisk,
    pub model: Model,
    /// What the engine refused.
    pub refusals: Vec<String>,
    /// What must not have happened.
    pub violations: Vec<String>,
}

/// A disk with a storage root that is empty but for things that are not ours; there are such things
/// beside it too. If the root is to be new, there is no root yet.
///
/// # Panics
/// If the engine cannot make a root on a disk without faults.
pub fn prepared_disk(has_new_root: bool) -> (SimDisk, BTreeMap<PathBuf, Vec<u8>>) {
    let root = Path::new(STORAGE_ROOT);
    let inside = [
        "notes.txt",
        "w0-notes.feldera",
        "other.mut",
        "backup/state.json",
        "W1-0190f5a8-0000-7000-8000-000000000000.feldera",
    ];
    let mut disk = SimDisk::new();
    let mut foreign = vec![root.with_file_name("beside.txt")];
    disk.plant_dir(root.parent().unwrap_or(root));
    if !has_new_root {
        let opened = open_store(Arc::new(disk.clone()), root);
        drop(opened.expect("a new root"));
        disk = disk.crash().everything().disk;
        foreign.extend(inside.iter().map(|name| root.join(name)));
    }
    let numbered = (1_000_000..).zip(foreign);
    let planted: BTreeMap<PathBuf, Vec<u8>> = numbered
        .map(|(number, path)| (path, contents(number, 100)))
        .collect();
    for (path, bytes) in &planted {
        disk.plant(path, bytes);
    }
    (disk, planted)
}

/// Bytes that no other number has.
pub fn contents(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut random = ChaCha8Rng::seed_from_u64(number);
    random.fill(&mut bytes[..]);
    bytes
}

/// The checkpoint that a start would use.
///
/// # Errors
/// If there are checkpoints, but none that can be used.
pub fn newest(store: &Store) -> Result<Option<Uuid>, Error> {
    let ladder = store.newest_usable()?;
    Ok(ladder.checkpoint.map(|saved| saved.entry().metadata.uuid))
}

/// Some checkpoint, to see that it works.
///
/// # Errors
/// If the engine refuses.
pub fn publish_any(store: &Store) -> Result<Uuid, Error> {
    let mut writer = store.files().create(0)?;
    writer.write(b"another")?;
    let file = writer.finish()?;
    let mut checkpoint = store.begin()?;
    checkpoint.write_state(paths::PIPELINE_STATE, b"{}")?;
    checkpoint.refer(file);
    let entry = checkpoint.publish(details(None, usize::MAX))?;
    Ok(entry.metadata.uuid)
}

fn details(identifier: Option<String>, retain: usize) -> CheckpointDetails {
    CheckpointDetails {
        identifier,
        fingerprint: 7,
        steps: Some(1),
        processed_records: Some(2),
        retain,
    }
}

/// Runs a workload on a disk until its end, or until the process is stopped.
pub fn run(
    workload: &Workload,
    disk: SimDisk,
    foreign: BTreeMap<PathBuf, Vec<u8>>,
    door: &Door,
) -> Run {
    let mut runner = Runner {
        disk,
        door,
        store: None,
        held: BTreeMap::new(),
        model: Model {
            is_strict: workload.is_strict,
            ..Model::new(foreign)
        },
        next_number: 0,
        refusals: Vec::new(),
        violations: Vec::new(),
    };
    runner.open();
    for step in &workload.steps {
        if runner.disk.is_stopped() {
            break;
        }
        // What was refused may be granted the next time.
        if runner.store.is_none() {
            runner.open();
        }
        runner.step(step);
    }
    runner.held.clear();
    runner.store = None;
    Run {
        disk: runner.disk,
        model: runner.model,
        refusals: runner.refusals,
        violations: runner.violations,
    }
}

struct Held {
    file: Arc<StoredFile>,
    bytes: Arc<Vec<u8>>,
}

struct Runner<'a> {
    disk: SimDisk,
    door: &'a Door,
    store: Option<Store>,
    held: BTreeMap<usize, Held>,
    model: Model,
    next_number: u64,
    refusals: Vec<String>,
    violations: Vec<String>,
}

type Outcome = Result<(), Error>;

impl Runner<'_> {
    fn open(&mut self) {
        match open_store((self.door)(self.disk.clone()), Path::new(STORAGE_ROOT)) {
            Ok(store) => {
                let list = items(&store);
                self.note(|model| model.check(&list));
                if store.opening().problem.is_none() {
                    self.model.shown(list);
                } else {
                    // It said that not everything could be done: then both lists stay possible.
                    self.model.is_in_doubt = true;
                    self.model.memory = list;
                }
                self.store = Some(store);
            }
            Err(error) => self.refused("open", &error),
        }
    }

    /// A violation counts unless the process is dead: then its memory does not matter.
    fn note(&mut self, check: impl FnOnce(&mut Model) -> Result<(), String>) {
        if let Err(violation) = check(&mut self.model)
            && !self.disk.is_stopped()
        {
            self.violations.push(violation);
        }
    }

    fn refused(&mut self, what: &str, error: &Error) {
        if self.disk.is_stopped() {
            return;
        }
        self.refusals.push(format!("{what}: {error}"));
        if let Some(complaint) = complaint_about(error) {
            self.violations
                .push(format!("{what}: {error}: {complaint}"));
        }
    }

    fn step(&mut self, step: &Step) {
        let Some(store) = self.store.clone() else {
            return;
        };
        let list = self.model.memory.clone();
        let position = |position: usize| list.get(position % list.len().max(1)).cloned();
        let outcome = match step {
            Step::Write { key, worker, bytes } => self.write(&store, *key, *worker, *bytes),
            Step::Forget { key } => {
                self.held.remove(key);
                Ok(())
            }
            Step::Publish(publication) => self.publish(&store, publication),
            Step::Abandon { keys, state_bytes } => self.abandon(&store, keys, *state_bytes),
            Step::Pin {
                position: nth,
                is_pinned,
            } => position(*nth).map_or(Ok(()), |item| {
                let changed = Item {
                    is_pinned: *is_pinned,
                    ..item.clone()
                };
                self.change(&list, &item, Some(changed), |uuid| {
                    store.pin(uuid, *is_pinned)
                })
            }),
            Step::Name {
                position: nth,
                identifier,
            } => position(*nth).map_or(Ok(()), |item| {
                let changed = Item {
                    identifier: identifier.clone(),
                    ..item.clone()
                };
                let name = identifier.clone();
                self.change(&list, &item, Some(changed), |uuid| {
                    store.set_identifier(uuid, name)
                })
            }),
            Step::Remove { position: nth } => position(*nth).map_or(Ok(()), |item| {
                self.change(&list, &item, None, |uuid| store.remove(uuid))
            }),
            Step::Collect { retain } => self.collect(&store, *retain),
            Step::Fork {
                position: nth,
                retain,
            } => position(*nth).map_or(Ok(()), |item| self.fork(&store, item.uuid, *retain)),
            Step::Reopen => {
                self.end(store);
                self.open();
                Ok(())
            }
            Step::Kill => {
                self.kill(store);
                Ok(())
            }
        };
        if let Err(error) = outcome {
            self.refused(&format!("{step:?}"), &error);
        }
    }

    fn end(&mut self, store: Store) {
        self.held.clear();
        self.store = None;
        drop(store);
    }

    /// The next process finds what was written; the dead one's last deeds must not count.
    fn kill(&mut self, store: Store) {
        let next = self.disk.restart();
        self.end(store);
        self.disk = next;
        self.open();
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn write(&mut self, store: &Store, key: usize, worker: usize, length: usize) -> Outcome {
        let bytes = contents(self.number(), length);
        self.held.remove(&key);
        let mut writer = store.files().create(worker)?;
        let (first, second) = bytes.split_at(length / 2);
        writer.write(first)?;
        writer.write(second)?;
        let file = writer.finish()?;
        let bytes = Arc::new(bytes);
        self.held.insert(key, Held { file, bytes });
        Ok(())
    }

    fn publish(&mut self, store: &Store, publication: &Publication) -> Outcome {
        let mut checkpoint = store.begin()?;
        let mut contents_of_it = Contents::default();
        for (number, length) in publication.states.iter().enumerate() {
            let name = if number == 0 {
                paths::PIPELINE_STATE.to_owned()
            } else {
                paths::worker_state(number)
            };
            let bytes = contents(self.number(), *length);
            checkpoint.write_state(&name, &bytes)?;
            contents_of_it.states.insert(name, Arc::new(bytes));
        }
        for key in &publication.keys {
            if let Some(held) = self.held.get(key) {
                checkpoint.refer(Arc::clone(&held.file));
                let name = held.file.name().to_owned();
                contents_of_it.batches.insert(name, Arc::clone(&held.bytes));
            }
        }
        if let Some((position, is_pinned)) = publication.meanwhile {
            self.step(&Step::Pin {
                position,
                is_pinned,
            });
        }
        let uuid = checkpoint.uuid();
        let published = self.publication(uuid, contents_of_it, publication);
        let identifier = publication.identifier.clone();
        let outcome = checkpoint.publish(details(identifier, publication.retain));
        let outcome = self.finish(store, &published, outcome.map(|_| ()));
        if outcome.is_err() {
            self.rewrite_poisoned();
        }
        outcome
    }

    /// Files whose sync failed are written again; what is refused for that too is given up.
    fn rewrite_poisoned(&mut self) {
        self.held.retain(|_, held| {
            while held.file.is_poisoned() {
                match held.file.rewrite(0) {
                    Ok(file) => held.file = file,
                    Err(_) => return false,
                }
            }
            true
        });
    }

    /// What the catalog may become: the new one must be there, the old ones as retention says.
    fn publication(
        &mut self,
        uuid: Uuid,
        contents: Contents,
        publication: &Publication,
    ) -> Vec<Range> {
        self.model.checkpoints.insert(uuid, contents);
        let mut list = self.model.memory.clone();
        list.push(Item {
            uuid,
            is_pinned: false,
            identifier: publication.identifier.clone(),
        });
        let outcomes = vec![Range::retained(&list, publication.retain)];
        self.model.begin(outcomes.clone());
        outcomes
    }

    fn finish(&mut self, store: &Store, outcomes: &[Range], outcome: Outcome) -> Outcome {
        let list = items(store);
        match &outcome {
            Ok(()) => self.note(|model| model.succeeded(outcomes, list)),
            Err(_) => self.note(|model| model.failed(list)),
        }
        outcome
    }

    fn abandon(&mut self, store: &Store, keys: &[usize], length: usize) -> Outcome {
        let mut checkpoint = store.begin()?;
        let bytes = contents(self.number(), length);
        checkpoint.write_state(paths::PIPELINE_STATE, &bytes)?;
        for held in keys.iter().filter_map(|key| self.held.get(key)) {
            checkpoint.refer(Arc::clone(&held.file));
        }
        drop(checkpoint);
        Ok(())
    }

    /// One entry becomes another, or none.
    fn change(
        &mut self,
        list: &List,
        item: &Item,
        changed: Option<Item>,
        act: impl FnOnce(Uuid) -> Outcome,
    ) -> Outcome {
        let after: List = list
            .iter()
            .filter_map(|other| {
                if other == item {
                    changed.clone()
                } else {
                    Some(other.clone())
                }
            })
            .collect();
        let outcomes = vec![Range::exactly(&after)];
        let possible = self.model.possible.clone();
        self.model.begin(outcomes.clone());
        let outcome = act(item.uuid);
        let Some(store) = self.store.clone() else {
            return outcome;
        };
        // Pinned and named ones may refuse to be removed; that is an answer, and no change.
        match outcome {
            Err(error) if error.kind() == Kind::Invalid => {
                self.model.possible = possible;
                self.note(|model| model.check(&items(&store)));
                Ok(())
            }
            outcome => self.finish(&store, &outcomes, outcome),
        }
    }

    fn collect(&mut self, store: &Store, retain: usize) -> Outcome {
        let outcomes = vec![Range::retained(&self.model.memory, retain)];
        self.model.begin(outcomes.clone());
        let plan = store.plan_collection(retain);
        let is_empty = plan.as_ref().is_ok_and(|plan| plan.dropped.is_empty());
        let outcome = plan.and_then(|plan| store.collect(&plan)).map(|_| ());
        if is_empty && outcome.is_ok() {
            self.note(|model| model.changed_nothing(items(store)));
            return Ok(());
        }
        self.finish(store, &outcomes, outcome)
    }

    fn fork(&mut self, store: &Store, uuid: Uuid, retain: usize) -> Outcome {
        let saved = store.read(uuid)?;
        let source = self.model.checkpoints[&uuid].clone();
        let mut checkpoint = store.begin()?;
        let mut contents_of_it = Contents::default();
        for name in source.batches.keys() {
            checkpoint.refer(saved.open_batch(name)?);
        }
        contents_of_it.batches = source.batches;
        for name in source.states.keys() {
            let bytes = contents(self.number(), 40);
            checkpoint.write_state(name, &bytes)?;
            contents_of_it.states.insert(name.clone(), Arc::new(bytes));
        }
        let publication = Publication {
            keys: Vec::new(),
            states: Vec::new(),
            identifier: None,
            retain,
            meanwhile: None,
        };
        let published = self.publication(checkpoint.uuid(), contents_of_it, &publication);
        let outcome = checkpoint.publish(details(None, retain));
        self.finish(store, &published, outcome.map(|_| ()))
    }
}
