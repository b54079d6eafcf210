//! Ad-hoc queries: DataFusion's batch engine over snapshots of what the circuit keeps.
//!
//! The plan goes through the same repairs as a view's, so that a query and a view with the same
//! text agree. Only relations that the query names are read, and only when it runs.

use std::future::Future;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::physical_plan::collect;
use datafusion::sql::sqlparser::ast::Query;
use highwater_zset::Snapshot;

use crate::catalog::Catalog;
use crate::diagnostics::{ErrorKind, Source, SqlError, SqlResult, TEXT_START};
use crate::parser::{self, types::Types};
use crate::planner::guard::{self, Purpose};
use crate::planner::session::ad_hoc_session;
use crate::planner::{self, syntax};
use crate::program::Program;

mod duplicates;
pub(crate) mod overflow;
mod set_operation;
mod snapshot_table;

/// Answers ad-hoc queries about a program's tables and views.
#[derive(Clone, Debug)]
pub struct QueryEngine {
    catalog: Arc<Catalog>,
    relations: Arc<Vec<QueriedRelation>>,
}

#[derive(Debug)]
struct QueriedRelation {
    name: String,
    schema: SchemaRef,
    is_materialized: bool,
    /// How to make it so.
    remedy: &'static str,
}

/// A table or view that is known without its program.
#[derive(Clone, Debug)]
pub struct DescribedRelation {
    pub name: String,
    /// All columns nullable.
    pub schema: SchemaRef,
    pub is_table: bool,
    pub is_materialized: bool,
}

const TABLE_REMEDY: &str = "add WITH ('materialized' = 'true') to its CREATE TABLE";
const VIEW_REMEDY: &str = "define it with CREATE MATERIALIZED VIEW";

/// Whose fault a failed query is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryErrorKind {
    /// The query's: it is wrong.
    Planning,
    /// It failed while it ran, e.g. by a division by zero.
    Runtime,
}

/// Why a query has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct QueryError {
    pub kind: QueryErrorKind,
    pub message: String,
}

/// The columns and rows of a query's result; column names may repeat.
pub type QueryResult = Result<(SchemaRef, Vec<RecordBatch>), QueryError>;

/// A query that is ready to run.
struct PlannedQuery {
    plan: LogicalPlan,
    renamed: duplicates::Renamed,
}

impl QueryEngine {
    pub fn new(program: &Program) -> Self {
        let tables = program.tables.iter().map(|table| QueriedRelation {
            name: table.relation.name.clone(),
            schema: Arc::clone(&table.schema),
            is_materialized: table.materialized || !table.primary_key.is_empty(),
            remedy: TABLE_REMEDY,
        });
        let views = program.views.iter().map(|view| QueriedRelation {
            name: view.relation.name.clone(),
            schema: Arc::clone(&view.schema),
            is_materialized: view.relation.materialized,
            remedy: VIEW_REMEDY,
        });
        Self {
            catalog: Arc::clone(&program.catalog),
            relations: Arc::new(tables.chain(views).collect()),
        }
    }

    /// For relations whose program is not at hand. Its types and functions are not known.
    pub fn for_relations(described: &[DescribedRelation]) -> Self {
        let mut catalog = Catalog::default();
        for relation in described {
            catalog.add_relation(&relation.name, Arc::clone(&relation.schema));
        }
        let relations = described.iter().map(|relation| QueriedRelation {
            name: relation.name.clone(),
            schema: Arc::clone(&relation.schema),
            is_materialized: relation.is_materialized,
            remedy: if relation.is_table {
                TABLE_REMEDY
            } else {
                VIEW_REMEDY
            },
        });
        Self {
            catalog: Arc::new(catalog),
            relations: Arc::new(relations.collect()),
        }
    }

    /// Runs the queries in `sql`, separated by `;`; the rows are the last one's.
    ///
    /// `contents` gives the snapshots of a relation by its name (one per worker), all of one step;
    /// it is asked at once, for the relations that the queries name. The future only computes.
    ///
    /// # Errors
    /// [`QueryErrorKind::Planning`] if the text is wrong, names an unknown relation or one that is
    /// not materialized; [`QueryErrorKind::Runtime`] if the query fails on the data.
    pub fn query(
        &self,
        sql: &str,
        contents: &dyn Fn(&str) -> Option<Vec<Snapshot>>,
    ) -> impl Future<Output = QueryResult> + Send + use<> {
        let planned = self.plan(sql, contents);
        async move {
            let mut result = None;
            for query in planned? {
                result = Some(run(query).await?);
            }
            result.ok_or_else(|| planning_error("there is no query in this text".to_owned()))
        }
    }

