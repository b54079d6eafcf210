//! The command line of `highwater checkpoint`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
#[command(after_help = "\
DIR is what `highwater run --storage DIR` was given. A checkpoint is named by its uuid, by a
beginning of it that no other one has, by the name that somebody gave it, or by `latest`: the
newest usable one.

Examples:
  highwater checkpoint ls ./state                            which there are
  highwater checkpoint verify ./state --all                  is every byte as it was written
  highwater checkpoint cat ./state totals --format csv       the rows of a view, as of the latest
  highwater checkpoint sql ./state 'SELECT COUNT(*) FROM orders'
  highwater checkpoint fork ./state ./experiment             a second root, in milliseconds
  highwater checkpoint gc ./state --retain 1 --dry-run       what would be deleted

ls, show, verify, du, diff, cat, sql, export and fork work beside a running engine. The others
need the directory to themselves, and name the process that has it if they cannot.
docs/checkpoints.md shows what each prints.")]
pub(crate) struct CheckpointOptions {
    #[command(subcommand)]
    pub(crate) command: CheckpointCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CheckpointCommand {
    /// List the checkpoints, oldest first
    Ls(ReportOptions),
    /// Print everything about a checkpoint: inputs with positions, outputs, relations, files
    Show(ShowOptions),
    /// Read every file and every block, and compare with what was written; exit code 1 if one differs
    Verify(VerifyOptions),
    /// Print how many bytes each checkpoint has alone, shares with others, and keeps pinned
    Du(ReportOptions),
    /// Print how two checkpoints differ: steps, relations, positions, files
    Diff(DiffOptions),
    /// Print the rows of a table or materialized view
    Cat(CatOptions),
    /// Answer a query over the relations of a checkpoint
    Sql(SqlOptions),
    /// Write relations to files, one each
    Export(ExportOptions),
    /// Keep a checkpoint whatever its age
    Pin(ChangeOptions),
    /// Let a pinned checkpoint grow old
    Unpin(ChangeOptions),
    /// Name a checkpoint, which keeps it like a pin; without NAME, take its name away
    Name(NameOptions),
    /// Remove a checkpoint, and what only it needs
    Rm(RemoveOptions),
    /// Verify a checkpoint that is marked unusable, and take the mark away if it is whole
    Readmit(ChangeOptions),
    /// Make a new directory with one checkpoint; its files get second names, nothing is copied
    Fork(ForkOptions),
    /// Print what nobody needs, and delete it
    Gc(CollectOptions),
}

/// Means the newest usable checkpoint.
pub(super) const LATEST: &str = "latest";

#[derive(Debug, Args)]
pub(crate) struct ReportOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    #[default]
    Text,
    /// For programs: one JSON document, all sizes in bytes
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  highwater checkpoint show ./state
  highwater checkpoint show ./state 0193f2 --format json | jq .inputs
  highwater checkpoint show ./state --count              rows of large relations are counted too")]
pub(crate) struct ShowOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,

    /// Count the rows of every relation; those with more than a million stored rows are only
    /// estimated otherwise
    #[arg(long)]
    pub(crate) count: bool,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Digests of all files are compared with the manifest, then each batch is opened and each of its
blocks read: checksums, order, numbers of rows. Nothing is changed. Exit code 1 if anything is
wrong.

Examples:
  highwater checkpoint verify ./state
  highwater checkpoint verify ./state --all --format json")]
pub(crate) struct VerifyOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,

    /// Every checkpoint
    #[arg(long)]
    pub(crate) all: bool,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  highwater checkpoint diff ./state before-upgrade latest")]
pub(crate) struct DiffOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// One checkpoint: its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "A")]
    pub(crate) left: String,

    /// The other one
    #[arg(value_name = "B")]
    pub(crate) right: String,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowsFormat {
    /// A table of sorted rows, which must fit into memory
    #[default]
    Text,
    /// CSV with headers
    Csv,
    /// One JSON object per row
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = "\
With csv and json, rows are printed as they are read, so a relation may be larger than memory;
their order means nothing. Only tables with a primary key or 'materialized' = 'true', and
MATERIALIZED views, have rows in a checkpoint.

Examples:
  highwater checkpoint cat ./state totals
  highwater checkpoint cat ./state orders --format csv | gzip > orders.csv.gz
  highwater checkpoint cat ./state totals --checkpoint 0193f2")]
pub(crate) struct CatOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// A table or view
    #[arg(value_name = "RELATION")]
    pub(crate) relation: String,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(long, short, value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: RowsFormat,
}

#[derive(Debug, Args)]
#[command(after_help = "\
The query may use what /query of a running pipeline may, but for the program's own types and
functions.

Examples:
  highwater checkpoint sql ./state 'SELECT team, points FROM teams ORDER BY points DESC LIMIT 3'
  highwater checkpoint sql ./state 'SELECT COUNT(*) FROM orders' --checkpoint before-upgrade")]
pub(crate) struct SqlOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// A SELECT, in quotes
    #[arg(value_name = "QUERY")]
    pub(crate) query: String,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(long, short, value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: RowsFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    #[default]
    Parquet,
    /// With headers
    Csv,
    /// One object per line
    Json,
    /// Arrow IPC
    Arrow,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each file gets its name when it is complete; files that are there already are not replaced.

Examples:
  highwater checkpoint export ./state ./out                        every relation, as Parquet
  highwater checkpoint export ./state ./out --format csv orders    one table, as CSV")]
pub(crate) struct ExportOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Where to write; it is made if need be
    #[arg(value_name = "OUT_FOLDER")]
    pub(crate) target: PathBuf,

    /// Tables and views; all that have rows in the checkpoint if none is named
    #[arg(value_name = "RELATION")]
    pub(crate) relations: Vec<String>,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(long, short, value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ExportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ChangeOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  highwater checkpoint name ./state latest before-upgrade")]
pub(crate) struct NameOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: String,

    /// No other checkpoint may have it
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
A pinned checkpoint must be unpinned first. The last usable one is only removed with --force: the
next run would have to begin anew.")]
pub(crate) struct RemoveOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(value_name = "CHECKPOINT")]
    pub(crate) checkpoint: String,

    /// Also if it is the last usable one
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Both directories can be used from then on, and neither notices the other: files are written once,
and each directory deletes its own names only. They must be on one file system, which has hard
links.

Example:
  highwater checkpoint fork ./state ./experiment
  highwater run changed.sql --storage ./experiment")]
pub(crate) struct ForkOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// The new one: empty, or not there yet
    #[arg(value_name = "NEW_DIR")]
    pub(crate) target: PathBuf,

    /// Its name, its UUID or the beginning of it, or `latest`
    #[arg(long, short, value_name = "CHECKPOINT", default_value = LATEST)]
    pub(crate) checkpoint: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
While an engine runs, it alone knows what it uses, and it collects by itself: gc needs the
directory to itself, with --dry-run too. Without --retain, all checkpoints stay.

Examples:
  highwater checkpoint gc ./state --dry-run
  highwater checkpoint gc ./state --retain 1       keep one, and those with a pin or a name")]
pub(crate) struct CollectOptions {
    /// The storage directory
    #[arg(value_name = "DIR")]
    pub(crate) root: PathBuf,

    /// Only print the plan
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Drop all but the newest so many usable checkpoints, besides those with a pin or a name
    #[arg(long, value_name = "CHECKPOINTS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) retain: Option<u16>,

    /// How to write it
    #[arg(long, short, value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
}
