//! The command line. Its help is the manual: it says what to do next.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use highwater_pipeline::MEMORY_BYTES_MIN;

use crate::checkpoint::arguments::CheckpointOptions;

/// Keeps SQL views up to date as their tables change.
#[derive(Debug, Parser)]
#[command(
    name = "highwater",
    version,
    after_help = "\
Examples:
  highwater run program.sql               load, keep the views up to date, serve http://127.0.0.1:8080
  highwater run program.sql --once        load, print the views, exit
  highwater check program.sql             report every mistake of a program
  highwater explain program.sql -f svg -o circuit.svg
  highwater checkpoint ls ./state         the checkpoints that `run --storage ./state` has taken

`highwater help run` shows how to send rows, follow a view, and query."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as
    /// `warn,highwater_pipeline=debug`
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a program: load its inputs, keep its views up to date, serve its HTTP interface
    Run(RunOptions),
    /// Report every error and warning of a program, with its place; exit code 1 if there are errors
    Check(CheckOptions),
    /// Print the circuit that a program becomes: as text, or as a picture
    Explain(ExplainOptions),
    /// Say what differs between two programs, and what starting the new one would compute anew
    Diff(DiffOptions),
    /// Look into the checkpoints of a storage directory, export, pin, fork, clean up
    Checkpoint(CheckpointOptions),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A program is a file of CREATE TABLE and CREATE VIEW statements. Tables may have connectors that read
files or URLs or make data up; their relative paths start at the program's folder (an input file that
is not there may also be named from the working directory).

While it runs (for a table `t` with columns a and b, and a view `v`):

  send rows        curl -d '{\"a\": 1, \"b\": \"x\"}' 'http://127.0.0.1:8080/ingress/t?format=json&update_format=raw'
  insert, delete   curl -d '{\"insert\": {\"a\": 2}} {\"delete\": {\"a\": 1}}' 'http://127.0.0.1:8080/ingress/t?format=json'
  send a file      curl -T rows.csv -X POST 'http://127.0.0.1:8080/ingress/t?format=csv&headers=true'
  follow a view    curl -N -X POST 'http://127.0.0.1:8080/egress/v?format=json&send_snapshot=true'
  query            curl -G http://127.0.0.1:8080/query --data-urlencode 'sql=SELECT * FROM v' -d format=text
  see what it does http://127.0.0.1:8080/ in a browser, or curl http://127.0.0.1:8080/stats
  checkpoint now   curl -X POST http://127.0.0.1:8080/checkpoint          (with --storage)
  checkpoint, exit curl -X POST http://127.0.0.1:8080/suspend, or ctrl-c  (with --storage)

Queries and snapshots read MATERIALIZED views, tables with a primary key, and tables declared
'materialized' = 'true'. The whole interface is at /openapi.json.")]
pub(crate) struct RunOptions {
    /// The program
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Load until all inputs are at their end, print the materialized views, and exit; without HTTP
    #[arg(long)]
    pub(crate) once: bool,

    /// How --once prints
    #[arg(long, short, value_enum, default_value_t, requires = "once")]
    pub(crate) format: OutputFormat,

    /// Threads that keep the views
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: u16,

    /// Where to serve HTTP. There is no authentication: think before you bind to other than loopback
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub(crate) bind: SocketAddr,

    /// The pipeline's name under /v0/pipelines/ (default: the file's name)
    #[arg(long)]
    pub(crate) name: Option<String>,

    /// Rows to show of each view once it is loaded
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    pub(crate) show: usize,

    /// Serve, but read no input until /start
    #[arg(long, conflicts_with = "once")]
    pub(crate) paused: bool,

