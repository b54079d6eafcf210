//! SQL expressions for circuits: DataFusion's physical expressions behind the circuit's traits.
//!
//! DataFusion evaluates expressions for a query that ends: integers wrap silently, a guarded
//! division may run for the rows that its guard excludes. A view lives on, and one wrong value
//! would stay in its state for ever, so [`scalar`] rewrites the physical expression until every
//! row has the value that SQL defines or the step fails with a message ([`checked`]).
//!
//! Columns are resolved once, by position. A [`Scope`] says where the columns of the logical
//! schema are found in the rows that the expression will see.

pub(crate) mod arg_extreme;
pub(crate) mod checked;
pub(crate) mod describe;
pub(crate) mod group;
pub(crate) mod not_null;
pub(crate) mod partition;
pub(crate) mod unnest;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::physical_expr::expressions::{CastExpr, Column, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use highwater_circuit::expression::{self as circuit, EvaluationError, Expression};

use crate::lower::LowerError;

/// What an expression is evaluated over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The columns that the expression may name.
    pub(crate) schema: &'a DFSchema,
    /// Where each of them is in the rows, if not at its own position.
    pub(crate) positions: Option<&'a [usize]>,
}

impl<'a> Scope<'a> {
    /// Rows that have the columns of `schema` at their positions (and maybe more behind them).
    pub(crate) fn of(schema: &'a DFSchema) -> Self {
        Self {
            schema,
            positions: None,
        }
    }

    /// Rows that have column `i` of `schema` at `positions[i]`.
    pub(crate) fn at(schema: &'a DFSchema, positions: &'a [usize]) -> Self {
        Self {
            schema,
            positions: Some(positions),
        }
    }
}

/// A DataFusion expression as a circuit expression.
#[derive(Debug)]
struct Scalar {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    fingerprint: String,
}

impl Expression for Scalar {
    fn evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef, EvaluationError> {
        self.physical
            .evaluate(rows)
            .and_then(|value| value.into_array(rows.num_rows()))
            .and_then(|array| of_type(array, &self.data_type))
            .map_err(evaluation_error)
    }

    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn input_columns(&self) -> Option<Vec<usize>> {
        let columns = collect_columns(&self.physical);
        let mut positions: Vec<usize> = columns.iter().map(Column::index).collect();
        positions.sort_unstable();
        positions.dedup();
        Some(positions)
    }

    fn as_column(&self) -> Option<usize> {
        self.physical.downcast_ref::<Column>().map(Column::index)
    }
}

/// The circuit's form of an expression.
///
/// # Errors
/// If the expression has no value of its own (a subquery that was not decorrelated, a
/// placeholder, a volatile function) or its types do not fit.
pub(crate) fn scalar(expr: &Expr, scope: Scope<'_>) -> Result<circuit::Expr, LowerError> {
    let (physical, data_type) = planned(expr, scope.schema)?;
    adapt(physical, data_type, expr, scope)
}

/// As [`scalar`], cast to a type if it has another one.
///
/// # Errors
/// As [`scalar`], or if there is no such cast.
pub(crate) fn scalar_as(
    expr: &Expr,
    scope: Scope<'_>,
    data_type: &DataType,
) -> Result<circuit::Expr, LowerError> {
    let (plain, own_type) = planned(expr, scope.schema)?;
    if own_type == *data_type {
        return adapt(plain, own_type, expr, scope);
    }
    if !arrow::compute::can_cast_types(&own_type, data_type) {
        let message = format!("there is no cast from {own_type} to {data_type}");
        return Err(LowerError::new("CAST", message).at(expr));
    }
    let cast = Arc::new(CastExpr::new(plain, data_type.clone(), None));
    adapt(fold(cast), data_type.clone(), expr, scope)
}

/// A column, cast to another type.
pub(crate) fn cast_column(index: usize, name: &str, to: &DataType) -> circuit::Expr {
    let physical = Arc::new(CastExpr::new(
        Arc::new(Column::new(name, index)),
        to.clone(),
        None,
    ));
    Arc::new(Scalar {
        fingerprint: describe::fingerprint(physical.as_ref()),
        physical,
        data_type: to.clone(),
    })
}

