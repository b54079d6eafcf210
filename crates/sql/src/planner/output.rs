//! The columns of a view: names as the view says, types that a program can store.

use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast};

use crate::column_type::storable;
use crate::diagnostics::{ErrorKind, SqlError};
use crate::parser::statement::ViewStatement;

/// Renames and casts the columns of an analyzed plan.
pub(crate) fn view_columns(plan: LogicalPlan, view: &ViewStatement) -> Result<LogicalPlan> {
    let names = column_names(&plan, view)?;
    let mut expressions = Vec::with_capacity(names.len());
    for ((qualifier, field), name) in plan.schema().iter().zip(names) {
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let data_type = field.data_type();
        let expression = match storable(data_type) {
            Some(storable) if storable == *data_type => column,
            Some(storable) => cast(column, storable),
            None => {
                let message = format!(
                    "the column {name:?} has the type {data_type}, which a view cannot have; \
                     CAST it to another one"
                );
                let place = view.name.position;
                return Err(SqlError::new(ErrorKind::Planning, place, message).into());
            }
        };
        expressions.push(expression.alias(name));
    }
    LogicalPlanBuilder::from(plan).project(expressions)?.build()
}

/// The view's column names, all different.
fn column_names(plan: &LogicalPlan, view: &ViewStatement) -> Result<Vec<String>> {
    let fields = plan.schema().fields();
    if !view.columns.is_empty() {
        if view.columns.len() != fields.len() {
            let message = format!(
                "the view names {} columns, but its query has {}",
                view.columns.len(),
                fields.len()
            );
            let place = view.columns[0].position;
            return Err(SqlError::new(ErrorKind::Planning, place, message).into());
        }
        return Ok(view
            .columns
            .iter()
            .map(|column| column.value.clone())
            .collect());
    }
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            let message = format!(
                "two columns of the view are named {name:?}; give one of them another name with AS"
            );
            return Err(SqlError::new(ErrorKind::Planning, view.name.position, message).into());
        }
    }
    Ok(names)
}
