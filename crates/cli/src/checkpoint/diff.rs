//! `highwater checkpoint diff`.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use highwater_pipeline::difference::difference;
use highwater_pipeline::{SavedPipeline, SavedRelation};
use highwater_storage::manifest::{self, FileList};
use highwater_types::difference::PipelineDiff;
use highwater_types::record::PipelineRecord;
use serde_json::{Value, json};

use super::arguments::{DiffOptions, ReportFormat};
use super::show::position;
use super::sources;
use super::table::{self, Table};

/// Prints how two checkpoints differ.
pub(super) fn diff(options: &DiffOptions) -> Result<ExitCode> {
    let store = sources::open(&options.root)?;
    let left = sources::read(&store, &options.left)?.warn();
    let right = sources::read(&store, &options.right)?.warn();
    let comparison = Comparison::new(&left, &right);
    let mut out = std::io::stdout().lock();
    match options.format {
        ReportFormat::Json => writeln!(out, "{:#}", comparison.json()?)?,
        ReportFormat::Text => write!(out, "{}", comparison.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// How two checkpoints of one root differ; the left one is usually the older one.
struct Comparison<'a> {
    left: &'a SavedPipeline,
    right: &'a SavedPipeline,
    program: PipelineDiff,
    /// Relations of both whose batches differ.
    changed: Vec<Changed<'a>>,
    positions: Vec<Moved>,
    only_left: FileList,
    only_right: FileList,
    shared: FileList,
}

/// A relation that has other batches: other rows, or the same ones merged.
struct Changed<'a> {
    name: &'a str,
    /// Not exact: rows that were replaced may still be stored.
    stored_rows: (u64, u64),
}

/// An input that stands elsewhere, or is in one checkpoint only.
struct Moved {
    input: String,
    positions: (Option<Value>, Option<Value>),
    records: (u64, u64),
}

impl<'a> Comparison<'a> {
    fn new(left: &'a SavedPipeline, right: &'a SavedPipeline) -> Self {
        let files =
            manifest::difference(left.checkpoint().manifest(), right.checkpoint().manifest());
        let mut only_left = in_folder(left, &files.state_files.only_left);
        let mut only_right = in_folder(right, &files.state_files.only_right);
        // Files in the checkpoints' folders are never shared, whatever they hold.
        for name in files
            .state_files
            .both
            .keys()
            .chain(files.state_files.changed.keys())
        {
            only_left.extend(own(left, name));
            only_right.extend(own(right, name));
        }
        only_left.extend(files.batches.only_left);
        only_right.extend(files.batches.only_right);
        let mut shared = files.batches.both;
        if left.checkpoint().uuid() == right.checkpoint().uuid() {
            shared.append(&mut only_left);
            only_right.clear();
        }
        Self {
            left,
            right,
            program: difference(&left.record().program, &right.record().program),
            changed: left
                .relations()
                .filter_map(|relation| changed(relation, right))
                .collect(),
            positions: moved(left.record(), right.record()),
            only_left,
            only_right,
            shared,
        }
    }

    fn steps(&self) -> i128 {
        between(self.left.record().steps, self.right.record().steps)
    }

    fn records(&self) -> i128 {
        let processed = |saved: &SavedPipeline| saved.record().counters.processed_records;
        between(processed(self.left), processed(self.right))
    }

    fn text(&self) -> String {
        let side = |label: &str, saved: &SavedPipeline| {
            let record = saved.record();
            format!(
                "{label}  {}  step {}, {} records, taken {}\n",
                saved.checkpoint().uuid(),
                table::count(record.steps),
                table::count(record.counters.processed_records),
                table::time(record.taken_at)
            )
        };
        let (steps, records) = (self.steps(), self.records());
        let mut text = side("A", self.left) + &side("B", self.right);
        text += &format!("from A to B: {steps:+} steps, {records:+} records\n");
        let program = highwater_pipeline::summary(&self.program);
        if !self.program.is_empty() {
            text += &format!("\nprogram: {program}\n");
        }
        let sections = [self.relations(), self.inputs()];
        let filled = sections.iter().filter(|table| !table.is_empty());
        text.extend(filled.map(|table| format!("\n{table}")));
        text + &format!("\n{}\n{}", self.sums(), self.files())
    }

    fn relations(&self) -> Table {
        let mut table = Table::new(["CHANGED RELATION", "STORED ROWS IN A", "IN B"], &[1, 2]);
        for changed in &self.changed {
            table.push([
                changed.name.to_owned(),
                table::count(changed.stored_rows.0),
                table::count(changed.stored_rows.1),
            ]);
        }
        table
    }

    fn inputs(&self) -> Table {
        let mut table = Table::new(["INPUT", "RECORDS", "POSITION IN A", "IN B"], &[1]);
        let show = |value: &Option<Value>| {
            let value = value.as_ref();
            value.map_or_else(|| "not there".to_owned(), position)
        };
        for moved in &self.positions {
            table.push([
                moved.input.clone(),
                format!("{:+}", between(moved.records.0, moved.records.1)),
                show(&moved.positions.0),
                show(&moved.positions.1),
            ]);
        }
        table
    }

    fn lists(&self) -> [(&'static str, &FileList); 3] {
        [
            ("only in A", &self.only_left),
            ("only in B", &self.only_right),
            ("shared", &self.shared),
        ]
    }

    fn sums(&self) -> Table {
        let mut table = Table::new(["", "FILES", "BYTES", "SIZE"], &[1, 2, 3]);
        for (place, files) in self.lists() {
            let bytes = bytes_of(files);
            table.push([
                place.to_owned(),
                table::count(files.len() as u64),
                table::count(bytes),
                table::size(bytes),
            ]);
        }
        table
    }

    fn files(&self) -> Table {
        let mut table = Table::new(["FILE", "BYTES", ""], &[1]);
        for (place, files) in self.lists() {
            for (name, digest) in files {
                let bytes = digest.map(|digest| table::count(digest.size_bytes));
                table.push([name.clone(), table::or_unknown(bytes), place.to_owned()]);
            }
        }
        table
    }

    fn json(&self) -> Result<Value> {
        let changed = self.changed.iter().map(|changed| {
            json!({
                "relation": changed.name,
                "stored_rows_a": changed.stored_rows.0,
                "stored_rows_b": changed.stored_rows.1,
            })
        });
        let inputs = self.positions.iter().map(|moved| {
            json!({
                "input": moved.input,
                "position_a": moved.positions.0,
                "position_b": moved.positions.1,
                "records_a": moved.records.0,
                "records_b": moved.records.1,
            })
        });
        let files = |files: &FileList| {
            json!({
                "files": files.keys().collect::<Vec<_>>(),
                "bytes": bytes_of(files),
            })
        };
        Ok(json!({
            "a": side(self.left),
            "b": side(self.right),
            "steps": self.steps() as i64,
            "records": self.records() as i64,
            "program": serde_json::to_value(&self.program)?,
            "changed_relations": changed.collect::<Vec<_>>(),
            "inputs": inputs.collect::<Vec<_>>(),
            "only_a": files(&self.only_left),
            "only_b": files(&self.only_right),
            "shared": files(&self.shared),
        }))
    }
}

fn side(saved: &SavedPipeline) -> Value {
    json!({
        "uuid": saved.checkpoint().uuid().to_string(),
        "steps": saved.record().steps,
        "processed_records": saved.record().counters.processed_records,
        "taken_at": saved.record().taken_at.to_rfc3339(),
    })
}

fn between(left: u64, right: u64) -> i128 {
    i128::from(right) - i128::from(left)
}

fn bytes_of(files: &FileList) -> u64 {
    let known = files.values().flatten();
    known.map(|digest| digest.size_bytes).sum()
}

/// The name of a file in a checkpoint's folder, as seen from the root.
fn name_at_root(saved: &SavedPipeline, name: &str) -> String {
    format!("{}/{name}", saved.checkpoint().uuid())
}

fn in_folder(saved: &SavedPipeline, files: &FileList) -> FileList {
    let files = files.iter();
    files
        .map(|(name, digest)| (name_at_root(saved, name), *digest))
        .collect()
}

fn own(saved: &SavedPipeline, name: &str) -> FileList {
    let digest = saved.checkpoint().manifest().state_files.get(name);
    let digest = digest.map(|digest| (name_at_root(saved, name), *digest));
    digest.into_iter().collect()
}

fn changed<'a>(relation: SavedRelation<'a>, right: &SavedPipeline) -> Option<Changed<'a>> {
    let mut others = right.relations();
    let other = others.find(|other| other.name() == relation.name())?;
    // Workers without rows do not count.
    let filled = |relation: &SavedRelation<'_>| relation.batches().map(|workers| workers.concat());
    (filled(&relation) != filled(&other)).then(|| Changed {
        name: relation.name(),
        stored_rows: (relation.stored_rows(), other.stored_rows()),
    })
}

fn moved(left: &PipelineRecord, right: &PipelineRecord) -> Vec<Moved> {
    let names: BTreeSet<&String> = left.inputs.keys().chain(right.inputs.keys()).collect();
    let mut moved = Vec::new();
    for name in names {
        let (before, after) = (left.inputs.get(name), right.inputs.get(name));
        let records = [before, after].map(|input| input.map_or(0, |input| input.total_records));
        let positions = [before, after].map(|input| input.map(|input| input.position.clone()));
        let [before, after] = positions;
        if before != after || records[0] != records[1] {
            moved.push(Moved {
                input: name.clone(),
                positions: (before, after),
                records: (records[0], records[1]),
            });
        }
    }
    moved
}
