//! Compiles a program: the one entry that puts all parts of this crate together.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field as ArrowField, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{ColumnarValue, LogicalPlan, cast};
use highwater_circuit::builder::PlanBuilder;
use highwater_circuit::plan::{NodeIndex, Plan};
use highwater_types::program::Diagnostic;
use highwater_types::relation::{ColumnType, Field, PropertyValue, Relation};
use highwater_zset::RowHasher;

use crate::catalog::Catalog;
use crate::column_type::{arrow_type, field_from_arrow};
use crate::diagnostics::{ErrorKind, Source, SqlError};
use crate::lower::{self, LowerError, Relations};
use crate::parser::Name;
use crate::parser::statement::{
    ColumnDefinition, FunctionStatement, Statement, TableStatement, ViewKind, ViewStatement,
};
use crate::parser::{self, Parsed};
use crate::planner::guard;
use crate::planner::session::view_session;
use crate::planner::{PlanFailure, Planner, syntax};

/// What a compilation depends on besides the text.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// Orders the circuit's state; the dataflow must run with the same one.
    pub hasher: RowHasher,
}

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Program {
    pub text: String,
    pub tables: Vec<Table>,
    /// In the order of definition; local ones too.
    pub views: Vec<View>,
    pub plan: Arc<Plan>,
    pub warnings: Vec<Diagnostic>,
    /// For ad-hoc queries.
    pub(crate) catalog: Arc<Catalog>,
}

/// A table of a program; its position among the tables is that in the plan.
#[derive(Clone, Debug)]
pub struct Table {
    pub relation: Relation,
    /// All columns nullable; [`Relation::fields`] says which may be NULL.
    pub schema: SchemaRef,
    /// Column positions, in key order; empty without a primary key.
    pub primary_key: Vec<usize>,
    pub append_only: bool,
    pub materialized: bool,
    /// Per column, its `DEFAULT` as an array of one value of the column's type.
    pub defaults: Vec<Option<ArrayRef>>,
    /// The JSON text of `connectors`.
    pub connectors: Option<PropertyValue>,
}

/// A view of a program. Views that are not local are in the plan, in the same order.
#[derive(Clone, Debug)]
pub struct View {
    pub relation: Relation,
    /// All columns nullable.
    pub schema: SchemaRef,
    pub kind: ViewKind,
    /// The JSON text of `connectors`.
    pub connectors: Option<PropertyValue>,
    /// What was lowered, for `explain`.
    pub logical_plan: LogicalPlan,
    /// Common table expressions that became relations of their own.
    pub shared: Vec<(String, LogicalPlan)>,
    /// Where errors about the view as a whole are shown.
    pub(crate) position: highwater_types::relation::SourcePosition,
}

/// Compiles a program.
///
/// # Errors
/// All mistakes of the program, in the order of the text, and its warnings.
pub fn compile(text: &str, options: &CompileOptions) -> Result<Program, Vec<Diagnostic>> {
    let Parsed {
        statements,
        types,
        errors,
        failed_names,
    } = parser::parse_program(text);
    let mut compiler = Compiler {
        session: view_session(),
        catalog: Catalog::new(types),
        tables: Vec::new(),
        views: Vec::new(),
        errors,
        warnings: Vec::new(),
    };
    for name in &failed_names {
        compiler.catalog.add_failed(name);
    }
    for statement in statements {
        match statement {
            Statement::Table(table) => compiler.table(table),
            Statement::View(view) => compiler.view(view),
            Statement::Function(function) => compiler.function(*function),
        }
    }
    compiler.finish(text, options)
}

struct Compiler {
    session: &'static SessionState,
    catalog: Catalog,
    tables: Vec<Table>,
    views: Vec<View>,
    errors: Vec<SqlError>,
    warnings: Vec<SqlError>,
}

impl Compiler {
    fn is_new(&mut self, name: &Name) -> bool {
        let is_new = self.catalog.relation(&name.value).is_none();
        if !is_new {
            let message = format!("{:?} is defined twice; rename one of them", name.value);
            self.errors
                .push(SqlError::definition(name.position, message));
        }
        is_new
    }

    fn table(&mut self, statement: TableStatement) {
        if !self.is_new(&statement.name) {
            return;
        }
        let TableStatement {
            name,
            columns,
            primary_key,
            properties,
            warnings,
        } = statement;
        self.warnings.extend(warnings);
        let fields: Vec<Field> = columns.iter().map(relation_field).collect();
        self.catalog.add_relation(
            &name.value,
            schema(&fields, |field| field.columntype.nullable),
        );
        let defaults = columns
            .into_iter()
            .map(|column| self.default(column))
            .collect();
        let is_true = |key: &str| {
            properties
                .get(key)
                .is_some_and(|value| value.value == "true")
        };
        let materialized = is_true("materialized");
        let key_names = primary_key
            .iter()
            .map(|index| fields[*index].name.clone())
            .collect();
        let schema = schema(&fields, |_| true);
        self.tables.push(Table {
            schema,
            append_only: is_true("append_only"),
            materialized,
            defaults,
            connectors: properties.get("connectors").cloned(),
            relation: Relation {
                name: name.value,
                case_sensitive: name.is_quoted,
                fields,
                materialized,
                primary_key: (!primary_key.is_empty()).then_some(key_names),
                properties,
            },
            primary_key,
        });
    }