    /// Keep checkpoints in this directory, and go on from the last one. Without it the pipeline
    /// forgets everything when it ends
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) storage: Option<PathBuf>,

    /// Take a checkpoint this long after the one before; 0 for only when asked (POST /checkpoint,
    /// POST /suspend) and at the end
    #[arg(
        long,
        default_value_t = 60,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(0..=3600),
        requires = "storage"
    )]
    pub(crate) checkpoint_interval: u32,

    /// Checkpoints to keep, besides those with a pin or a name
    #[arg(
        long,
        default_value_t = 2,
        value_name = "CHECKPOINTS",
        value_parser = clap::value_parser!(u16).range(1..),
        requires = "storage"
    )]
    pub(crate) retain: u16,

    /// Stay within this much memory (e.g. 512MiB, 4GB; at least 256MiB): state that does not fit goes
    /// to files in --storage, and input waits when those cannot be written as fast
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, requires = "storage")]
    pub(crate) memory: Option<usize>,

    /// If the program has changed since the checkpoint: compute what is new from stored rows, refuse
    /// to start, or wait for POST /approve
    #[arg(long, value_enum, default_value_t, requires = "storage")]
    pub(crate) bootstrap: Bootstrap,

    /// A step waits until this many records are queued …
    #[arg(long, default_value_t = 0, value_name = "RECORDS")]
    pub(crate) min_batch_size: u64,

    /// … but not longer than this
    #[arg(long, default_value_t = 0, value_name = "MILLISECONDS")]
    pub(crate) max_delay: u64,

    /// A step takes up about this many records when more are queued
    #[arg(long, default_value_t = 100_000, value_name = "RECORDS")]
    pub(crate) max_batch_size: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bootstrap {
    #[default]
    Allow,
    Reject,
    AwaitApproval,
}

/// A size that a pipeline can keep within.
fn parse_memory(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match bytes < MEMORY_BYTES_MIN {
        true => Err(format!(
            "a pipeline needs at least {}MiB",
            MEMORY_BYTES_MIN >> 20
        )),
        false => Ok(bytes),
    }
}

/// Bytes of `512MiB`, `4 GB`, `1000000`.
fn parse_size(text: &str) -> Result<usize, String> {
    let text = text.trim();
    let end = text.find(|letter: char| !letter.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor: u64 = match unit.trim().to_ascii_lowercase().trim_end_matches('b') {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        "t" => 1_000_000_000_000,
        "ki" => 1 << 10,
        "mi" => 1 << 20,
        "gi" => 1 << 30,
        "ti" => 1 << 40,
        _ => return Err("expected a number with k, M, G, T or Ki, Mi, Gi, Ti".to_owned()),
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor));
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "expected a number of bytes, such as 512MiB".to_owned())
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum OutputFormat {
    /// A table per view
    #[default]
    Text,
    /// CSV with headers, behind a line `# view`
    Csv,
    /// One object per row: {"view": …, "row": {…}}
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The program
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater explain program.sql
  highwater explain program.sql -f svg -o circuit.svg     open it in a browser
  highwater explain program.sql -f dot | dot -Tpng        needs Graphviz")]
pub(crate) struct ExplainOptions {
    /// The program
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ExplainFormat,

    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater diff old.sql new.sql       tables, views and connectors that differ
  highwater diff ./state new.sql       the same against the last checkpoint, with the stored rows that
                                       new and changed views would be computed from
  highwater diff ./state new.sql --json

Formatting, comments and names of columns inside a view change nothing: views are compared by what
they compute.")]
pub(crate) struct DiffOptions {
    /// The old program, or a directory with checkpoints
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,

    /// The new program
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,

    /// Print the JSON of POST /diff
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum ExplainFormat {
    #[default]
    Text,
    Dot,
    Svg,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn sizes_have_units() {
        let sizes = ["7", "512MiB", "4 GB", "1k", "2Ti"];
        let bytes = [7, 512 << 20, 4_000_000_000, 1_000, 2 << 40];
        assert_eq!(sizes.map(|size| parse_size(size).unwrap()), bytes);
        for wrong in ["", "MiB", "1.5G", "-1", "9999999999999T", "1x"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
