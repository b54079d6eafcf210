//! The simulated file system: nodes, names, and which of both a loss of power may take.
//!
//! Each folder has its names twice: as they are for the running system, and as they are certain. In
//! between stands a log of operations on names that were not synced. After a loss of power any subset
//! of the log may have happened, each operation wholly or not at all.
//!
//! Invariants
//! - I1: applying the whole log to the durable names gives the current ones, so long as no sync of a
//!   folder failed.
//! - I2: nodes are never forgotten: a removal that was not synced may be undone.

mod content;

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use uuid::{Builder, Uuid};

pub(crate) use content::Content;
pub use content::{Fate, SECTOR_BYTES};

pub(crate) type NodeId = u64;

pub(crate) const ROOT: NodeId = 0;

#[derive(Clone, Debug)]
pub(crate) enum Node {
    File(Content),
    Directory(Names),
}

/// The names in a folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    pub(crate) durable: BTreeMap<String, NodeId>,
    pub(crate) current: BTreeMap<String, NodeId>,
}

/// An operation on names that is not certain yet.
#[derive(Clone, Debug)]
pub(crate) struct NameOperation {
    pub(crate) what: &'static str,
    /// All of them or none.
    pub(crate) changes: Vec<NameChange>,
    /// A sync of the folder failed: no later one makes it certain.
    pub(crate) is_doubtful: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct NameChange {
    pub(crate) directory: NodeId,
    pub(crate) name: String,
    /// Nothing: the name goes.
    pub(crate) node: Option<NodeId>,
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) nodes: BTreeMap<NodeId, Node>,
    pub(crate) log: Vec<NameOperation>,
    next_node: NodeId,
    uuids_drawn: u64,
}

/// Where a path leads: the folder and the last name.
struct Place {
    directory: NodeId,
    name: String,
}

impl Default for World {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::from([(ROOT, Node::Directory(Names::default()))]),
            log: Vec::new(),
            next_node: ROOT + 1,
            uuids_drawn: 0,
        }
    }
}

pub(crate) fn error(kind: io::ErrorKind) -> io::Error {
    io::Error::from(kind)
}