    /// The value of a column's `DEFAULT`.
    fn default(&mut self, column: ColumnDefinition) -> Option<ArrayRef> {
        let default = column.default?;
        let findings = guard::check_expression(&default.expression, &self.catalog, self.session);
        if !findings.errors.is_empty() {
            self.errors.extend(findings.errors);
            return None;
        }
        let mut expression = default.expression;
        let result = syntax::rewrite_expression(&mut expression, &self.catalog)
            .map_err(DataFusionError::from)
            .and_then(|()| self.constant(expression, &column.column_type));
        match result {
            Ok(value) if value.is_null(0) && !column.column_type.nullable => {
                let message = format!("the column {:?} is NOT NULL", column.name.value);
                self.errors
                    .push(SqlError::definition(default.position, message));
                None
            }
            Ok(value) => Some(value),
            Err(error) => {
                self.errors
                    .extend(SqlError::from_datafusion(&error, default.position));
                None
            }
        }
    }

    /// Evaluates an expression without columns.
    fn constant(
        &self,
        expression: datafusion::sql::sqlparser::ast::Expr,
        column_type: &ColumnType,
    ) -> Result<ArrayRef, DataFusionError> {
        let planner = Planner::new(&self.catalog, self.session);
        let schema = DFSchema::empty();
        let expression = planner.plan_expression(expression, &schema)?;
        let expression = cast(expression, arrow_type(column_type));
        let expression = self.session.create_physical_expr(expression, &schema)?;
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let row =
            RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)?;
        match expression.evaluate(&row)? {
            ColumnarValue::Array(array) => Ok(array),
            ColumnarValue::Scalar(value) => value.to_array(),
        }
    }

    fn function(&mut self, mut function: FunctionStatement) {
        let name = function.name.value.clone();
        if self.catalog.function(&name).is_some() {
            let message = format!("the function {name:?} is defined twice");
            self.errors
                .push(SqlError::definition(function.name.position, message));
            return;
        }
        let known = self.session.scalar_functions().contains_key(&name)
            || self.session.aggregate_functions().contains_key(&name)
            || self.session.window_functions().contains_key(&name);
        if known {
            let message = format!("{name:?} is a built-in function; choose another name");
            self.errors
                .push(SqlError::definition(function.name.position, message));
            return;
        }
        let findings = guard::check_expression(&function.body, &self.catalog, self.session);
        let mut errors = findings.errors;
        if errors.is_empty() {
            errors = self.check_body(&mut function).err().unwrap_or_default();
        }
        if errors.is_empty() {
            self.catalog.add_function(function);
        } else {
            self.errors.extend(errors);
            self.catalog.add_failed(&name);
        }
    }

    /// Rewrites the body and plans it over the parameters, to find its mistakes at its place.
    fn check_body(&self, function: &mut FunctionStatement) -> Result<(), Vec<SqlError>> {
        syntax::rewrite_expression(&mut function.body, &self.catalog)
            .map_err(|error| vec![error])?;
        let fields = function
            .parameters
            .iter()
            .map(|(name, column_type)| ArrowField::new(&name.value, arrow_type(column_type), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        let planner = Planner::new(&self.catalog, self.session);
        DFSchema::try_from(schema)
            .and_then(|schema| planner.plan_expression(function.body.clone(), &schema))
            .map(|_| ())
            .map_err(|error| SqlError::from_datafusion(&error, function.name.position))
    }

    fn view(&mut self, statement: ViewStatement) {
        if !self.is_new(&statement.name) {
            return;
        }
        let planner = Planner::new(&self.catalog, self.session);
        let planned = match planner.plan_view(&statement) {
            Ok(planned) => planned,
            Err(failure) => {
                if let PlanFailure::Errors(errors) = failure {
                    self.errors.extend(errors);
                }
                self.catalog.add_failed(&statement.name.value);
                return;
            }
        };
        let ViewStatement {
            name,
            kind,
            columns,
            properties,
            query: _,
        } = statement;
        let planned_schema = planned.plan.schema().as_arrow();
        let plain = planned_schema.fields().iter().map(|field| {
            ArrowField::new(field.name(), field.data_type().clone(), field.is_nullable())
        });
        let planned_schema = Arc::new(Schema::new(plain.collect::<Vec<_>>()));
        let fields: Vec<Field> = planned_schema
            .fields()
            .iter()
            .map(|field| {
                let is_quoted = columns
                    .iter()
                    .find(|column| column.value == *field.name())
                    .map(|column| column.is_quoted);
                let mut field = field_from_arrow(field, field.is_nullable());
                field.case_sensitive = is_quoted.unwrap_or(field.case_sensitive);
                field
            })
            .collect();
        self.catalog
            .add_relation(&name.value, Arc::clone(&planned_schema));
        self.views.push(View {
            schema: schema(&fields, |_| true),
            kind,
            connectors: properties.get("connectors").cloned(),
            logical_plan: planned.plan,
            shared: planned.shared,
            position: name.position,
            relation: Relation {
                name: name.value,
                case_sensitive: name.is_quoted,
                fields,
                materialized: kind == ViewKind::Materialized,
                primary_key: None,
                properties,
            },
        });
    }

    fn finish(mut self, text: &str, options: &CompileOptions) -> Result<Program, Vec<Diagnostic>> {
        let source = Source::new(text);
        let mut plan = None;
        if self.errors.is_empty() {
            match self.lower(options) {
                Ok(lowered) => plan = Some(lowered),
                Err(errors) => self.errors.extend(errors),
            }
        }
        let mut warnings: Vec<Diagnostic> = self
            .warnings
            .iter()
            .map(|warning| source.warning(warning))
            .collect();
        if let Some(plan) = plan {
            return Ok(Program {
                text: text.to_owned(),
                tables: self.tables,
                views: self.views,
                plan: Arc::new(plan),
                warnings,
                catalog: Arc::new(self.catalog),
            });
        }
        let mut diagnostics: Vec<Diagnostic> = self
            .errors
            .iter()
            .map(|error| source.error(error))
            .collect();
        diagnostics.append(&mut warnings);
        let place =
            |diagnostic: &Diagnostic| (diagnostic.start_line_number, diagnostic.start_column);
        diagnostics.sort_by_key(place);
        diagnostics.dedup();
        Err(diagnostics)
    }

    /// The circuit of all tables and views.
    fn lower(&self, options: &CompileOptions) -> Result<Plan, Vec<SqlError>> {
        let mut builder = PlanBuilder::new(options.hasher);
        let mut relations = Relations::new();
        for table in &self.tables {
            let node = builder.table(
                &table.relation.name,
                &table.schema,
                table.primary_key.clone(),
                table.materialized,
                "",
            );
            relations.insert(table.relation.name.clone(), node);
        }
        let mut errors = Vec::new();
        for view in &self.views {
            match lower_view(view, &mut builder, &mut relations) {
                Ok(node) => {
                    let name = &view.relation.name;
                    relations.insert(name.clone(), node);
                    if view.kind != ViewKind::Local {
                        builder.view(name, node, view.kind == ViewKind::Materialized);
                    }
                }
                Err(error) => errors.push(lowering_error(&error, view)),
            }
        }
        if errors.is_empty() {
            let mut plan = builder.finish();
            self.name_view_columns(&mut plan);
            Ok(plan)
        } else {
            Err(errors)
        }
    }

    /// A node's column names are labels: equal sub-plans are one node, whatever the views on it call
    /// their columns.
    fn name_view_columns(&self, plan: &mut Plan) {
        let shown = self
            .views
            .iter()
            .filter(|view| view.kind != ViewKind::Local);
        for (definition, view) in plan.views.iter_mut().zip(shown) {
            let columns = definition.schema.fields().iter().zip(view.schema.fields());
            let columns =
                columns.map(|(column, named)| column.as_ref().clone().with_name(named.name()));
            definition.schema = Arc::new(Schema::new(columns.collect::<Vec<_>>()));
        }
    }
}

fn lower_view(
    view: &View,
    builder: &mut PlanBuilder,
    relations: &mut Relations,
) -> Result<NodeIndex, LowerError> {
    let name = &view.relation.name;
    for (shared_name, plan) in &view.shared {
        let node = lower::lower_query(plan, builder, relations, name)?;
        relations.insert(shared_name.clone(), node);
    }
    lower::lower_query(&view.logical_plan, builder, relations, name)
}

fn lowering_error(error: &LowerError, view: &View) -> SqlError {
    let place = error
        .span
        .map_or(view.position, crate::diagnostics::span_position);
    SqlError::new(ErrorKind::Unsupported, place, error.to_string())
}

fn relation_field(column: &ColumnDefinition) -> Field {
    Field {
        name: column.name.value.clone(),
        case_sensitive: column.name.is_quoted,
        columntype: column.column_type.clone(),
        default: column
            .default
            .as_ref()
            .map(|default| default.expression.to_string()),
        unused: false,
    }
}

fn schema(fields: &[Field], is_nullable: impl Fn(&Field) -> bool) -> SchemaRef {
    let fields = fields.iter().map(|field| {
        ArrowField::new(
            &field.name,
            arrow_type(&field.columntype),
            is_nullable(field),
        )
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests;
