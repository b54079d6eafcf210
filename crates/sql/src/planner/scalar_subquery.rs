//! Scalar subqueries that may have more than one row get the aggregate [`SINGLE_VALUE`], which is
//! an error then.
//!
//! DataFusion's join for such a subquery would repeat the outer row once per row of the subquery.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::logical_plan::FetchType;
use datafusion::logical_expr::{AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, Subquery};

use crate::planner::single_value::SingleValue;

/// Wraps the scalar subqueries of a plan that need it.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        plan.map_expressions(|expression| {
            expression.transform_up(|part| match part {
                Expr::ScalarSubquery(subquery) if !has_one_row(&subquery.subquery) => Ok(
                    Transformed::yes(Expr::ScalarSubquery(single_value(subquery)?)),
                ),
                part => Ok(Transformed::no(part)),
            })
        })
    })?;
    Ok(rewritten.data)
}

/// Is it certain that the plan has at most one row?
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Limit(limit) => {
            matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(0 | 1))))
                || has_one_row(&limit.input)
        }
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Sort(sort) => has_one_row(&sort.input),
        LogicalPlan::Filter(filter) => has_one_row(&filter.input),
        LogicalPlan::Window(window) => has_one_row(&window.input),
        LogicalPlan::Distinct(distinct) => has_one_row(distinct.input()),
        _ => false,
    }
}

fn single_value(subquery: Subquery) -> Result<Subquery> {
    let Subquery {
        subquery: plan,
        outer_ref_columns,
        spans,
    } = subquery;
    let columns = plan.schema().columns();
    let value = columns
        .into_iter()
        .next()
        .map_or(Expr::Literal(ScalarValue::Null, None), Expr::Column);
    let call = AggregateUDF::from(SingleValue::new()).call(vec![value]);
    let plan = LogicalPlanBuilder::from(Arc::unwrap_or_clone(plan))
        .aggregate(Vec::<Expr>::new(), vec![call])?
        .build()?;
    let result = plan.schema().columns().into_iter().map(Expr::Column);
    let plan = LogicalPlanBuilder::from(plan.clone())
        .project(result)?
        .build()?;
    Ok(Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns,
        spans,
    })
}
