//! The other judge: DataFusion's batch engine over the tables' present contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;

use crate::rows::{Row, rows_of};

/// Rows of a table as the test knows them, independent of the engine.
#[derive(Clone, Debug)]
pub(crate) struct ModelTable {
    pub(crate) name: String,
    pub(crate) schema: SchemaRef,
    pub(crate) primary_key: Vec<usize>,
    pub(crate) rows: Vec<Vec<ScalarValue>>,
}

impl ModelTable {
    /// The rows as one batch.
    pub(crate) fn batch(&self) -> RecordBatch {
        batch_of(&self.schema, &self.rows)
    }
}

/// Rows of values as a batch.
pub(crate) fn batch_of(schema: &SchemaRef, rows: &[Vec<ScalarValue>]) -> RecordBatch {
    if rows.is_empty() {
        return RecordBatch::new_empty(schema.clone());
    }
    let column = |index: usize| {
        let values = rows.iter().map(|row| row[index].clone());
        let array = ScalarValue::iter_to_array(values).expect("values of one type");
        arrow::compute::cast(&array, schema.field(index).data_type()).expect("the column's type")
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema")
}

/// Answers every view over the given tables; views may read earlier views.
///
/// # Errors
/// DataFusion's error for the first view that fails.
pub(crate) fn answers(
    runtime: &Runtime,
    tables: &[ModelTable],
    views: &[(String, String)],
) -> Result<BTreeMap<String, Vec<Row>>, String> {
    runtime.block_on(async {
        let context = session();
        for table in tables {
            register(
                &context,
                &table.name,
                table.schema.clone(),
                vec![table.batch()],
            )?;
        }
        let mut answers = BTreeMap::new();
        for (name, sql) in views {
            let (schema, batches) = run(&context, sql)
                .await
                .map_err(|error| format!("{name}: {error}"))?;
            answers.insert(name.clone(), batches.iter().flat_map(rows_of).collect());
            let (schema, batches) = nullable(&schema, &batches);
            register(&context, name, schema, batches)?;
        }
        Ok(answers)
    })
}

/// Runs one query without tables.
///
/// # Errors
/// DataFusion's error.
pub(crate) fn evaluate(runtime: &Runtime, sql: &str) -> Result<Vec<RecordBatch>, String> {
    runtime.block_on(async { run(&session(), sql).await.map(|(_, batches)| batches) })
}

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    // It finds a filter's columns by name when it pushes it below a join, whichever side they are of.
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(rules);
    SessionContext::new_with_state(state.build())
}

fn register(
    context: &SessionContext,
    name: &str,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
) -> Result<(), String> {
    let table = MemTable::try_new(schema, vec![batches]).map_err(|error| error.to_string())?;
    context
        .register_table(name, Arc::new(table))
        .map_err(|error| error.to_string())?;
    Ok(())
}

/// The same data with all columns nullable: DataFusion's plans and batches disagree here and there.
fn nullable(schema: &SchemaRef, batches: &[RecordBatch]) -> (SchemaRef, Vec<RecordBatch>) {
    let actual = batches
        .first()
        .map_or(schema.clone(), |batch| batch.schema());
    let fields: Vec<_> = actual
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let with_schema = |batch: &RecordBatch| {
        RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
            .expect("columns of the schema")
    };
    let batches = batches.iter().map(with_schema).collect();
    (schema, batches)
}

async fn run(context: &SessionContext, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    Ok((schema, batches))
}
