//! The disks that a loss of power may leave.
//!
//! An *effect* is something that was done and not synced: an operation on names, which happened or
//! not, or the unsynced bytes of a file, which have one of several [`Fate`]s. A crash state is one
//! choice per effect. While there are few combinations all of them are tried; beyond, the extremes
//! (nothing, everything, each single one missing, each single one alone) and random ones.
//!
//! Choices that lead to the same disk count once.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::sim_disk::SimDisk;
use crate::world::{Content, Fate, Names, Node, NodeId, ROOT, World, apply};

/// The effects of a moment, from which its crash states are made.
#[derive(Clone, Debug)]
pub struct Crash {
    world: World,
    effects: Vec<Effect>,
}

#[derive(Clone, Debug)]
enum Effect {
    /// Index in the log.
    Name(usize),
    Data(NodeId, Vec<Fate>),
}

/// One disk that the loss of power may have left.
#[derive(Clone, Debug)]
pub struct CrashState {
    /// Settled, with nobody holding a lock.
    pub disk: SimDisk,
    /// Per effect which of its outcomes: with [`Crash::state`] the same disk again.
    pub choices: Vec<usize>,
}

/// How many crash states to try of one moment.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// All combinations, if there are no more than this. Otherwise nothing, everything, and:
    pub exhaustive: usize,
    /// each single effect missing, and each single one alone;
    pub has_singles: bool,
    /// so many random ones.
    pub random: usize,
    pub seed: u64,
}

impl Crash {
    pub(crate) fn of(world: World) -> Self {
        let mut relevant = BTreeSet::new();
        for node in world.nodes.values() {
            if let Node::Directory(names) = node {
                relevant.extend(names.durable.values().copied());
            }
        }
        let named = world.log.iter().flat_map(|operation| &operation.changes);
        relevant.extend(named.filter_map(|change| change.node));
        let mut effects: Vec<Effect> = (0..world.log.len()).map(Effect::Name).collect();
        for (id, node) in &world.nodes {
            if let Node::File(content) = node
                && !content.is_certain()
                && relevant.contains(id)
            {
                effects.push(Effect::Data(*id, content.fates()));
            }
        }
        Self { world, effects }
    }

    /// How many things were done that are not certain.
    pub fn effects(&self) -> usize {
        self.effects.len()
    }

    fn outcomes(&self, effect: usize) -> usize {
        match &self.effects[effect] {
            Effect::Name(_) => 2,
            Effect::Data(_, fates) => fates.len(),
        }
    }

    /// Nothing of it survived.
    pub fn nothing(&self) -> CrashState {
        self.state(vec![0; self.effects.len()])
    }

    /// All of it survived.
    pub fn everything(&self) -> CrashState {
        self.state(vec![1; self.effects.len()])
    }

    /// The different disks, as many as the bound allows.
    pub fn states(&self, bound: Bound) -> Vec<CrashState> {
        let mut seen = HashSet::new();
        let mut states = Vec::new();
        for choices in self.all_choices(bound) {
            if seen.insert(self.fingerprint(&choices)) {
                states.push(self.state(choices));
            }
        }
        states
    }

    fn all_choices(&self, bound: Bound) -> Vec<Vec<usize>> {
        let combinations = (0..self.effects.len()).try_fold(1_usize, |product, effect| {
            product
                .checked_mul(self.outcomes(effect))
                .filter(|product| *product <= bound.exhaustive)
        });
        match combinations {
            Some(count) => (0..count).map(|number| self.combination(number)).collect(),
            None => self.sampled(bound),
        }
    }

    /// Counts through all combinations, as digits of mixed bases.
    fn combination(&self, mut number: usize) -> Vec<usize> {
        let mut choices = Vec::with_capacity(self.effects.len());
        for effect in 0..self.effects.len() {
            let base = self.outcomes(effect);
            choices.push(number % base);
            number /= base;
        }
        choices
    }

