//! X3: damage to files is detected before use, or provably harmless.
//!
//! Harmless is, and each case below is asserted to be of one of these kinds:
//! - the lock's contents: they are a courtesy to whoever is refused; the lock itself is the system's;
//! - the marker's contents: that the file is there is all that it says;
//! - the name of the key `checksum` in the catalog: the entry is not verified then, but the one bit
//!   that is wrong is in that key and not in what it would have verified.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use highwater_storage::{Digest, Error, Kind, Store, paths};
use uuid::Uuid;

use crate::enumeration::Harness;
use crate::faults::FaultPlan;
use crate::model::Model;
use crate::mutants::{FileKind, kind};
use crate::oracle::{STORAGE_ROOT, items, open_store, panic_text};
use crate::sim_disk::SimDisk;
use crate::workload::scripts;

/// Something that happens to one file.
#[derive(Clone, Debug)]
pub enum Damage {
    /// Of this bit.
    Flip(usize),
    /// To this length; zeros are added if need be.
    Resize(usize),
    Zero,
    Gone,
    /// It has the contents of this one, and that one those of it.
    Swap(PathBuf),
}

impl Damage {
    fn inflict(&self, disk: &SimDisk, path: &Path) {
        match self {
            Self::Flip(bit) => disk.flip_bit(path, *bit),
            Self::Resize(length) => disk.resize(path, *length),
            Self::Zero => disk.overwrite(path, vec![0; disk.read(path).len()]),
            Self::Gone => disk.vanish(path),
            Self::Swap(other) => disk.swap(path, other),
        }
    }

    /// Files that are not as they were.
    fn victims(&self, path: &Path) -> Vec<PathBuf> {
        match self {
            Self::Swap(other) => vec![path.to_owned(), other.clone()],
            _ => vec![path.to_owned()],
        }
    }
}

/// A settled disk with checkpoints on it, to be damaged.
#[derive(Debug)]
pub struct Specimen {
    disk: SimDisk,
    model: Model,
}

impl Specimen {
    pub fn disk(&self) -> &SimDisk {
        &self.disk
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Our files, with their sizes.
    pub fn files(&self) -> BTreeMap<PathBuf, u64> {
        let mut files = self.disk.files();
        files.retain(|path, _| !self.model.foreign.contains_key(path));
        files
    }

    /// One file of each kind, of the newest checkpoint.
    pub fn one_of_each_kind(&self) -> BTreeMap<PathBuf, u64> {
        let mut seen = BTreeSet::new();
        let newest_first = self.files().into_iter().rev();
        let filled = newest_first.filter(|(_, size_bytes)| *size_bytes > 0);
        filled.filter(|(path, _)| seen.insert(kind(path))).collect()
    }

    /// Every single bit of files.
    pub fn flips(files: BTreeMap<PathBuf, u64>) -> Vec<(PathBuf, Damage)> {
        let flips = files.into_iter().flat_map(|(path, size_bytes)| {
            (0..size_bytes as usize * 8).map(move |bit| (path.clone(), Damage::Flip(bit)))
        });
        flips.collect()
    }

    /// Files that vanish, are cut, filled with zeros, or take each other's places.
    pub fn larger_damages(&self) -> Vec<(PathBuf, Damage)> {
        let mut damages = Vec::new();
        let files = self.files();
        for (path, size_bytes) in &files {
            let length = *size_bytes as usize;
            damages.push((path.clone(), Damage::Gone));
            damages.push((path.clone(), Damage::Resize(length + 1)));
            if length > 0 {
                damages.push((path.clone(), Damage::Zero));
                let cuts = (0..length).step_by(7).map(Damage::Resize);
                damages.extend(cuts.map(|cut| (path.clone(), cut)));
            }
            for other in files
                .keys()
                .filter(|other| *other > path && kind(other) == kind(path))
            {
                damages.push((path.clone(), Damage::Swap(other.clone())));
            }
        }
        damages
    }
}

impl Harness {
    /// A disk with checkpoints that share a batch file, one of them pinned.
    pub fn specimen(&mut self) -> Specimen {
        let run = self.case(&scripts::specimen(), FaultPlan::none(), "specimen");
        Specimen {
            disk: run.disk.crash().everything().disk,
            model: run.model,
        }
    }

