//! Views against DataFusion's batch answers, after every step of random inserts and deletes.

mod differential;
mod joins;
mod refusals;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use highwater_circuit::dataflow::{Dataflow, DataflowConfig};
use highwater_circuit::table_input::TableInput;
use highwater_zset::RowHasher;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::expression::arg_extreme::{arg_max, arg_min};
use crate::planner::session::session_config;
use crate::{CompileOptions, Program, compile};

/// How often each row is there.
type Bag = BTreeMap<Vec<String>, i64>;

/// The tables of the differential tests: with NULLs, duplicates, ties and few distinct values.
const TABLES: &str = "
    CREATE TABLE t (a INT, b INT, c BIGINT, s VARCHAR, x DOUBLE, d DECIMAL(10, 2));
    CREATE TABLE u (a INT, b INT, s VARCHAR);
    CREATE TABLE p (id INT NOT NULL PRIMARY KEY, k INT, w BIGINT);
";

/// Some rows of a table, as arrays of one value each per column.
#[derive(Clone, Debug)]
struct Rows {
    schema: SchemaRef,
    rows: Vec<Vec<ScalarValue>>,
}

impl Rows {
    fn batch(&self) -> RecordBatch {
        if self.rows.is_empty() {
            return RecordBatch::new_empty(self.schema.clone());
        }
        let columns: Vec<ArrayRef> = (0..self.schema.fields().len())
            .map(|column| {
                let cells = self.rows.iter().map(|row| row[column].clone());
                ScalarValue::iter_to_array(cells).unwrap()
            })
            .collect();
        RecordBatch::try_new(self.schema.clone(), columns).unwrap()
    }
}

/// A program that runs, beside what its tables hold and what its views should hold.
struct Bench {
    program: Program,
    dataflow: Dataflow,
    tables: Vec<Rows>,
    /// Per view of the plan, the sum of its changes.
    views: Vec<Bag>,
    random: StdRng,
}

impl Bench {
    fn start(text: &str, workers: usize, seed: u64) -> Self {
        let hasher = RowHasher::new(seed);
        let program = compile(text, &CompileOptions { hasher }).unwrap_or_else(|diagnostics| {
            panic!(
                "{}",
                diagnostics
                    .iter()
                    .map(|one| one.render())
                    .collect::<String>()
            )
        });
        let config = DataflowConfig::in_memory(workers, hasher);
        let dataflow = Dataflow::start(program.plan.clone(), config).unwrap();
        let tables = program.tables.iter().map(|table| Rows {
            schema: table.schema.clone(),
            rows: Vec::new(),
        });
        Self {
            tables: tables.collect(),
            views: vec![Bag::new(); program.plan.views.len()],
            program,
            dataflow,
            random: StdRng::seed_from_u64(seed),
        }
    }

    /// Deletes and inserts random rows in every table.
    fn random_step(&mut self) -> Result<(), String> {
        let mut inputs = Vec::new();
        for table in 0..self.tables.len() {
            let deleted = self.delete_some(table);
            let inserted = self.insert_some(table);
            inputs.push((table, TableInput::deletions(deleted.batch())));
            inputs.push((table, TableInput::insertions(inserted.batch())));
        }
        self.step(inputs)
    }

    fn step(&mut self, inputs: Vec<(usize, TableInput)>) -> Result<(), String> {
        let output = self
            .dataflow
            .step(inputs)
            .map_err(|error| error.to_string())?;
        for (view, deltas) in output.changes {
            for delta in deltas {
                let rows = texts(delta.rows());
                for (row, weight) in rows.into_iter().zip(delta.weights().iter()) {
                    add(&mut self.views[view], row, *weight);
                }
            }
        }
        Ok(())
    }

    fn delete_some(&mut self, table: usize) -> Rows {
        let Rows { schema, rows } = &mut self.tables[table];
        let mut deleted = Vec::new();
        for _ in 0..self.random.random_range(0..4) {
            if !rows.is_empty() {
                let index = self.random.random_range(0..rows.len());
                deleted.push(rows.swap_remove(index));
            }
        }
        Rows {
            schema: schema.clone(),
            rows: deleted,
        }
    }

    fn insert_some(&mut self, table: usize) -> Rows {
        let primary_key = self.program.tables[table].primary_key.clone();
        let Rows { schema, rows } = &mut self.tables[table];
        let mut inserted: Vec<Vec<ScalarValue>> = Vec::new();
        for _ in 0..self.random.random_range(0..6) {
            let fields = schema.fields().iter().enumerate();
            let row: Vec<ScalarValue> = fields
                .map(|(index, field)| {
                    let is_key = primary_key.contains(&index);
                    random_value(&mut self.random, field.data_type(), !is_key)
                })
                .collect();
            if !primary_key.is_empty() {
                let is_same = |other: &Vec<ScalarValue>| {
                    primary_key
                        .iter()
                        .all(|&column| other[column] == row[column])
                };
                rows.retain(|other| !is_same(other));
            }
            rows.push(row.clone());
            inserted.push(row);
        }
        Rows {
            schema: schema.clone(),
            rows: inserted,
        }
    }