/// The same value for every row.
pub(crate) fn constant(value: ScalarValue) -> circuit::Expr {
    let data_type = value.data_type();
    let physical = Arc::new(Literal::new(value));
    Arc::new(Scalar {
        fingerprint: describe::fingerprint(physical.as_ref()),
        physical,
        data_type,
    })
}

/// NULL of a type, for every row.
///
/// # Errors
/// If the type has no NULL literal.
pub(crate) fn null(data_type: &DataType) -> Result<circuit::Expr, LowerError> {
    ScalarValue::try_from(data_type)
        .map(constant)
        .map_err(|error| LowerError::from_planning("NULL", &error))
}

/// The value of an expression without columns.
///
/// # Errors
/// As [`scalar`], or if the evaluation fails.
pub(crate) fn evaluate_constant(
    expr: &Expr,
    data_type: &DataType,
) -> Result<ScalarValue, LowerError> {
    let schema = DFSchema::empty();
    let expression = scalar_as(expr, Scope::of(&schema), data_type)?;
    let fail = |message: String| LowerError::new("constant", message).at(expr);
    let array = expression
        .evaluate(&one_empty_row())
        .map_err(|error| fail(error.message))?;
    ScalarValue::try_from_array(&array, 0).map_err(|error| fail(plain_message(&error)))
}

fn one_empty_row() -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options)
        .expect("a row without columns is a valid batch")
}

/// The physical expression, made safe and with its columns at their positions.
///
/// # Errors
/// As [`scalar`].
pub(crate) fn physical(expr: &Expr, scope: Scope<'_>) -> Result<Arc<dyn PhysicalExpr>, LowerError> {
    let (physical, _) = planned(expr, scope.schema)?;
    moved(physical, expr, scope)
}

/// The physical expression over the columns of `schema`, made safe, and its type.
fn planned(
    expr: &Expr,
    schema: &DFSchema,
) -> Result<(Arc<dyn PhysicalExpr>, DataType), LowerError> {
    refuse_unsupported(expr)?;
    let context = PhysicalPlanningContext::default();
    let properties = ExecutionProps::new();
    let fail = |error: DataFusionError| LowerError::of_expression(expr, &error);
    let plain = create_physical_expr(expr, schema, &properties, &context).map_err(fail)?;
    let safe = checked::checked(plain, schema.as_arrow()).map_err(fail)?;
    let data_type = safe.data_type(schema.as_arrow()).map_err(fail)?;
    Ok((fold(safe), data_type))
}

fn moved(
    physical: Arc<dyn PhysicalExpr>,
    expr: &Expr,
    scope: Scope<'_>,
) -> Result<Arc<dyn PhysicalExpr>, LowerError> {
    match scope.positions {
        None => Ok(physical),
        Some(positions) => move_columns(physical, positions)
            .map_err(|error| LowerError::of_expression(expr, &error)),
    }
}

fn adapt(
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    expr: &Expr,
    scope: Scope<'_>,
) -> Result<circuit::Expr, LowerError> {
    let physical = moved(physical, expr, scope)?;
    if let Some(column) = physical.downcast_ref::<Column>() {
        return Ok(circuit::Column::expr(column.index(), data_type));
    }
    Ok(Arc::new(Scalar {
        fingerprint: describe::fingerprint(physical.as_ref()),
        physical,
        data_type,
    }))
}

fn move_columns(
    physical: Arc<dyn PhysicalExpr>,
    positions: &[usize],
) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    let moved = physical.transform_up(|node| {
        let Some(column) = node.downcast_ref::<Column>() else {
            return Ok(Transformed::no(node));
        };
        let position = positions[column.index()];
        let column = Column::new(column.name(), position);
        Ok(Transformed::yes(Arc::new(column) as _))
    })?;
    Ok(moved.data)
}

