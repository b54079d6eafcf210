//! Which crate may depend on which, checked over `cargo metadata`.
//!
//! The tables are the architecture (ARCHITECTURE.md says why). [`CRATES`] lists every crate of the
//! workspace with the crates of ours that it may use; [`FENCES`] says who may use a heavy or
//! telling library directly; [`ABSENCES`] says what must not even come in through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Finding;

/// What one crate of the workspace may use of the others.
pub struct CrateRule {
    pub name: &'static str,
    pub may_use: &'static [&'static str],
    /// In tests, besides `may_use`.
    pub tests_may_use: &'static [&'static str],
}

/// Every crate of the workspace, in reading order.
pub const CRATES: &[CrateRule] = &[
    rule("highwater-allocator", &[], &[]),
    rule("highwater-types", &[], &[]),
    rule("highwater-storage", &["highwater-types"], &[]),
    rule(
        "highwater-sim",
        &["highwater-types", "highwater-storage"],
        &[],
    ),
    rule("highwater-zset", &["highwater-storage"], &[]),
    rule(
        "highwater-circuit",
        &["highwater-zset", "highwater-storage"],
        &[],
    ),
    rule(
        "highwater-sql",
        &["highwater-types", "highwater-zset", "highwater-circuit"],
        &[],
    ),
    rule(
        "highwater-connectors",
        &["highwater-types", "highwater-zset"],
        &[],
    ),
    rule(
        "highwater-pipeline",
        &[
            "highwater-types",
            "highwater-storage",
            "highwater-zset",
            "highwater-circuit",
            "highwater-connectors",
        ],
        &["highwater-sql", "highwater-sim"],
    ),
    rule(
        "highwater-server",
        &[
            "highwater-types",
            "highwater-storage",
            "highwater-zset",
            "highwater-circuit",
            "highwater-sql",
            "highwater-connectors",
            "highwater-pipeline",
        ],
        &[],
    ),
    rule(
        "highwater-cli",
        &[
            "highwater-allocator",
            "highwater-types",
            "highwater-storage",
            "highwater-zset",
            "highwater-circuit",
            "highwater-sql",
            "highwater-connectors",
            "highwater-pipeline",
            "highwater-server",
        ],
        &[],
    ),
    rule(
        "highwater-bench",
        &[
            "highwater-allocator",
            "highwater-storage",
            "highwater-zset",
            "highwater-circuit",
            "highwater-sql",
        ],
        &[],
    ),
    rule("xtask", &[], &[]),
];

/// A library and the only crates that may depend on it directly (tests included).
pub struct Fence {
    pub library: &'static str,
    pub allowed: &'static [&'static str],
}

/// The fences.
pub const FENCES: &[Fence] = &[
    fence("timely", &["highwater-circuit"]),
    fence("datafusion", &["highwater-sql"]),
    fence("axum", &["highwater-server"]),
    fence("utoipa", &["highwater-types", "highwater-server"]),
    // The others are clients of their own HTTP interface, in tests.
    fence(
        "ureq",
        &["highwater-connectors", "highwater-server", "highwater-cli"],
    ),
    fence("csv", &["highwater-connectors", "highwater-cli"]),
    fence("clap", &["highwater-cli"]),
    fence("indicatif", &["highwater-cli"]),
    fence("mimalloc", &["highwater-allocator"]),
    fence("libmimalloc-sys", &["highwater-allocator"]),
    fence("anyhow", &["highwater-cli", "xtask"]),
];

/// A crate and a library that must not reach it, not even through other crates.
pub const ABSENCES: &[(&str, &str)] = &[
    ("highwater-types", "arrow"),
    ("highwater-types", "tokio"),
    ("highwater-zset", "tokio"),
    ("highwater-zset", "timely"),
    ("highwater-zset", "datafusion"),
    ("highwater-circuit", "tokio"),
    ("highwater-circuit", "datafusion"),
    ("highwater-connectors", "timely"),
    ("highwater-connectors", "datafusion"),
    ("highwater-pipeline", "datafusion"),
    ("highwater-pipeline", "axum"),
    ("highwater-sql", "axum"),
];

const fn rule(
    name: &'static str,
    may_use: &'static [&'static str],
    tests_may_use: &'static [&'static str],
) -> CrateRule {
    CrateRule {
        name,
        may_use,
        tests_may_use,
    }
}

