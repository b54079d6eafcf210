//! `highwater checkpoint export`: relations as files, one each.
//!
//! A file is written aside and gets its name when it is complete, so that an interrupted export leaves
//! nothing that looks like a result.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use highwater_pipeline::{SavedPipeline, SavedRelation};

use super::arguments::{ExportFormat, ExportOptions};
use super::rows::{open, relation, unreadable};
use super::sink::Sink;
use super::{sources, table};

const UNFINISHED_SUFFIX: &str = ".unfinished";

/// Writes relations to files.
pub(super) fn export(options: &ExportOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let saved = sources::read(&store, &options.checkpoint)?.warn();
    let relations = choose(&saved, &options.relations)?;
    let folder = &options.target;
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    let files: Vec<PathBuf> = relations
        .iter()
        .map(|relation| folder.join(file_name(relation.name(), options.format)))
        .collect();
    if let Some(file) = files.iter().find(|file| file.exists()) {
        bail!(
            "{}: is there already; choose another folder, or move it away",
            file.display()
        );
    }
    let mut out = io::stdout().lock();
    for (relation, file) in relations.iter().zip(&files) {
        let rows = write_file(relation, &saved, file, options.format)
            .with_context(|| format!("cannot export `{}`", relation.name()))?;
        let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
        let (rows, bytes) = (table::count(rows), table::exact_size(bytes));
        writeln!(out, "{}: {rows} rows, {bytes}", file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Those that are named, or all that have rows.
fn choose<'a>(saved: &'a SavedPipeline, names: &[String]) -> Result<Vec<SavedRelation<'a>>> {
    if !names.is_empty() {
        return names.iter().map(|name| relation(saved, name)).collect();
    }
    let all: Vec<SavedRelation<'a>> = saved
        .relations()
        .filter(SavedRelation::is_materialized)
        .collect();
    if all.is_empty() {
        let uuid = saved.checkpoint().uuid();
        bail!(
            "checkpoint {uuid} has no rows of any relation; declare tables 'materialized' = 'true' and views MATERIALIZED"
        );
    }
    Ok(all)
}

/// A relation's name may hold what a file's may not; such characters become `%` and their code.
fn file_name(relation: &str, format: ExportFormat) -> String {
    let mut name = String::new();
    for character in relation.chars() {
        let is_plain = character.is_alphanumeric() || matches!(character, '_' | '-' | ' ');
        if is_plain {
            name.push(character);
        } else {
            name.push_str(&format!("%{:X}", u32::from(character)));
        }
    }
    let suffix = match format {
        ExportFormat::Parquet => "parquet",
        ExportFormat::Csv => "csv",
        ExportFormat::Json => "json",
        ExportFormat::Arrow => "arrow",
    };
    format!("{name}.{suffix}")
}

/// The number of rows.
fn write_file(
    relation: &SavedRelation<'_>,
    saved: &SavedPipeline,
    file: &Path,
    format: ExportFormat,
) -> Result<u64> {
    let mut aside = file.as_os_str().to_owned();
    aside.push(UNFINISHED_SUFFIX);
    let aside = PathBuf::from(aside);
    let written = write_aside(relation, saved, &aside, format).and_then(|rows| {
        let renamed = fs::rename(&aside, file);
        renamed.with_context(|| format!("cannot name {}", file.display()))?;
        Ok(rows)
    });
    if written.is_err() {
        // It is of no use to anybody; the error that matters is the one before.
        let _ = fs::remove_file(&aside);
    }
    written
}

fn write_aside(
    relation: &SavedRelation<'_>,
    saved: &SavedPipeline,
    aside: &Path,
    format: ExportFormat,
) -> Result<u64> {
    let writing = || format!("cannot write {}", aside.display());
    let source = open(relation, saved)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(aside);
    let mut sink = Sink::new(
        format,
        &source.schema,
        BufWriter::new(file.with_context(writing)?),
    )?;
    let mut rows = 0;
    for batch in source.rows() {
        let batch = batch.with_context(|| unreadable(relation, saved))?;
        sink.write(&batch).with_context(writing)?;
        rows += batch.num_rows() as u64;
    }
    let file: io::Result<File> = sink
        .finish()
        .with_context(writing)?
        .into_inner()
        .map_err(|error| error.into_error());
    file.and_then(|file| file.sync_all())
        .with_context(writing)?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_stay_in_their_folder() {
        let name = |relation| file_name(relation, ExportFormat::Csv);
        assert_eq!(name("orders"), "orders.csv");
        assert_eq!(name("Ärger 1"), "Ärger 1.csv");
        assert_eq!(name("../a%b"), "%2E%2E%2Fa%25b.csv");
    }
}
