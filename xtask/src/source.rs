//! The source files of the workspace, parsed once for all checks.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that hold Rust source, relative to the workspace root.
const SOURCE_FOLDERS: &[&str] = &["crates", "xtask", "bench-compare", "tests", "examples"];

/// A parsed source file.
pub struct SourceFile {
    /// Relative to the workspace root, with `/`.
    pub path: String,
    pub text: String,
    pub syntax: syn::File,
}

impl SourceFile {
    /// Parses `text`, which need not be on disk.
    ///
    /// # Errors
    /// If it is not Rust.
    pub fn parse(path: &str, text: String) -> Result<Self> {
        let syntax = syn::parse_file(&text).with_context(|| format!("{path} is not Rust"))?;
        Ok(Self {
            path: path.to_owned(),
            text,
            syntax,
        })
    }

    /// True for files that hold nothing but tests, benchmarks or what only they use.
    pub fn is_test(&self) -> bool {
        let path = Path::new(&self.path);
        let is_test_folder = path
            .components()
            .any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches")));
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        is_test_folder || matches!(stem, Some("tests" | "test_util"))
    }
}

/// All Rust source files under `root`, in path order.
///
/// # Errors
/// If a file cannot be read or parsed.
pub fn source_files(root: &Path) -> Result<Vec<SourceFile>> {
    let mut paths = Vec::new();
    for folder in SOURCE_FOLDERS {
        let folder = root.join(folder);
        if folder.is_dir() {
            collect_paths(&folder, &mut paths)?;
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
            let relative = path.strip_prefix(root).unwrap_or(path);
            SourceFile::parse(&relative.to_string_lossy().replace('\\', "/"), text)
        })
        .collect()
}

fn collect_paths(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() && name != Some("target") {
            collect_paths(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}
