//! `highwater checkpoint verify`.
//!
//! First the digests of all files, which find every damage; then, of a checkpoint that can be read, the
//! batches in them, which finds what was wrong before it was written.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use highwater_pipeline::SavedPipeline;
use highwater_pipeline::saved_relations::BatchVerification;
use highwater_storage::verify::Verification;
use highwater_storage::{CatalogEntry, Error, Kind, Store};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::arguments::{LATEST, ReportFormat, VerifyOptions};
use super::{sources, table};

/// How often lines are printed where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(2);

/// Verifies checkpoints; exit code 1 if one is damaged.
pub(super) fn verify(options: &VerifyOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let chosen = choose(&store, options)?;
    let mut reports = Vec::with_capacity(chosen.len());
    for entry in &chosen {
        reports.push(verify_one(&store, entry)?);
    }
    let mut out = std::io::stdout().lock();
    match options.format {
        ReportFormat::Json => {
            let checkpoints: Vec<Value> = reports.iter().map(Report::json).collect();
            let is_good = reports.iter().all(Report::is_good);
            let document = json!({ "good": is_good, "checkpoints": checkpoints });
            writeln!(out, "{document:#}")?;
        }
        ReportFormat::Text => {
            for report in &reports {
                write!(out, "{}", report.text())?;
            }
            if reports.is_empty() {
                let root = options.root.display();
                writeln!(out, "there is no checkpoint in {root} yet")?;
            }
        }
    }
    Ok(if reports.iter().all(Report::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// `latest` brings the newer ones along that are unusable: nobody should take the directory for good.
fn choose(store: &Store, options: &VerifyOptions) -> Result<Vec<CatalogEntry>> {
    let mut entries = store.entries();
    if options.all {
        return Ok(entries);
    }
    if options.checkpoint != LATEST {
        return Ok(vec![sources::find(store, &options.checkpoint)?]);
    }
    let latest = entries.iter().rposition(CatalogEntry::is_usable);
    Ok(entries.split_off(latest.unwrap_or(0)))
}

/// What was found out about one checkpoint.
struct Report {
    uuid: Uuid,
    /// Why the catalog calls it unusable.
    mark: Option<String>,
    files: Verification,
    batches: BatchVerification,
    /// Why its batches could not be looked for.
    unreadable: Option<Error>,
}

fn verify_one(store: &Store, entry: &CatalogEntry) -> Result<Report> {
    let uuid = entry.uuid();
    let size_bytes = store.manifest(uuid).map(|manifest| manifest.size_bytes());
    let saved = store.read(uuid).and_then(SavedPipeline::read);
    let batches_bytes = saved.as_ref().map_or(0, SavedPipeline::batches_bytes);
    let mut progress = Progress::new(uuid, size_bytes.unwrap_or(0) + batches_bytes);
    let files = store.verify(uuid, &mut |read| progress.set(read.bytes))?;
    let mut report = Report {
        uuid,
        mark: entry.unusable.as_ref().map(|mark| mark.reason.clone()),
        files,
        batches: BatchVerification::default(),
        unreadable: None,
    };
    let is_marked = report.mark.is_some();
    match saved {
        Ok(saved) => {
            let known: BTreeSet<PathBuf> = report.files.damages.iter().map(path).collect();
            let before = progress.bytes;
            let mut read = 0;
            report.batches = saved.verify_batches(&known, &mut |bytes| {
                read += bytes;
                progress.set(before + read);
            })?;
        }
        // One that is marked is not read, and damage of files is known already.
        Err(_) if is_marked || !report.files.is_good() => {}
        Err(error) if error.is_damage() || error.kind() == Kind::Unsupported => {
            report.unreadable = Some(error);
        }
        Err(error) => return Err(error.into()),
    }
    progress.finish();
    Ok(report)
}

fn path(error: &Error) -> PathBuf {
    error.path().to_owned()
}

impl Report {
    fn damages(&self) -> impl Iterator<Item = &Error> {
        let damages = self.files.damages.iter().chain(&self.batches.damages);
        damages.chain(&self.unreadable)
    }

    fn is_good(&self) -> bool {
        self.mark.is_none() && self.damages().next().is_none()
    }

    fn text(&self) -> String {
        let Self { uuid, .. } = self;
        let read = &self.files.read;
        let mut text = match self.is_good() {
            true => format!(
                "checkpoint {uuid}: good: {}, {}; {}, {} rows\n",
                table::plural(read.files, "file"),
                table::exact_size(read.bytes),
                table::plural(self.batches.batches, "batch"),
                table::count(self.batches.rows)
            ),
            false => format!("checkpoint {uuid}: DAMAGED\n"),
        };
        for damage in self.damages() {
            text += &format!("  {damage}\n");
        }
        if self.damages().next().is_some() {
            text += &format!(
                "  put the files back from a copy, or remove it: highwater checkpoint rm DIR {uuid}\n"
            );
        }
        if let Some(mark) = self
            .mark
            .as_ref()
            .filter(|_| self.damages().next().is_none())
        {
            text += &format!("  is marked unusable: {mark}\n");
            text += &format!(
                "  all of its files are as they were written now; `highwater checkpoint readmit DIR {uuid}` takes the mark away\n"
            );
        }
        for name in &self.files.unverifiable {
            text += &format!("  {name}: nobody wrote down its digest\n");
        }
        text
    }

    fn json(&self) -> Value {
        let damages = self.damages().map(|damage| {
            json!({ "file": damage.path().display().to_string(), "reason": damage.to_string() })
        });
        json!({
            "uuid": self.uuid.to_string(),
            "good": self.is_good(),
            "marked_unusable": self.mark,
            "files": self.files.read.files,
            "bytes": self.files.read.bytes,
            "batches": self.batches.batches,
            "rows": self.batches.rows,
            "damages": damages.collect::<Vec<_>>(),
            "unverifiable": self.files.unverifiable,
        })
    }
}

/// A bar on a terminal, lines now and then elsewhere.
struct Progress {
    uuid: Uuid,
    bytes: u64,
    bytes_total: u64,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    fn new(uuid: Uuid, bytes_total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{prefix} {bar:30} {binary_bytes:>10}/{binary_total_bytes:<10} {eta}";
            // A template that indicatif refuses costs the style, not the progress.
            let style = ProgressStyle::with_template(template);
            let bar = ProgressBar::new(bytes_total);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_prefix(uuid.to_string());
            bar
        });
        Self {
            uuid,
            bytes: 0,
            bytes_total,
            bar,
            last_line: Instant::now(),
        }
    }

    fn set(&mut self, bytes: u64) {
        self.bytes = bytes;
        match &self.bar {
            Some(bar) => bar.set_position(bytes),
            None if self.last_line.elapsed() >= LINE_INTERVAL => {
                self.last_line = Instant::now();
                let (read, total) = (table::size(bytes), table::size(self.bytes_total));
                eprintln!("verifying {}: {read} of {total}", self.uuid);
            }
            None => {}
        }
    }

    fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
