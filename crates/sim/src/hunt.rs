//! The hunt for planted bugs: all parts of the harness in turn, the cheap ones first, until one fails.

use std::path::Path;
use std::sync::Arc;

use highwater_storage::Kind;

use crate::corruption::Damage;
use crate::enumeration::Harness;
use crate::faults::Fault;
use crate::mutants::Mutant;
use crate::oracle::{STORAGE_ROOT, open_store};
use crate::workload::{prepared_disk, scripts};

impl Harness {
    /// Looks for a planted bug, until it is found.
    pub fn hunt(&mut self, mutant: Mutant) {
        self.failures_max = 1;
        self.door = Arc::new(move |disk| mutant.wrap(disk));
        self.hunt_all();
    }

    /// Every part of the harness once, in short.
    pub fn hunt_all(&mut self) {
        self.bound.exhaustive = 8;
        self.bound.random = 0;
        let parts: [fn(&mut Self); 5] = [
            Self::second_process,
            Self::hunt_by_damage,
            Self::hunt_by_stops,
            Self::hunt_by_refusals,
            Self::hunt_by_damage_of_bits,
        ];
        for part in parts {
            if self.is_done() {
                return;
            }
            part(self);
        }
    }

    /// C16: a second process is refused and told by whom, and nothing is changed.
    pub fn second_process(&mut self) {
        let (disk, _) = prepared_disk(false);
        let root = Path::new(STORAGE_ROOT);
        let first = open_store((self.door)(disk.clone()), root);
        let before = disk.changing_calls();
        let second = open_store((self.door)(disk.other_process()), root);
        let changes = disk.changing_calls() - before;
        self.report.cases += 1;
        self.report.crash_states += 1;
        let violation = match (&first, &second) {
            (Err(error), _) => Some(format!("the first process is refused: {error}")),
            (Ok(_), Ok(_)) => Some("two processes have the root".to_owned()),
            (Ok(_), Err(error)) if error.kind() != Kind::Locked => Some(error.to_string()),
            (Ok(_), Err(error)) if !error.to_string().contains(&disk.process_id().to_string()) => {
                Some(format!("does not name the holder: {error}"))
            }
            // The attempt to lock is the one call that might have changed something.
            (Ok(_), Err(_)) if changes > 1 => {
                Some("a refused process changed something".to_owned())
            }
            _ => None,
        };
        drop((first, second));
        let violation = violation.or_else(|| {
            let third = open_store((self.door)(disk.other_process()), root);
            third
                .err()
                .map(|error| format!("after the first one ended: {error}"))
        });
        if let Some(violation) = violation {
            self.fail("a second process", &disk, None, &violation);
        }
    }

    fn hunt_by_damage(&mut self) {
        let specimen = self.specimen();
        if self.is_done() {
            return;
        }
        for (path, damage) in specimen.larger_damages() {
            if self.is_done() {
                return;
            }
            self.damage(&specimen, &path, &damage);
        }
    }

    fn hunt_by_damage_of_bits(&mut self) {
        let specimen = self.specimen();
        for (path, size_bytes) in specimen.files() {
            if size_bytes > 0 && !self.is_done() {
                self.damage(&specimen, &path, &Damage::Flip(0));
            }
        }
    }

    fn hunt_by_stops(&mut self) {
        for workload in scripts::short() {
            if !self.is_done() {
                self.stop_everywhere(&workload);
            }
        }
    }

    fn hunt_by_refusals(&mut self) {
        self.bound.exhaustive = 0;
        self.bound.has_singles = false;
        let faults = [Fault::SyncFailed, Fault::ShortWrite, Fault::InputOutput];
        for workload in scripts::short() {
            if !self.is_done() {
                self.refuse_everywhere(&workload, &faults);
            }
        }
    }
}
