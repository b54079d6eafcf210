//! Damage behind the back of the engine: what hardware, other programs and people do to files.
//!
//! None of it is a call: it is not counted, traced or refused.

use std::path::Path;
use std::sync::Arc;

use crate::sim_disk::SimDisk;
use crate::world::{Content, Node, ROOT};

impl SimDisk {
    /// The bytes of a file.
    ///
    /// # Panics
    /// If there is none.
    pub fn read(&self, path: &Path) -> Vec<u8> {
        let shared = self.shared();
        let node = shared.world.find_file(path).expect("a file");
        shared.world.content(node).bytes().to_vec()
    }

    /// Replaces the bytes of a file.
    ///
    /// # Panics
    /// If there is none.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut shared = self.shared();
        let node = shared.world.find_file(path).expect("a file");
        *shared.world.content_mut(node) = Content::certain(Arc::new(bytes));
    }

    /// Turns one bit around; bit 9 is the second of the second byte.
    ///
    /// # Panics
    /// If the file is not there or ends before.
    pub fn flip_bit(&self, path: &Path, bit: usize) {
        let mut bytes = self.read(path);
        bytes[bit / 8] ^= 1 << (bit % 8);
        self.overwrite(path, bytes);
    }

    /// Cuts a file, or lengthens it with zeros.
    ///
    /// # Panics
    /// If there is none.
    pub fn resize(&self, path: &Path, length: usize) {
        let mut bytes = self.read(path);
        bytes.resize(length, 0);
        self.overwrite(path, bytes);
    }

    /// Two files have each other's contents.
    ///
    /// # Panics
    /// If one is not there.
    pub fn swap(&self, left: &Path, right: &Path) {
        let (left_bytes, right_bytes) = (self.read(left), self.read(right));
        self.overwrite(left, right_bytes);
        self.overwrite(right, left_bytes);
    }

    /// A file is there that nobody of ours has written. Its folder is made if need be.
    ///
    /// # Panics
    /// If something else has its name.
    pub fn plant(&self, path: &Path, bytes: &[u8]) {
        if let Some(parent) = path.parent() {
            self.plant_dir(parent);
        }
        let mut shared = self.shared();
        let parent = path
            .parent()
            .map_or(Ok(ROOT), |parent| shared.world.find(parent));
        let node = shared
            .world
            .add(Node::File(Content::certain(Arc::new(bytes.to_vec()))));
        let name = path.file_name().expect("a name").to_string_lossy();
        shared
            .world
            .set_name(parent.expect("a folder"), &name, Some(node));
    }

    /// A folder is there, and those above it.
    ///
    /// # Panics
    /// If something else has its name.
    pub fn plant_dir(&self, path: &Path) {
        let mut shared = self.shared();
        let folders: Vec<&Path> = path.ancestors().collect();
        let mut parent = ROOT;
        for folder in folders.into_iter().rev() {
            let Some(name) = folder.file_name() else {
                continue;
            };
            parent = match shared.world.find(folder) {
                Ok(found) => found,
                Err(_) => {
                    let node = shared
                        .world
                        .add(Node::Directory(crate::world::Names::default()));
                    shared
                        .world
                        .set_name(parent, &name.to_string_lossy(), Some(node));
                    node
                }
            };
        }
    }

    /// A file or folder, with all that is in it, is gone.
    ///
    /// # Panics
    /// If it is not there.
    pub fn vanish(&self, path: &Path) {
        let mut shared = self.shared();
        let parent = shared
            .world
            .find(path.parent().expect("a folder"))
            .expect("a folder");
        let name = path.file_name().expect("a name").to_string_lossy();
        shared.world.find(path).expect("something to remove");
        shared.world.set_name(parent, &name, None);
    }
}