    fn plan(
        &self,
        sql: &str,
        contents: &dyn Fn(&str) -> Option<Vec<Snapshot>>,
    ) -> Result<Vec<PlannedQuery>, QueryError> {
        let show = |errors: Vec<SqlError>| {
            let source = Source::new(sql);
            let texts: Vec<String> = errors
                .iter()
                .map(|error| source.error(error).render())
                .collect();
            planning_error(texts.join("\n"))
        };
        let mut types = Types::clone(&self.catalog.types);
        let queries = parser::parse_queries(sql, &mut types).map_err(|error| show(vec![error]))?;
        let catalog = self.catalog.with_types(types);
        let plan = |query| self.plan_query(query, &catalog, contents).map_err(show);
        queries.into_iter().map(plan).collect()
    }

    fn plan_query(
        &self,
        mut query: Query,
        catalog: &Catalog,
        contents: &dyn Fn(&str) -> Option<Vec<Snapshot>>,
    ) -> Result<PlannedQuery, Vec<SqlError>> {
        let session = ad_hoc_session();
        let findings = guard::check(&query, catalog, session, Purpose::AdHoc);
        let mut errors = findings.errors;
        for (name, place) in &findings.relations {
            let relation = self
                .relations
                .iter()
                .find(|relation| relation.name == *name);
            if let Some(relation) = relation.filter(|relation| !relation.is_materialized) {
                let message = format!(
                    "{name:?} is not materialized, so its contents are not kept; {}",
                    relation.remedy
                );
                errors.push(SqlError::new(ErrorKind::Planning, *place, message));
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let renamed = duplicates::rename(&mut query);
        syntax::rewrite_query(&mut query, catalog).map_err(|error| vec![error])?;
        let tables = self
            .tables(&findings.relations, contents)
            .map_err(|error| vec![error])?;
        let find = |name: &TableReference| -> Option<Arc<dyn TableSource>> {
            tables
                .iter()
                .find(|(table, _)| table == name.table())
                .map(|(_, table)| table.clone())
        };
        planner::plan_ad_hoc(query, catalog, session, &find)
            .and_then(set_operation::to_joins)
            .map(|plan| PlannedQuery { plan, renamed })
            .map_err(|error| SqlError::from_datafusion(&error, TEXT_START))
    }

    /// The named relations as tables of DataFusion.
    fn tables(
        &self,
        names: &guard::FoundRelations,
        contents: &dyn Fn(&str) -> Option<Vec<Snapshot>>,
    ) -> SqlResult<Vec<(String, Arc<dyn TableSource>)>> {
        let mut tables = Vec::with_capacity(names.len());
        for (name, place) in names {
            let relation = self
                .relations
                .iter()
                .find(|relation| relation.name == *name);
            let Some((relation, snapshots)) = relation.zip(contents(name)) else {
                let message = format!("the contents of {name:?} are not materialized yet");
                return Err(SqlError::new(ErrorKind::Planning, *place, message));
            };
            let table = snapshot_table::table(&relation.schema, snapshots)
                .map_err(|error| SqlError::new(ErrorKind::Planning, *place, error.to_string()))?;
            tables.push((name.clone(), provider_as_source(table)));
        }
        Ok(tables)
    }
}

/// Optimizes and runs a query.
async fn run(query: PlannedQuery) -> QueryResult {
    let PlannedQuery { plan, renamed } = query;
    let session = ad_hoc_session();
    let names: Vec<String> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let physical = session.create_physical_plan(&plan).await.map_err(|error| {
        let errors = SqlError::from_datafusion(&error, TEXT_START);
        let messages: Vec<String> = errors.into_iter().map(|error| error.message).collect();
        planning_error(messages.join("\n"))
    })?;
    let fields = physical.schema();
    let fields = fields.fields().iter().zip(names).map(|(field, name)| {
        Arc::new(Field::new(
            renamed.original(&name),
            field.data_type().clone(),
            true,
        ))
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = collect(physical, session.task_ctx())
        .await
        .map_err(runtime_error)?;
    let batches = batches
        .into_iter()
        .filter(|batch| batch.num_rows() > 0)
        .map(|batch| {
            let options =
                arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().to_vec();
            RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)
        });
    let batches = batches
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| runtime_error(DataFusionError::from(error)))?;
    Ok((schema, batches))
}

fn planning_error(message: String) -> QueryError {
    QueryError {
        kind: QueryErrorKind::Planning,
        message,
    }
}

fn runtime_error(error: DataFusionError) -> QueryError {
    let message = error.find_root().message().into_owned();
    QueryError {
        kind: QueryErrorKind::Runtime,
        message,
    }
}

#[cfg(test)]
mod tests;
