//! DECIMAL and DOUBLE together are DOUBLE, as in the SQL standard: what is approximate stays so.
//!
//! Where the two are compared or become one column, DataFusion would make DECIMAL(30, 15) of both. A
//! double that has no place there (1e15, infinity, NaN) is then an error, and an error ends a pipeline.
//! So decimals are cast before DataFusion's own rule sees them.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::expr_schema::cast_subquery;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, Union, cast,
};

/// Functions whose arguments get one type.
const UNITING_FUNCTIONS: &[&str] = &[
    "coalesce",
    "greatest",
    "ifnull",
    "least",
    "make_array",
    "nullif",
    "nvl",
];

/// Casts decimals that meet doubles.
///
/// # Errors
/// If DataFusion cannot describe a node of the plan.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(rewrite_node)
        .map(|transformed| transformed.data)
}

/// The type of a column that has values of both types.
pub(crate) fn union_type(left: &DataType, right: &DataType) -> Option<DataType> {
    let is_mixed =
        (left.is_floating() && right.is_decimal()) || (left.is_decimal() && right.is_floating());
    match is_mixed {
        true => Some(DataType::Float64),
        false => type_union_coercion(left, right),
    }
}

fn rewrite_node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let names = NamePreserver::new(&plan);
    let rewritten = plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let rewritten = expression.transform_up(|part| rewrite_expression(part, &schema))?;
        Ok(rewritten.update_data(|expression| name.restore(expression)))
    })?;
    let rewritten = rewritten.map_data(|plan| match plan {
        LogicalPlan::Union(union) => rewrite_union(union),
        LogicalPlan::Join(mut join) => {
            for (left, right) in &mut join.on {
                cast_decimals(&mut [left, right], &schema);
            }
            Ok(LogicalPlan::Join(join))
        }
        plan => Ok(plan),
    })?;
    // Below it, types may have changed.
    rewritten.map_data(LogicalPlan::recompute_schema)
}

fn rewrite_expression(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut expression = expression;
    let is_cast = match &mut expression {
        Expr::BinaryExpr(binary) if is_comparison(binary.op) => {
            cast_decimals(&mut [&mut binary.left, &mut binary.right], schema)
        }
        Expr::Between(between) => {
            let parts = &mut [&mut *between.expr, &mut between.low, &mut between.high];
            cast_decimals(parts, schema)
        }
        Expr::InList(list) => {
            let parts = std::iter::once(&mut *list.expr).chain(&mut list.list);
            cast_decimals(&mut parts.collect::<Vec<_>>(), schema)
        }
        Expr::Case(case) => {
            let mut compared: Vec<&mut Expr> = Vec::new();
            let mut results: Vec<&mut Expr> = Vec::new();
            for (when, then) in &mut case.when_then_expr {
                compared.push(when);
                results.push(then);
            }
            compared.extend(case.expr.as_deref_mut());
            results.extend(case.else_expr.as_deref_mut());
            let is_cast = cast_decimals(&mut compared, schema);
            cast_decimals(&mut results, schema) || is_cast
        }
        Expr::ScalarFunction(call) if UNITING_FUNCTIONS.contains(&call.func.name()) => {
            cast_decimals(&mut call.args.iter_mut().collect::<Vec<_>>(), schema)
        }
        Expr::InSubquery(query) => cast_in_subquery(query, schema)?,
        _ => false,
    };
    Ok(match is_cast {
        true => Transformed::yes(expression),
        false => Transformed::no(expression),
    })
}

fn is_comparison(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// Casts those that are decimals if others are floats; says whether there were some.
fn cast_decimals(expressions: &mut [&mut Expr], schema: &DFSchema) -> bool {
    // What has no type yet is for the analyzer to refuse.
    let types = expressions.iter().map(|part| part.get_type(schema).ok());
    let types: Vec<Option<DataType>> = types.collect();
    let is_any = |is_kind: fn(&DataType) -> bool| types.iter().flatten().any(is_kind);
    if !is_any(DataType::is_floating) || !is_any(DataType::is_decimal) {
        return false;
    }
    for (expression, data_type) in expressions.iter_mut().zip(&types) {
        if data_type.as_ref().is_some_and(DataType::is_decimal) {
            **expression = cast(std::mem::take(*expression), DataType::Float64);
        }
    }
    true
}

fn cast_in_subquery(query: &mut InSubquery, schema: &DFSchema) -> Result<bool> {
    let Ok(left) = query.expr.get_type(schema) else {
        return Ok(false);
    };
    let right = query
        .subquery
        .subquery
        .schema()
        .field(0)
        .data_type()
        .clone();
    if left.is_decimal() && right.is_floating() {
        *query.expr = cast(std::mem::take(&mut *query.expr), DataType::Float64);
        return Ok(true);
    }
    if left.is_floating() && right.is_decimal() {
        query.subquery = cast_subquery(query.subquery.clone(), &DataType::Float64)?;
        return Ok(true);
    }
    Ok(false)
}

fn rewrite_union(union: Union) -> Result<LogicalPlan> {
    let mut inputs = union.inputs;
    let columns = union.schema.fields().len();
    let is_mixed = |column: usize| {
        let types = || {
            let fields = inputs.iter().map(|input| input.schema().field(column));
            fields.map(|field| field.data_type())
        };
        types().any(DataType::is_floating) && types().any(DataType::is_decimal)
    };
    let mixed: Vec<bool> = (0..columns).map(is_mixed).collect();
    if mixed.contains(&true) {
        for input in &mut inputs {
            let fields = input.schema().iter().zip(&mixed);
            let columns = fields.map(|((qualifier, field), is_mixed)| {
                let column = Expr::from((qualifier, field));
                match *is_mixed && field.data_type().is_decimal() {
                    true => cast(column, DataType::Float64)
                        .alias_qualified(qualifier.cloned(), field.name()),
                    false => column,
                }
            });
            let columns: Vec<Expr> = columns.collect();
            let projected = LogicalPlanBuilder::from(Arc::clone(input)).project(columns)?;
            *input = Arc::new(projected.build()?);
        }
    }
    Union::try_new_with_loose_types(inputs).map(LogicalPlan::Union)
}