    /// Damages a file and looks whether anybody notices in time.
    pub fn damage(&mut self, specimen: &Specimen, path: &Path, damage: &Damage) {
        let disk = specimen.disk.kill();
        damage.inflict(&disk, path);
        self.report.cases += 1;
        self.report.crash_states += 1;
        let case = Case {
            harness: self,
            specimen,
            damage,
            path,
            victims: damage.victims(path),
        };
        let judged = catch_unwind(AssertUnwindSafe(|| case.judge(&disk)));
        let judged =
            judged.unwrap_or_else(|payload| Err(format!("panicked: {}", panic_text(&*payload))));
        match judged {
            Ok(found) => self.report.took(found),
            Err(violation) => {
                let what = format!("{damage:?} of {}", path.display());
                self.fail(&what, &disk, None, &violation);
            }
        }
    }
}

struct Case<'a> {
    harness: &'a Harness,
    specimen: &'a Specimen,
    damage: &'a Damage,
    path: &'a Path,
    victims: Vec<PathBuf>,
}

impl Case<'_> {
    fn judge(&self, disk: &SimDisk) -> Result<&'static str, String> {
        let opened = open_store((self.harness.door)(disk.clone()), Path::new(STORAGE_ROOT));
        let store = match opened {
            Err(error) => {
                self.check_named(&error)?;
                self.check_nothing_lost(disk, &[FileKind::Lock])?;
                return Ok("refused");
            }
            Ok(store) => store,
        };
        if items(&store) != self.specimen.model.memory {
            return Err(format!("lists {:?}", items(&store)));
        }
        let mut found = "harmless";
        let is_passed_over = self.check_ladder(&store)?;
        if is_passed_over {
            found = "passed over";
        }
        for item in &self.specimen.model.memory {
            if self.is_unreadable(&store, item.uuid)? {
                found = if is_passed_over {
                    "passed over"
                } else {
                    "found by reading"
                };
            }
        }
        drop(store);
        self.check_nothing_lost(disk, &[FileKind::Lock, FileKind::Catalog])?;
        if found == "harmless" {
            self.check_harmless()?;
        }
        Ok(found)
    }

    /// The newest checkpoint that is not damaged is chosen, and the reason for the others is told.
    fn check_ladder(&self, store: &Store) -> Result<bool, String> {
        let list = self.specimen.model.memory.iter().rev();
        let sound = list
            .map(|item| item.uuid)
            .find(|uuid| !self.concerns(*uuid));
        let ladder = match store.newest_usable() {
            Ok(ladder) => ladder,
            Err(error) if sound.is_none() && error.kind() == Kind::Corrupt => {
                self.check_named(&error)?;
                return Ok(true);
            }
            Err(error) => return Err(format!("newest_usable: {error}")),
        };
        for passed_over in &ladder.passed_over {
            if !self.concerns(passed_over.uuid) || !self.is_named(&passed_over.reason) {
                return Err(format!("passes over {passed_over}"));
            }
        }
        // What is damaged may be found only when it is read; it is never passed over for a worse one.
        let chosen = ladder.checkpoint.map(|saved| saved.uuid());
        match chosen {
            Some(uuid) if Some(uuid) == sound || self.concerns(uuid) => {}
            _ => return Err(format!("chooses {chosen:?} instead of {sound:?}")),
        }
        Ok(!ladder.passed_over.is_empty())
    }

    /// Reads all of a checkpoint. Whatever it gives out is what was written, or is told apart by its
    /// digest.
    fn is_unreadable(&self, store: &Store, uuid: Uuid) -> Result<bool, String> {
        let expected = &self.specimen.model.checkpoints[&uuid];
        let verification = match store.verify(uuid, &mut |_| {}) {
            Ok(verification) => verification,
            Err(error) => return Err(format!("verify: {error}")),
        };
        if let Some(damage) = verification.damages.first() {
            self.check_concerns(uuid, damage)?;
        }
        let saved = match store.read(uuid) {
            Ok(saved) => saved,
            Err(error) => {
                self.check_concerns(uuid, &error)?;
                return Ok(true);
            }
        };
        for (name, written) in &expected.states {
            let bytes = saved
                .state(name)
                .map_err(|error| format!("state: {error}"))?;
            if bytes != **written {
                return Err(format!("{uuid}/{name} is given out with wrong contents"));
            }
        }
        let mut is_unreadable = false;
        for (name, written) in &expected.batches {
            let file = saved
                .open_batch(name)
                .map_err(|error| format!("open: {error}"))?;
            let bytes = file
                .read(0, written.len())
                .map_err(|error| format!("read: {error}"))?;
            if bytes != **written {
                if Digest::of(&bytes) == file.digest() || verification.is_good() {
                    return Err(format!("{name} is given out with wrong contents"));
                }
                is_unreadable = true;
            }
        }
        Ok(is_unreadable)
    }

    fn concerns(&self, uuid: Uuid) -> bool {
        let folder = paths::checkpoint_dir(Path::new(STORAGE_ROOT), uuid);
        let batches = &self.specimen.model.checkpoints[&uuid].batches;
        self.victims.iter().any(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            path.starts_with(&folder) || batches.contains_key(name.as_ref())
        })
    }

    fn check_concerns(&self, uuid: Uuid, error: &Error) -> Result<(), String> {
        if self.concerns(uuid) {
            self.check_named(error)
        } else {
            Err(format!("{uuid} is not damaged: {error}"))
        }
    }

    fn is_named(&self, text: &str) -> bool {
        self.victims.iter().any(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            text.contains(name.as_ref())
        })
    }

    fn check_named(&self, error: &Error) -> Result<(), String> {
        if self.is_named(&error.to_string()) {
            Ok(())
        } else {
            Err(format!("the damaged file is not named: {error}"))
        }
    }

    /// No file went that was there, and none was changed but those that may be written anew.
    fn check_nothing_lost(&self, disk: &SimDisk, rewritten: &[FileKind]) -> Result<(), String> {
        let files = disk.files();
        for path in self.specimen.disk.files().keys() {
            let is_victim = self.victims.contains(path);
            if !files.contains_key(path) && !is_victim {
                return Err(format!("{} was deleted", path.display()));
            }
            let is_foreign = self.specimen.model.foreign.contains_key(path);
            let may_change = !is_foreign && rewritten.contains(&kind(path));
            if !is_victim && !may_change && disk.read(path) != self.specimen.disk.read(path) {
                return Err(format!("{} was changed", path.display()));
            }
        }
        match self.damage {
            Damage::Gone => Ok(()),
            _ if files.contains_key(self.path) => Ok(()),
            _ => Err("the damaged file was deleted".to_owned()),
        }
    }

    /// Nobody noticed: that must be for one of the reasons at the top of this file.
    fn check_harmless(&self) -> Result<(), String> {
        let is_harmless = match (kind(self.path), self.damage) {
            (FileKind::Lock, _) => true,
            (FileKind::Marker, Damage::Resize(_) | Damage::Swap(_)) => true,
            (FileKind::Catalog, Damage::Flip(bit)) => {
                let text = self.specimen.disk.read(self.path);
                is_within(&text, b"\"checksum\":", bit / 8)
            }
            _ => false,
        };
        if is_harmless {
            Ok(())
        } else {
            Err("nobody noticed".to_owned())
        }
    }
}

/// The position is in an occurrence of the pattern.
fn is_within(text: &[u8], pattern: &[u8], position: usize) -> bool {
    let first = (position + 1).saturating_sub(pattern.len());
    (first..=position).any(|start| text[start..].starts_with(pattern))
}
