//! Chores of developers: `cargo xtask <command>`.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use xtask::{budgets, edges, files, links, source, workspace_root};

/// Between two looks at the clock.
const PROGRAMS_AT_ONCE: u64 = 300;
const KILLS_AT_ONCE: u64 = 50;

const USAGE: &str = "usage: cargo xtask <command>
  tidy [ROOT]  check crate edges, budgets and module docs (cargo test does it too)
  bless        write the expected output of the examples anew from the release binary
  long [MINUTES [SEED]]  random programs against the oracle, crashes under the simulator, and real
               kills: a third of the minutes (30) each, with fresh seeds from this one on (the time)";

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
    let number = |position: usize, default: u64| match arguments.get(position) {
        Some(text) => text
            .parse()
            .with_context(|| format!("`{text}` is no number")),
        None => Ok(default),
    };
    let minutes = number(0, 30)?.div_ceil(3);
    let mut seed = number(1, SystemTime::UNIX_EPOCH.elapsed()?.as_secs())?;
    let share = Duration::from_secs(60 * minutes);
    let began = Instant::now();
    while began.elapsed() < share {
        println!("{PROGRAMS_AT_ONCE} programs from seed {seed} on");
        let variables = [("ORACLE_PROGRAMS", PROGRAMS_AT_ONCE), ("ORACLE_SEED", seed)];
        test(&["--test", "judges", "--", "oracle"], &variables)?;
        seed += PROGRAMS_AT_ONCE;
    }
    let arguments = ["-p", "highwater-sim", "--test", "long", "--", "--ignored"];
    test(&arguments, &[("HIGHWATER_SIM_MINUTES", minutes)])?;
    let began = Instant::now();
    while began.elapsed() < share {
        println!("{KILLS_AT_ONCE} kills with seed {seed}");
        let variables = [("KILLS", KILLS_AT_ONCE), ("KILLS_SEED", seed)];
        let arguments = ["-p", "highwater-cli", "--test", "main", "--", "kills"];
        test(&arguments, &variables)?;
        seed += 1;
    }
    Ok(())
}

/// Runs tests with these environment variables and shows what they print.
fn test(arguments: &[&str], variables: &[(&str, u64)]) -> Result<()> {
    let status = Command::new("cargo")
        .args(["test", "--locked"])
        .args(arguments)
        .arg("--nocapture")
        .envs(
            variables
                .iter()
                .map(|(name, value)| (name, value.to_string())),
        )
        .current_dir(workspace_root())
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "a test failed; its seed is above");
    Ok(())
}
