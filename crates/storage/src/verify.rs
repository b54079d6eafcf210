//! Reading every byte of a checkpoint, and comparing it with what was written.

use std::collections::BTreeSet;
use std::path::Path;

use uuid::Uuid;

use crate::contents;
use crate::error::{Error, Result};
use crate::manifest::{FileDigest, FileList};
use crate::paths;
use crate::store::Store;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    pub files: usize,
    pub files_total: usize,
    pub bytes: u64,
    pub bytes_total: u64,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Verification {
    /// What was read.
    pub read: VerifyProgress,
    /// One for each file that is missing or not what was written.
    pub damages: Vec<Error>,
    /// Files whose digest nobody wrote down.
    pub unverifiable: BTreeSet<String>,
}

impl Verification {
    /// Everything is there, and everything that can be verified is as it was written.
    pub fn is_good(&self) -> bool {
        self.damages.is_empty()
    }
}

impl Store {
    /// Reads all files of a checkpoint. Nothing is changed: to mark it is up to the caller.
    ///
    /// # Errors
    /// If it is not listed, or if the system refuses to read.
    pub fn verify(
        &self,
        uuid: Uuid,
        progress: &mut dyn FnMut(VerifyProgress),
    ) -> Result<Verification> {
        let _hold = self.hold(uuid)?;
        let manifest = match self.manifest(uuid) {
            Ok(manifest) => manifest,
            Err(error) if error.is_damage() => {
                return Ok(Verification {
                    damages: vec![error],
                    ..Verification::default()
                });
            }
            Err(error) => return Err(error),
        };
        let mut verifier = Verifier {
            store: self,
            verification: Verification::default(),
            progress,
        };
        verifier.verification.read.files_total =
            manifest.batches.len() + manifest.state_files.len();
        verifier.verification.read.bytes_total = manifest.size_bytes();
        let folder = paths::checkpoint_dir(self.root(), uuid);
        verifier.check_marker(&folder.join(paths::MARKER))?;
        verifier.check_list(&folder, &manifest.state_files)?;
        verifier.check_list(self.root(), &manifest.batches)?;
        Ok(verifier.verification)
    }
}

struct Verifier<'a> {
    store: &'a Store,
    verification: Verification,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Verifier<'_> {
    fn check_marker(&mut self, path: &Path) -> Result<()> {
        match contents::read(self.store.disk().as_ref(), path) {
            Err(error) if error.is_damage() => self.verification.damages.push(error),
            read => drop(read?),
        }
        Ok(())
    }

    fn check_list(&mut self, folder: &Path, files: &FileList) -> Result<()> {
        for (name, expected) in files {
            match self.check_file(&folder.join(name), *expected) {
                Err(error) if error.is_damage() => self.verification.damages.push(error),
                checked => checked?,
            }
            if expected.is_none() {
                self.verification.unverifiable.insert(name.clone());
            }
            self.verification.read.files += 1;
            (self.progress)(self.verification.read);
        }
        Ok(())
    }

    fn check_file(&mut self, path: &Path, expected: Option<FileDigest>) -> Result<()> {
        let read = &mut self.verification.read;
        let progress = &mut self.progress;
        let measured = contents::measure(self.store.disk().as_ref(), path, &mut |bytes| {
            read.bytes += bytes;
            progress(*read);
        });
        let (size_bytes, digest) = measured?;
        match expected {
            Some(expected) => expected.check(path, FileDigest { size_bytes, digest }),
            None => Ok(()),
        }
    }
}