    fn sampled(&self, bound: Bound) -> Vec<Vec<usize>> {
        let count = self.effects.len();
        let mut all = vec![vec![0; count], vec![1; count]];
        let singles = if bound.has_singles { count } else { 0 };
        for effect in 0..singles {
            for outcome in 0..self.outcomes(effect) {
                let mut others_lost = vec![0; count];
                others_lost[effect] = outcome;
                let mut others_kept = vec![1; count];
                others_kept[effect] = outcome;
                all.extend([others_lost, others_kept]);
            }
        }
        let mut random = ChaCha8Rng::seed_from_u64(bound.seed);
        for _ in 0..bound.random {
            let choices = (0..count).map(|effect| random.random_range(0..self.outcomes(effect)));
            all.push(choices.collect());
        }
        all
    }

    /// The disk of these choices.
    pub fn state(&self, choices: Vec<usize>) -> CrashState {
        let mut world = self.world.emptied();
        let names = self.names_after(&choices);
        let fates = self.fates(&choices);
        let mut copies = BTreeMap::from([(ROOT, ROOT)]);
        let mut open = vec![ROOT];
        while let Some(old) = open.pop() {
            let mut copied = BTreeMap::new();
            for (name, child) in names.get(&old).into_iter().flatten() {
                let copy = *copies.entry(*child).or_insert_with(|| {
                    open.push(*child);
                    world.add(self.survivor(*child, &fates))
                });
                copied.insert(name.clone(), copy);
            }
            if let Some(Node::Directory(names)) = world.nodes.get_mut(&copies[&old]) {
                names.durable.clone_from(&copied);
                names.current = copied;
            }
        }
        CrashState {
            disk: SimDisk::with_world(world),
            choices,
        }
    }

    fn survivor(&self, id: NodeId, fates: &BTreeMap<NodeId, Fate>) -> Node {
        match &self.world.nodes[&id] {
            Node::Directory(_) => Node::Directory(Names::default()),
            Node::File(content) => {
                let fate = fates.get(&id).copied().unwrap_or(Fate::Kept);
                Node::File(Content::certain(content.after(fate)))
            }
        }
    }

    fn names_after(&self, choices: &[usize]) -> BTreeMap<NodeId, BTreeMap<String, NodeId>> {
        let mut names: BTreeMap<NodeId, BTreeMap<String, NodeId>> = BTreeMap::new();
        for (id, node) in &self.world.nodes {
            if let Node::Directory(directory) = node {
                names.insert(*id, directory.durable.clone());
            }
        }
        for (effect, choice) in self.effects.iter().zip(choices) {
            if let (Effect::Name(index), 1) = (effect, choice) {
                for change in &self.world.log[*index].changes {
                    apply(names.entry(change.directory).or_default(), change);
                }
            }
        }
        names
    }

    fn fates(&self, choices: &[usize]) -> BTreeMap<NodeId, Fate> {
        let chosen = self.effects.iter().zip(choices);
        chosen
            .filter_map(|(effect, choice)| match effect {
                Effect::Name(_) => None,
                Effect::Data(id, fates) => Some((*id, fates[*choice])),
            })
            .collect()
    }

    /// Equal for choices that leave the same disk.
    fn fingerprint(&self, choices: &[usize]) -> u64 {
        let names = self.names_after(choices);
        let fates = self.fates(choices);
        let mut hasher = DefaultHasher::new();
        let mut open = vec![ROOT];
        while let Some(id) = open.pop() {
            id.hash(&mut hasher);
            for (name, child) in names.get(&id).into_iter().flatten() {
                (name, child, fates.get(child)).hash(&mut hasher);
                open.push(*child);
            }
        }
        hasher.finish()
    }

    /// What the choices mean, one line per effect.
    pub fn describe(&self, choices: &[usize]) -> String {
        let paths = self.world.walk();
        let path_of = |id: NodeId| {
            let found = paths.iter().find(|(_, node)| **node == id);
            found.map_or_else(|| format!("(node {id})"), |(path, _)| path.clone())
        };
        let chosen = self.effects.iter().zip(choices);
        let lines = chosen.map(|(effect, choice)| match effect {
            Effect::Name(index) => {
                let operation = &self.world.log[*index];
                let names = operation.changes.iter().map(|change| change.name.as_str());
                let names: Vec<&str> = names.collect();
                let fate = if *choice == 1 { "kept" } else { "lost" };
                format!("{} {}: {fate}", operation.what, names.join(" -> "))
            }
            Effect::Data(id, fates) => format!("data of {}: {:?}", path_of(*id), fates[*choice]),
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