impl World {
    /// Nothing is there any more, and no uuid that was drawn is drawn again.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            uuids_drawn: self.uuids_drawn,
            ..Self::default()
        }
    }

    /// Of version 7, in which the numbers are times.
    pub(crate) fn draw_uuid(&mut self) -> Uuid {
        self.uuids_drawn += 1;
        Builder::from_unix_timestamp_millis(self.uuids_drawn, &[0; 10]).into_uuid()
    }

    pub(crate) fn add(&mut self, node: Node) -> NodeId {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        id
    }

    pub(crate) fn names(&self, id: NodeId) -> io::Result<&Names> {
        match self.nodes.get(&id) {
            Some(Node::Directory(names)) => Ok(names),
            _ => Err(error(io::ErrorKind::NotADirectory)),
        }
    }

    fn names_mut(&mut self, id: NodeId) -> &mut Names {
        match self.nodes.get_mut(&id) {
            Some(Node::Directory(names)) => names,
            _ => panic!("node {id} is no folder"),
        }
    }

    pub(crate) fn content(&self, id: NodeId) -> &Content {
        match self.nodes.get(&id) {
            Some(Node::File(content)) => content,
            _ => panic!("node {id} is no file"),
        }
    }

    pub(crate) fn content_mut(&mut self, id: NodeId) -> &mut Content {
        match self.nodes.get_mut(&id) {
            Some(Node::File(content)) => content,
            _ => panic!("node {id} is no file"),
        }
    }

    pub(crate) fn is_file(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(&id), Some(Node::File(_)))
    }

    /// The node that a path names.
    pub(crate) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for component in path.components() {
            match component {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    let name = name.to_string_lossy();
                    let found = self.names(node)?.current.get(name.as_ref());
                    node = *found.ok_or_else(|| error(io::ErrorKind::NotFound))?;
                }
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(error(io::ErrorKind::InvalidInput));
                }
            }
        }
        Ok(node)
    }

    pub(crate) fn find_file(&self, path: &Path) -> io::Result<NodeId> {
        let id = self.find(path)?;
        if self.is_file(id) {
            Ok(id)
        } else {
            Err(error(io::ErrorKind::IsADirectory))
        }
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let parent = path
            .parent()
            .ok_or_else(|| error(io::ErrorKind::InvalidInput))?;
        let name = path
            .file_name()
            .ok_or_else(|| error(io::ErrorKind::InvalidInput))?;
        let directory = self.find(parent)?;
        self.names(directory)?;
        Ok(Place {
            directory,
            name: name.to_string_lossy().into_owned(),
        })
    }

    fn at(&self, place: &Place) -> Option<NodeId> {
        let names = self.names(place.directory).ok()?;
        names.current.get(&place.name).copied()
    }

    fn occupied(&self, place: &Place) -> io::Result<NodeId> {
        self.at(place).ok_or_else(|| error(io::ErrorKind::NotFound))
    }

    fn vacant(&self, place: &Place) -> io::Result<()> {
        match self.at(place) {
            None => Ok(()),
            Some(_) => Err(error(io::ErrorKind::AlreadyExists)),
        }
    }

    /// Does it, for the running system, and remembers that it is not certain.
    fn perform(&mut self, what: &'static str, changes: Vec<(Place, Option<NodeId>)>) {
        let changes: Vec<NameChange> = changes
            .into_iter()
            .map(|(place, node)| NameChange {
                directory: place.directory,
                name: place.name,
                node,
            })
            .collect();
        for change in &changes {
            apply(&mut self.names_mut(change.directory).current, change);
        }
        self.log.push(NameOperation {
            what,
            changes,
            is_doubtful: false,
        });
    }

    /// Names or forgets a node at once and for certain.
    pub(crate) fn set_name(&mut self, directory: NodeId, name: &str, node: Option<NodeId>) {
        let change = NameChange {
            directory,
            name: name.to_owned(),
            node,
        };
        let names = self.names_mut(directory);
        apply(&mut names.durable, &change);
        apply(&mut names.current, &change);
    }

    pub(crate) fn create(&mut self, path: &Path) -> io::Result<NodeId> {
        let place = self.place(path)?;
        self.vacant(&place)?;
        let id = self.add(Node::File(Content::default()));
        self.perform("create", vec![(place, Some(id))]);
        Ok(id)
    }

    pub(crate) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        self.vacant(&place)?;
        let id = self.add(Node::Directory(Names::default()));
        self.perform("mkdir", vec![(place, Some(id))]);
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let node = self.occupied(&from)?;
        if let Some(replaced) = self.at(&to) {
            // POSIX: two names of one file stay as they are.
            if replaced == node {
                return Ok(());
            }
            match (self.is_file(node), self.names(replaced)) {
                (true, Ok(_)) => return Err(error(io::ErrorKind::IsADirectory)),
                (false, Err(_)) => return Err(error(io::ErrorKind::NotADirectory)),
                (false, Ok(names)) if !names.current.is_empty() => {
                    return Err(error(io::ErrorKind::DirectoryNotEmpty));
                }
                _ => {}
            }
        }
        self.perform("rename", vec![(from, None), (to, Some(node))]);
        Ok(())
    }

    pub(crate) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        if !self.is_file(node) {
            return Err(error(io::ErrorKind::PermissionDenied));
        }
        let to = self.place(to)?;
        self.vacant(&to)?;
        self.perform("link", vec![(to, Some(node))]);
        Ok(())
    }

    pub(crate) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let node = self.occupied(&place)?;
        if !self.is_file(node) {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        self.perform("unlink", vec![(place, None)]);
        Ok(())
    }

    pub(crate) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let node = self.occupied(&place)?;
        if !self.names(node)?.current.is_empty() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        self.perform("rmdir", vec![(place, None)]);
        Ok(())
    }

    /// Makes the operations on the names of a folder certain.
    pub(crate) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.find(path)?;
        self.names(directory)?;
        let mut index = 0;
        while let Some(operation) = self.log.get(index) {
            let concerns = operation
                .changes
                .iter()
                .any(|change| change.directory == directory);
            if !concerns || operation.is_doubtful {
                index += 1;
                continue;
            }
            let operation = self.log.remove(index);
            for change in &operation.changes {
                // Earlier doubts about this name are settled by a later certainty.
                for earlier in &mut self.log[..index] {
                    let changes = &mut earlier.changes;
                    changes.retain(|old| {
                        (old.directory, &old.name) != (change.directory, &change.name)
                    });
                }
                apply(&mut self.names_mut(change.directory).durable, change);
            }
            let before = self.log.len();
            self.log.retain(|operation| !operation.changes.is_empty());
            index -= before - self.log.len();
        }
        Ok(())
    }

    /// A failed sync says nothing about what survived, and a second one proves nothing.
    pub(crate) fn fail_sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let directory = self.find(path)?;
        for operation in &mut self.log {
            if operation
                .changes
                .iter()
                .any(|change| change.directory == directory)
            {
                operation.is_doubtful = true;
            }
        }
        Ok(())
    }

    /// Files with their contents and folders, by path, as the running system sees them.
    pub(crate) fn walk(&self) -> BTreeMap<String, NodeId> {
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((prefix, id)) = open.pop() {
            let Ok(names) = self.names(id) else { continue };
            for (name, child) in &names.current {
                let path = format!("{prefix}/{name}");
                found.insert(path.clone(), *child);
                open.push((path, *child));
            }
        }
        found
    }

    /// Bytes of the files that have a name; two names count once.
    pub(crate) fn used_bytes(&self) -> u64 {
        let named: std::collections::BTreeSet<NodeId> = self.walk().into_values().collect();
        let files = named.into_iter().filter(|id| self.is_file(*id));
        files.map(|id| self.content(id).len() as u64).sum()
    }
}

pub(crate) fn apply(names: &mut BTreeMap<String, NodeId>, change: &NameChange) {
    match change.node {
        Some(node) => names.insert(change.name.clone(), node),
        None => names.remove(&change.name),
    };
}
