//! What DataFusion's planner may look up: relations, functions and types of the program.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{Result, TableReference, not_impl_err, plan_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::sqlparser::ast::{DataType as SqlDataType, TimezoneInfo};

use crate::column_type::arrow_type;
use crate::parser::types::Types;

/// How to find a relation.
pub(crate) type FindRelation<'a> = dyn Fn(&TableReference) -> Option<Arc<dyn TableSource>> + 'a;

/// The names that a query may use.
pub(crate) struct QueryContext<'a> {
    pub(crate) session: &'a SessionState,
    pub(crate) types: Arc<Types>,
    pub(crate) find_relation: &'a FindRelation<'a>,
}

impl ContextProvider for QueryContext<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match (self.find_relation)(&name) {
            Some(source) => Ok(source),
            None => plan_err!("table '{name}' not found"),
        }
    }

    fn get_table_function_source(
        &self,
        name: &str,
        _arguments: Vec<datafusion::logical_expr::Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        not_impl_err!("table function {name} is not supported")
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.session.expr_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(ProgramTypes {
            types: Arc::clone(&self.types),
        }))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.session.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.session.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.session.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.session.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.session.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.session.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.session
            .higher_order_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        let names = self.session.aggregate_functions().keys();
        names
            .filter(|name| !name.starts_with("__"))
            .cloned()
            .collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.session.window_functions().keys().cloned().collect()
    }
}

/// Types in expressions: those of casts by their canonical text, those of literals
/// (`DATE '2024-01-01'`) as sqlparser read them.
#[derive(Debug)]
struct ProgramTypes {
    types: Arc<Types>,
}

impl TypePlanner for ProgramTypes {
    fn plan_type_field(&self, sql_type: &SqlDataType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlDataType::Custom(name, _) => {
                let used = match name.0.as_slice() {
                    [part] => part
                        .as_ident()
                        .and_then(|ident| self.types.used(&ident.value)),
                    _ => None,
                };
                match used {
                    Some(column_type) => arrow_type(column_type),
                    None => return plan_err!("unknown type {name}"),
                }
            }
            SqlDataType::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone)
            | SqlDataType::Datetime(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            SqlDataType::Timestamp(..) | SqlDataType::Time(_, TimezoneInfo::WithTimeZone) => {
                return not_impl_err!("type {sql_type} is not supported; use TIMESTAMP, in UTC");
            }
            SqlDataType::Time(..) => DataType::Time64(TimeUnit::Nanosecond),
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}