/// Replaces an expression without columns by its value. One that fails stays: it must fail only
/// if a row needs it.
fn fold(physical: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let is_leaf = physical.children().is_empty();
    if is_leaf || uses_columns(physical.as_ref()) {
        return physical;
    }
    let value = physical
        .evaluate(&one_empty_row())
        .and_then(|value| value.into_array(1))
        .and_then(|array| ScalarValue::try_from_array(&array, 0));
    match value {
        Ok(value) => Arc::new(Literal::new(value)),
        Err(_) => physical,
    }
}

fn uses_columns(physical: &dyn PhysicalExpr) -> bool {
    physical.downcast_ref::<Column>().is_some()
        || physical
            .children()
            .iter()
            .any(|child| uses_columns(child.as_ref()))
}

/// The positions of the columns that an expression reads.
///
/// # Errors
/// If a column is not in the schema.
pub(crate) fn used_columns(
    expr: &Expr,
    schema: &DFSchema,
    used: &mut Vec<usize>,
) -> Result<(), LowerError> {
    for column in expr.column_refs() {
        let index = schema
            .index_of_column(column)
            .map_err(|error| LowerError::of_expression(expr, &error))?;
        used.push(index);
    }
    Ok(())
}

fn refuse_unsupported(expr: &Expr) -> Result<(), LowerError> {
    let mut refused = None;
    let visit = |node: &Expr| {
        refused = unsupported(node);
        Ok(match refused {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    };
    expr.apply(visit)
        .map_err(|error| LowerError::of_expression(expr, &error))?;
    match refused {
        None => Ok(()),
        Some((construct, reason)) => Err(LowerError::new(construct, reason).at(expr)),
    }
}

fn unsupported(expr: &Expr) -> Option<(String, String)> {
    let refused = |construct: &str, reason: &str| Some((construct.to_owned(), reason.to_owned()));
    match expr {
        Expr::ScalarSubquery(_) => refused(
            "scalar subquery",
            "this scalar subquery cannot be decorrelated",
        ),
        Expr::InSubquery(_) => refused("IN", "this IN subquery cannot be decorrelated"),
        Expr::Exists(_) => refused("EXISTS", "this EXISTS subquery cannot be decorrelated"),
        Expr::SetComparison(_) => {
            refused("ANY", "this quantified comparison cannot be decorrelated")
        }
        Expr::OuterReferenceColumn(_, column) => refused(
            "correlated subquery",
            &format!("the outer column {column} cannot be used here"),
        ),
        Expr::Placeholder(_) => refused("placeholder", "a view has no parameters"),
        Expr::ScalarVariable(..) => refused("variable", "a view has no variables"),
        Expr::ScalarFunction(function) => {
            let volatility = function.func.signature().volatility;
            let name = function.func.name().to_uppercase();
            (volatility != Volatility::Immutable).then(|| {
                let reason = format!("{name} changes with time, so no view can be kept up to date");
                (name, reason)
            })
        }
        _ => None,
    }
}

/// The array, as the type that was announced. Functions over lists and ROWs sometimes announce
/// other names or nullabilities of the parts than they return.
pub(crate) fn of_type(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef, DataFusionError> {
    if array.data_type() == data_type {
        return Ok(array);
    }
    Ok(arrow::compute::cast(&array, data_type)?)
}

/// What went wrong, without DataFusion's prefixes.
pub(crate) fn plain_message(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => plain_arrow_message(error),
        DataFusionError::Execution(message)
        | DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message) => message.clone(),
        other => other.strip_backtrace(),
    }
}

fn plain_arrow_message(error: &ArrowError) -> String {
    match error {
        ArrowError::CastError(message)
        | ArrowError::ComputeError(message)
        | ArrowError::ParseError(message)
        | ArrowError::InvalidArgumentError(message)
        | ArrowError::ArithmeticOverflow(message) => message.clone(),
        ArrowError::DivideByZero => "division by zero".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn evaluation_error(error: DataFusionError) -> EvaluationError {
    EvaluationError {
        message: plain_message(&error),
    }
}