    fn context(&self) -> SessionContext {
        let context = SessionContext::new_with_config(session_config());
        context.register_udaf(arg_min());
        context.register_udaf(arg_max());
        for (table, rows) in self.program.tables.iter().zip(&self.tables) {
            let provider = MemTable::try_new(rows.schema.clone(), vec![vec![rows.batch()]]);
            context
                .register_table(&table.relation.name, Arc::new(provider.unwrap()))
                .unwrap();
        }
        context
    }
}

/// Few values, and NULL.
fn random_value(
    random: &mut StdRng,
    data_type: &arrow::datatypes::DataType,
    nullable: bool,
) -> ScalarValue {
    if nullable && random.random_range(0..5) == 0 {
        return ScalarValue::try_from(data_type).unwrap();
    }
    let number: i64 = random.random_range(0..6);
    let text = ["", "a", "b", "ab", "B", "ß"][number as usize];
    let value = match data_type {
        arrow::datatypes::DataType::Utf8 => ScalarValue::from(text),
        arrow::datatypes::DataType::Float64 => ScalarValue::from(number as f64 / 4.0 - 0.5),
        arrow::datatypes::DataType::Decimal128(..) => {
            ScalarValue::Decimal128(Some(i128::from(number) * 125 - 250), 10, 2)
        }
        _ => ScalarValue::from(number - 1),
    };
    value.cast_to(data_type).unwrap()
}

fn add(bag: &mut Bag, row: Vec<String>, weight: i64) {
    let count = bag.entry(row.clone()).or_default();
    *count += weight;
    if *count == 0 {
        bag.remove(&row);
    }
}

/// One text per cell; floats rounded to what summation in another order keeps.
fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    (0..rows.num_rows())
        .map(|row| {
            rows.columns()
                .iter()
                .map(|column| text(column, row))
                .collect()
        })
        .collect()
}

fn text(column: &ArrayRef, row: usize) -> String {
    match ScalarValue::try_from_array(column, row).unwrap() {
        value if value.is_null() || column.is_null(row) => "NULL".to_owned(),
        ScalarValue::Float64(Some(value)) => format!("{:.9e}", value + 0.0),
        ScalarValue::Float32(Some(value)) => format!("{:.5e}", value + 0.0),
        value => value.to_string(),
    }
}

fn bag_of(batches: &[RecordBatch]) -> Bag {
    let mut bag = Bag::new();
    for row in batches.iter().flat_map(texts) {
        add(&mut bag, row, 1);
    }
    bag
}

async fn batch_answer(context: &SessionContext, query: &str) -> Bag {
    let answer = context
        .sql(query)
        .await
        .unwrap_or_else(|error| panic!("{query}: {error}"));
    let batches = answer.collect().await;
    bag_of(&batches.unwrap_or_else(|error| panic!("{query}: {error}")))
}

/// Runs all queries as views of one program and compares each with the batch answer at each step.
fn compare(queries: &[&str], workers: usize, steps: usize, seed: u64) {
    let pairs: Vec<(&str, &str)> = queries.iter().map(|query| (*query, *query)).collect();
    compare_pairs(&pairs, workers, steps, seed);
}

/// As [`compare`], for pairs of a view and an equivalent batch query.
fn compare_pairs(pairs: &[(&str, &str)], workers: usize, steps: usize, seed: u64) {
    let views: String = pairs
        .iter()
        .enumerate()
        .map(|(index, (view, _))| format!("CREATE VIEW v{index} AS {view};\n"))
        .collect();
    let mut bench = Bench::start(&format!("{TABLES}{views}"), workers, seed);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for step in 0..steps {
        // The first step only tells the views that there is nothing.
        let done = match step {
            0 => bench.step(Vec::new()),
            _ => bench.random_step(),
        };
        done.unwrap_or_else(|error| panic!("seed {seed}, step {step}: {error}"));
        let context = bench.context();
        for (index, (view, query)) in pairs.iter().enumerate() {
            let expected = runtime.block_on(batch_answer(&context, query));
            assert_eq!(
                bench.views[index], expected,
                "view: {view}\nseed {seed}, step {step}, {workers} workers (left: the view)"
            );
        }
    }
}

/// The contents of one table after these rows, as a table input.
fn rows_of(batches: &[RecordBatch], schema: &SchemaRef) -> RecordBatch {
    concat_batches(schema, batches).unwrap()
}

/// Rows `indices` of a batch.
fn pick(rows: &RecordBatch, indices: &[u32]) -> RecordBatch {
    take_record_batch(rows, &arrow::array::UInt32Array::from(indices.to_vec())).unwrap()
}
