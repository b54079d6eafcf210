//! Runs the sqllogictest files under `tests/sql/`.
//!
//! - `CREATE …` adds to the program; it must compile.
//! - `INSERT INTO t VALUES …` and `DELETE FROM t VALUES …` append to the tables' changes.
//! - A query becomes a materialized view of the program. The changes run through it as several steps:
//!   all of them, then half of the rows are taken out, then put back. Every answer is therefore an
//!   incremental one, and the deltas must add up to the view's contents. Workers: 1, 2, 3 in turn.
//!
//! `BLESS=1` rewrites the expected results; read the difference before you commit it.

use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use highwater_circuit::table_input::TableInput;
use highwater_sql::{CompileOptions, compile};
use highwater_zset::RowHasher;
use sqllogictest::{DBOutput, DefaultColumnType};
use tokio::runtime::Runtime;

use crate::batch::evaluate;
use crate::rows::Cell;
use crate::subject::Subject;

const HASHER_SEED: u64 = 0x10c1c;

struct Database {
    runtime: Runtime,
    program: String,
    /// `(table, rows, is insertion)`, in order.
    changes: Vec<(String, RecordBatch, bool)>,
    queries: usize,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl sqllogictest::DB for Database {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = sql.trim().trim_end_matches(';');
        let first_word = sql
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .to_uppercase();
        match first_word.as_str() {
            "INSERT" => self.change(sql, true),
            "DELETE" => self.change(sql, false),
            "SELECT" | "WITH" | "VALUES" | "(SELECT" => self.query(sql),
            _ => self.declare(sql),
        }
        .map_err(Failure)
    }
}

impl Database {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            runtime,
            program: String::new(),
            changes: Vec::new(),
            queries: 0,
        }
    }

    fn declare(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, String> {
        let program = format!("{}{sql};\n", self.program);
        compile(&program, &options()).map_err(|diagnostics| {
            diagnostics
                .iter()
                .map(|diagnostic| diagnostic.render())
                .collect::<Vec<_>>()
                .join("\n")
        })?;
        self.program = program;
        Ok(DBOutput::StatementComplete(0))
    }

    fn change(
        &mut self,
        sql: &str,
        is_insertion: bool,
    ) -> Result<DBOutput<DefaultColumnType>, String> {
        let upper = sql.to_uppercase();
        let values = upper
            .find("VALUES")
            .ok_or("INSERT INTO t VALUES … or DELETE FROM t VALUES … is expected")?;
        let table = sql[..values]
            .split_whitespace()
            .nth(2)
            .ok_or("a table name is expected")?;
        let table = if table.starts_with('"') {
            table.trim_matches('"').to_owned()
        } else {
            table.to_lowercase()
        };
        let program = compile(&self.program, &options())
            .map_err(|_| "the program does not compile".to_owned())?;
        let found = program
            .tables
            .iter()
            .find(|candidate| candidate.relation.name == table);
        let schema = &found.ok_or_else(|| format!("no table {table}"))?.schema;
        let batches = evaluate(
            &self.runtime,
            &format!("SELECT * FROM ({})", &sql[values..]),
        )?;
        let mut count = 0;
        for batch in batches {
            let columns = schema.fields().iter().zip(batch.columns());
            let columns: Result<Vec<_>, _> = columns
                .map(|(field, column)| cast(column, field.data_type()))
                .collect();
            let batch =
                RecordBatch::try_new(schema.clone(), columns.map_err(|error| error.to_string())?)
                    .map_err(|error| error.to_string())?;
            count += batch.num_rows() as u64;
            self.changes.push((table.clone(), batch, is_insertion));
        }
        Ok(DBOutput::StatementComplete(count))
    }

    fn query(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, String> {
        self.queries += 1;
        let program = format!(
            "{}CREATE MATERIALIZED VIEW judged_query AS {sql};\n",
            self.program
        );
        let workers = self.queries % 3 + 1;
        let mut subject = Subject::start(&program, workers, RowHasher::new(HASHER_SEED))?;
        self.feed(&mut subject)?;
        let rows = subject.view_rows("judged_query")?;
        let width = subject
            .program
            .views
            .last()
            .map_or(0, |view| view.schema.fields().len());
        let text = |cell: &Cell| match cell {
            Cell::Text(text) if text.is_empty() => "(empty)".to_owned(),
            Cell::Text(text) => text.replace(' ', "␠"),
            Cell::Float(value) => value.to_string(),
        };
        let rows = rows
            .iter()
            .map(|row| row.iter().map(text).collect())
            .collect();
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Any; width],
            rows,
        })
    }

    fn feed(&self, subject: &mut Subject) -> Result<(), String> {
        let mut all = Vec::new();
        let (mut out, mut back) = (Vec::new(), Vec::new());
        for (table, batch, is_insertion) in &self.changes {
            let table = subject.table(table);
            let input = if *is_insertion {
                TableInput::insertions
            } else {
                TableInput::deletions
            };
            all.push((table, input(batch.clone())));
            let odd: Vec<u32> = (0..batch.num_rows())
                .filter(|row| row % 2 == 1)
                .map(|row| row as u32)
                .collect();
            let odd = take_record_batch(batch, &UInt32Array::from(odd))
                .map_err(|error| error.to_string())?;
            // Taking rows out and putting them back is only neutral if nothing else touches them.
            if *is_insertion && !self.has_deletions() {
                out.push((table, TableInput::deletions(odd.clone())));
                back.push((table, TableInput::insertions(odd)));
            }
        }
        // One input per table and step; several statements for one table are several steps.
        for inputs in [all, out, back] {
            for input in inputs {
                subject.step(vec![input])?;
            }
        }
        subject.step(Vec::new())
    }

    fn has_deletions(&self) -> bool {
        self.changes
            .iter()
            .any(|(_, _, is_insertion)| !is_insertion)
    }
}

fn options() -> CompileOptions {
    CompileOptions {
        hasher: RowHasher::new(HASHER_SEED),
    }
}

#[test]
fn sql_logic_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/sql");
    let only = std::env::var("SQL_TEST").unwrap_or_default();
    let bless = std::env::var("BLESS").is_ok();
    let mut files = files_below(&root);
    files.retain(|file| file.to_string_lossy().contains(&only));
    let mut failures = Vec::new();
    let mut records = 0;
    for file in &files {
        let text = std::fs::read_to_string(file).expect("a readable test file");
        records += text
            .lines()
            .filter(|line| line.starts_with("query") || line.starts_with("statement"))
            .count();
        if let Err(error) = run_file(file, bless) {
            failures.push(format!("{}: {error}", file.display()));
        }
    }
    crate::report(&format!(
        "sqllogictest: {} files, {records} records",
        files.len()
    ));
    assert!(
        failures.is_empty(),
        "{} files failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    assert!(
        records > 0,
        "no test file was found below {}",
        root.display()
    );
}

fn run_file(file: &Path, bless: bool) -> Result<(), String> {
    let mut runner = sqllogictest::Runner::new(|| async { Ok(Database::new()) });
    // No answer has an order of its own: a view is a bag of rows.
    runner
        .run_script("control sortmode rowsort\n")
        .map_err(|error| error.to_string())?;
    if !bless {
        return runner
            .run_file(file)
            .map_err(|error| error.display(false).to_string());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| error.to_string())?;
    let update = runner.update_test_file(
        file,
        " ",
        sqllogictest::default_validator,
        sqllogictest::default_normalizer,
        sqllogictest::default_column_validator,
    );
    runtime.block_on(update).map_err(|error| error.to_string())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(path);
        }
    }
    files.sort();
    files
}
