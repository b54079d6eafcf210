//! Tidy: the rules of the house that a program can check.
//!
//! [`edges`] keeps crates from knowing what they must not know, [`budgets`] keeps functions and
//! files short, [`files`] asks for module docs and forbids what nobody should find in the tree.
//! Each check returns what it found as text, so that `cargo test -p xtask` can show all of it at
//! once and can show that a planted offender is caught.

pub mod budgets;
pub mod edges;
pub mod files;
pub mod links;
pub mod source;

use std::path::{Path, PathBuf};

/// One broken rule, ready to print: where, what, and what to do.
pub type Finding = String;

/// The root of this workspace.
///
/// # Panics
/// If this crate was moved out of it.
pub fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the workspace root")
        .to_path_buf()
}
