//! Relative links in Markdown files lead to files that exist.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::Finding;

/// Checks the Markdown files in the root, in `docs/` and in `examples/`.
///
/// # Errors
/// If a folder or file cannot be read.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for path in markdown_files(root)? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let folder = path.parent().unwrap_or(root);
        let name = path.strip_prefix(root).unwrap_or(&path).display();
        for target in relative_links(&text) {
            if !folder.join(target).exists() {
                findings.push(format!("{name}: links to {target}, which does not exist"));
            }
        }
    }
    Ok(findings)
}

/// The targets of `[text](target)` that are paths, without their `#anchor`.
pub fn relative_links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .collect()
}

fn markdown_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_path_buf()];
    folders.extend(["docs", "examples", "bench-compare"].map(|name| root.join(name)));
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            let is_build_output = path.ends_with("target");
            if path.is_dir() && folder != root && !is_build_output {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