const fn fence(library: &'static str, allowed: &'static [&'static str]) -> Fence {
    Fence { library, allowed }
}

/// Who depends on whom, by package name.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Crates of the workspace.
    pub members: BTreeSet<String>,
    /// Of each package of any origin: what it is built with.
    pub uses: BTreeMap<String, BTreeSet<String>>,
    /// Of each member: what its tests are built with besides.
    pub tests_use: BTreeMap<String, BTreeSet<String>>,
}

/// Asks cargo for the graph of the workspace at `root`.
///
/// # Errors
/// If cargo fails or answers in an unknown form.
pub fn load(root: &Path) -> Result<Graph> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--all-features"])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata: {message}");
    from_metadata(&serde_json::from_slice(&output.stdout)?)
}

fn from_metadata(metadata: &Value) -> Result<Graph> {
    let names: BTreeMap<&str, &str> = list(&metadata["packages"])?
        .iter()
        .filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?)))
        .collect();
    let name_of = |id: &Value| -> Result<String> {
        let id = id.as_str().context("a package id is not a string")?;
        Ok((*names.get(id).context("a package id is unknown")?).to_owned())
    };
    let mut graph = Graph::default();
    for id in list(&metadata["workspace_members"])? {
        graph.members.insert(name_of(id)?);
    }
    for node in list(&metadata["resolve"]["nodes"])? {
        let package = name_of(&node["id"])?;
        for dependency in list(&node["deps"])? {
            let used = name_of(&dependency["pkg"])?;
            let kinds = list(&dependency["dep_kinds"])?;
            let edges = if kinds.iter().any(|kind| kind["kind"].is_null()) {
                &mut graph.uses
            } else if kinds.iter().any(|kind| kind["kind"] == "dev") {
                &mut graph.tests_use
            } else {
                continue;
            };
            edges.entry(package.clone()).or_default().insert(used);
        }
    }
    Ok(graph)
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value
        .as_array()
        .context("cargo metadata: expected an array")
}

/// Checks the graph against the tables.
pub fn check(graph: &Graph) -> Vec<Finding> {
    let mut findings = check_crates(graph);
    findings.extend(check_fences(graph));
    findings.extend(check_absences(graph));
    findings
}

fn check_crates(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &graph.members {
        let Some(rule) = CRATES.iter().find(|rule| rule.name == member) else {
            findings.push(format!("{member}: is not in the table of crates"));
            continue;
        };
        for used in direct(&graph.uses, member) {
            if graph.members.contains(used) && !rule.may_use.contains(&used.as_str()) {
                findings.push(format!("{member}: must not depend on {used}"));
            }
        }
        for used in direct(&graph.tests_use, member) {
            let is_allowed = used == member
                || rule.may_use.contains(&used.as_str())
                || rule.tests_may_use.contains(&used.as_str());
            if graph.members.contains(used) && !is_allowed {
                findings.push(format!("{member}: its tests must not depend on {used}"));
            }
        }
    }
    for rule in CRATES {
        if !graph.members.contains(rule.name) {
            findings.push(format!("{}: in the table, not in the tree", rule.name));
        }
    }
    findings
}

fn check_fences(graph: &Graph) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Fence { library, allowed } in FENCES {
        for member in &graph.members {
            let uses = direct(&graph.uses, member).chain(direct(&graph.tests_use, member));
            if uses.into_iter().any(|used| used == library) && !allowed.contains(&member.as_str()) {
                let allowed = allowed.join(", ");
                findings.push(format!("{member}: {library} belongs to {allowed}"));
            }
        }
    }
    findings
}

fn check_absences(graph: &Graph) -> Vec<Finding> {
    ABSENCES
        .iter()
        .filter_map(|(member, library)| {
            let path = find_path(graph, member, library)?;
            Some(format!("{member}: must not know {library}: {path}"))
        })
        .collect()
}

fn direct<'graph>(
    edges: &'graph BTreeMap<String, BTreeSet<String>>,
    package: &str,
) -> impl Iterator<Item = &'graph String> {
    edges.get(package).into_iter().flatten()
}

/// How `from` comes to be built with `to`, as `a -> b -> c`.
fn find_path(graph: &Graph, from: &str, to: &str) -> Option<String> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = vec![from];
    while let Some(package) = queue.pop() {
        for used in direct(&graph.uses, package) {
            if used != from && !came_from.contains_key(used.as_str()) {
                came_from.insert(used, package);
                queue.push(used);
            }
        }
    }
    let mut path = vec![to];
    let mut package = to;
    while package != from {
        package = came_from.get(package)?;
        path.push(package);
    }
    path.reverse();
    Some(path.join(" -> "))
}
