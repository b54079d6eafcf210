//! Names on disk: each is formed here, and recognized here.
//!
//! The names are those of the incumbent, so that its tools find their way; see
//! `docs/internals/storage-root.md`.

use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The list of checkpoints.
pub const CATALOG: &str = "checkpoints.feldera";
/// Locked by the process that uses the root.
pub const LOCK: &str = "feldera.pidlock";
/// In a checkpoint's folder: it is one.
pub const MARKER: &str = "CHECKPOINT";
/// In a checkpoint's folder: its manifest.
pub const MANIFEST: &str = "dependencies.json";
/// In a checkpoint's folder: the pipeline's part.
pub const PIPELINE_STATE: &str = "state.json";
/// Behind the name of a file that is being written.
pub const UNFINISHED_SUFFIX: &str = ".mut";

const BATCH_SUFFIX: &str = ".feldera";

/// What a name at the root stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootName {
    Catalog,
    Lock,
    /// A file that somebody was writing.
    Unfinished,
    Batch {
        worker: usize,
        uuid: Uuid,
    },
    /// The folder of a checkpoint.
    Checkpoint(Uuid),
    Foreign,
}

/// Recognizes a name at the root.
pub fn root_name(name: &str) -> RootName {
    match name {
        CATALOG => return RootName::Catalog,
        LOCK => return RootName::Lock,
        _ => {}
    }
    if let Some(finished) = name.strip_suffix(UNFINISHED_SUFFIX) {
        return match root_name(finished) {
            RootName::Catalog | RootName::Batch { .. } => RootName::Unfinished,
            _ => RootName::Foreign,
        };
    }
    if let Some(uuid) = canonical_uuid(name) {
        return RootName::Checkpoint(uuid);
    }
    parse_batch(name).unwrap_or(RootName::Foreign)
}

fn parse_batch(name: &str) -> Option<RootName> {
    let (worker, uuid) = name
        .strip_prefix('w')?
        .strip_suffix(BATCH_SUFFIX)?
        .split_once('-')?;
    let number: usize = worker.parse().ok()?;
    let is_canonical = number.to_string() == worker;
    is_canonical.then_some(RootName::Batch {
        worker: number,
        uuid: canonical_uuid(uuid)?,
    })
}

/// Only the form that we write: other spellings of a uuid are somebody else's.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse(text).ok()?;
    (uuid.hyphenated().to_string() == text).then_some(uuid)
}

/// Name of a batch file.
pub fn batch_file(worker: usize, uuid: Uuid) -> String {
    format!("w{worker}-{uuid}{BATCH_SUFFIX}")
}

/// The name under which a file is written before it has its own.
pub fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED_SUFFIX}")
}

/// The folder of a checkpoint.
pub fn checkpoint_dir(root: &Path, checkpoint: Uuid) -> PathBuf {
    root.join(checkpoint.hyphenated().to_string())
}

/// A file in a checkpoint's folder.
pub fn checkpoint_file(root: &Path, checkpoint: Uuid, name: &str) -> PathBuf {
    checkpoint_dir(root, checkpoint).join(name)
}

/// True for a name that stays in its folder.
pub fn is_plain(name: &str) -> bool {
    let is_relative = matches!(name, "" | "." | "..");
    !is_relative && !name.contains(['/', '\\', '\0'])
}

/// True for a name that a state file may have.
pub fn is_state_file(name: &str) -> bool {
    let is_taken = matches!(name, MARKER | MANIFEST) || name.ends_with(UNFINISHED_SUFFIX);
    is_plain(name) && !is_taken
}

/// True for the name of a file that lists batch files, for tools.
pub fn is_worker_batches(name: &str) -> bool {
    name.starts_with("pspine-batches-") && name.ends_with(".dat")
}

/// In a checkpoint's folder: the spines of one worker.
pub fn worker_state(worker: usize) -> String {
    format!("pspine-{worker}.dat")
}

/// In a checkpoint's folder: the names of one worker's batch files, for tools.
pub fn worker_batches(worker: usize) -> String {
    format!("pspine-batches-{worker}.dat")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batch_files_are_recognized(worker in 0_usize..100_000, uuid: u128) {
            let uuid = Uuid::from_u128(uuid);
            let name = batch_file(worker, uuid);
            prop_assert_eq!(root_name(&name), RootName::Batch { worker, uuid });
            prop_assert_eq!(root_name(&unfinished(&name)), RootName::Unfinished);
        }

        #[test]
        fn other_names_are_foreign(name in "[a-zA-Z0-9_.-]{0,20}") {
            prop_assert_eq!(root_name(&name), RootName::Foreign);
        }
    }

    #[test]
    fn names_that_leave_their_folder_are_not_plain() {
        for name in ["", ".", "..", "a/b", "/a", "../a", "a\0"] {
            assert!(!is_plain(name), "{name:?}");
        }
        assert!(is_state_file("pspine-0.dat") && is_state_file("..a"));
        assert!(!is_state_file(MARKER) && !is_state_file(MANIFEST) && !is_state_file("a.mut"));
        assert!(is_worker_batches(&worker_batches(3)) && !is_worker_batches(&worker_state(3)));
    }

    #[test]
    fn checkpoints_are_recognized_in_canonical_form_only() {
        let uuid = Uuid::from_u128(0xabc);
        let name = uuid.hyphenated().to_string();
        assert_eq!(root_name(&name), RootName::Checkpoint(uuid));
        assert_eq!(root_name(&name.to_uppercase()), RootName::Foreign);
        assert_eq!(root_name(&uuid.simple().to_string()), RootName::Foreign);
        assert_eq!(root_name(CATALOG), RootName::Catalog);
        assert_eq!(root_name(&unfinished(CATALOG)), RootName::Unfinished);
        assert_eq!(root_name(LOCK), RootName::Lock);
        assert_eq!(root_name("notes.mut"), RootName::Foreign);
    }
}
