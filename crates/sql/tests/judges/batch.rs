//! The other judge: DataFusion's batch engine over the tables' present contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use tokio::runtime::Runtime;

use crate::rows::{Row, rows_of};

/// Rows of a table as the test knows them, independent of the engine.
#[derive(Clone, Debug)]
pub struct ModelTable {
    pub name: String,
    pub schema: SchemaRef,
    pub primary_key: Vec<usize>,
    pub rows: Vec<Vec<ScalarValue>>,
}

impl ModelTable {
    /// The rows as one batch.
    pub fn batch(&self) -> RecordBatch {
        batch_of(&self.schema, &self.rows)
    }
}

/// Rows of values as a batch.
pub fn batch_of(schema: &SchemaRef, rows: &[Vec<ScalarValue>]) -> RecordBatch {
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
pub fn answers(
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
            register(&context, name, schema, batches)?;
        }
        Ok(answers)
    })
}

/// Runs one query without tables.
///
/// # Errors
/// DataFusion's error.
pub fn evaluate(runtime: &Runtime, sql: &str) -> Result<Vec<RecordBatch>, String> {
    runtime.block_on(async { run(&session(), sql).await.map(|(_, batches)| batches) })
}

fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    let options = config.options_mut();
    options.sql_parser.map_string_types_to_utf8view = false;
    options.sql_parser.parse_float_as_decimal = true;
    SessionContext::new_with_config(config)
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

async fn run(context: &SessionContext, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), String> {
    let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    Ok((schema, batches))
}
