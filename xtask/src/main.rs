//! Chores of developers: `cargo xtask <command>`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use anyhow::{Context, Result, bail, ensure};
use xtask::{budgets, edges, files, links, source, workspace_root};

const USAGE: &str = "usage: cargo xtask <command>
  tidy [ROOT]  check crate edges, budgets and module docs (cargo test does it too)
  bless        write the expected output of the examples anew from the release binary
  long [PROGRAMS [SEED]]  the oracle on many random programs (1000), from this seed on (the time)";

fn main() -> ExitCode {
    let command = std::env::args().nth(1);
    let result = match command.as_deref() {
        Some("tidy") => tidy(std::env::args().nth(2)),
        Some("bless") => bless(),
        Some("long") => long(std::env::args().skip(2).collect()),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn tidy(root: Option<String>) -> Result<()> {
    let root = root.map_or_else(workspace_root, PathBuf::from);
    let exceptions = fs::read_to_string(root.join("xtask/budget_exceptions.txt"))?;
    let tree = source::source_files(&root)?;
    let mut findings = edges::check(&edges::load(&root)?);
    findings.extend(budgets::check(
        &tree,
        &budgets::parse_exceptions(&exceptions)?,
    ));
    findings.extend(files::check(&tree));
    findings.extend(links::check(&root)?);
    if !findings.is_empty() {
        bail!("{}", findings.join("\n"));
    }
    Ok(())
}

fn bless() -> Result<()> {
    let output = Command::new("cargo")
        .args(["run", "--release", "--quiet", "--", "run", "--once"])
        .arg("examples/flights/flights.sql")
        .current_dir(workspace_root())
        .output()
        .context("cargo does not start")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the example fails: {message}");
    let path = workspace_root().join("examples/flights/expected/views.txt");
    fs::write(&path, &output.stdout).with_context(|| path.display().to_string())
}

fn long(arguments: Vec<String>) -> Result<()> {
    let programs = arguments.first().map_or("1000", String::as_str);
    let seed = match arguments.get(1) {
        Some(seed) => seed.clone(),
        None => SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_secs()
            .to_string(),
    };
    println!("{programs} programs from seed {seed} on");
    let status = Command::new("cargo")
        .args(["test", "--test", "judges", "--", "oracle"])
        .env("ORACLE_PROGRAMS", programs)
        .env("ORACLE_SEED", seed)
        .current_dir(workspace_root())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the oracle found a difference");
    Ok(())
}
