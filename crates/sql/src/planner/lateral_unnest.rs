//! `FROM t, UNNEST(t.list) AS x(element)`: one row per element of the row's own list.
//!
//! DataFusion plans it as a join with a subquery that reads the list from the outer row, which none
//! of its rules resolves:
//!
//! ```text
//! Join { left, SubqueryAlias { Subquery { Projection … { Unnest { Projection { EmptyRelation } } } } } }
//! ```
//!
//! Here the chain of nodes is rebuilt on top of `left`, each node passing the left columns on.
//! `LEFT JOIN UNNEST(…) ON TRUE` keeps rows without elements, with one NULL.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, NullHandling, Result, TableReference};
use datafusion::logical_expr::{
    Expr, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Projection, Unnest, lit,
};

/// Rewrites such joins anywhere in a plan.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Join(join) = plan else {
            return Ok(Transformed::no(plan));
        };
        match unnested(&join)? {
            Some(unnested) => Ok(Transformed::yes(unnested)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        }
    })?;
    Ok(rewritten.data)
}

/// The join as a chain over its left input, if it is one with an unnested list.
fn unnested(join: &Join) -> Result<Option<LogicalPlan>> {
    let is_true = |filter: &Expr| *filter == lit(true);
    let is_outer = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left if join.filter.as_ref().is_none_or(is_true) => true,
        _ => return Ok(None),
    };
    let (alias, subquery) = match join.right.as_ref() {
        LogicalPlan::SubqueryAlias(alias) => (Some(&alias.alias), alias.input.as_ref()),
        other => (None, other),
    };
    let LogicalPlan::Subquery(subquery) = subquery else {
        return Ok(None);
    };
    if !join.on.is_empty() {
        return Ok(None);
    }
    let chain = Chain {
        left: &join.left,
        is_outer,
    };
    let Some(plan) = chain.rebuild(&subquery.subquery)? else {
        return Ok(None);
    };
    let plan = with_alias(plan, &join.left, alias)?;
    match &join.filter {
        Some(filter) if !is_true(filter) => {
            let plan = LogicalPlanBuilder::from(plan).filter(filter.clone())?;
            plan.build().map(Some)
        }
        _ => Ok(Some(plan)),
    }
}

struct Chain<'a> {
    left: &'a Arc<LogicalPlan>,
    is_outer: bool,
}

impl Chain<'_> {
    /// The same nodes over the left input; nothing if there are other nodes.
    fn rebuild(&self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        match plan {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Ok(Some(self.left.as_ref().clone()))
            }
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.rebuild(&projection.input)? else {
                    return Ok(None);
                };
                self.project(projection, input)
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = self.rebuild(&unnest.input)? else {
                    return Ok(None);
                };
                self.unnest(unnest, input)
            }
            _ => Ok(None),
        }
    }

    fn project(&self, projection: &Projection, input: LogicalPlan) -> Result<Option<LogicalPlan>> {
        let mut expressions = columns(self.left);
        for expression in &projection.expr {
            let name = expression.schema_name().to_string();
            let Some(expression) = self.inner_references(expression)? else {
                return Ok(None);
            };
            expressions.push(expression.alias(name));
        }
        let plan = LogicalPlanBuilder::from(input).project(expressions)?;
        plan.build().map(Some)
    }

    /// Columns of the outer row are now columns of the input; nothing if they are from further out.
    fn inner_references(&self, expression: &Expr) -> Result<Option<Expr>> {
        let mut is_further_out = false;
        let rewritten = expression
            .clone()
            .unalias()
            .transform_up(|part| match part {
                Expr::OuterReferenceColumn(_, column) => {
                    is_further_out |= self.left.schema().field_from_column(&column).is_err();
                    Ok(Transformed::yes(Expr::Column(column)))
                }
                part => Ok(Transformed::no(part)),
            })?;
        Ok((!is_further_out).then_some(rewritten.data))
    }

    fn unnest(&self, unnest: &Unnest, input: LogicalPlan) -> Result<Option<LogicalPlan>> {
        let null_handling = if self.is_outer {
            NullHandling::PreserveAndExpandEmpty
        } else {
            NullHandling::Drop
        };
        let options = unnest.options.clone().with_null_handling(null_handling);
        let plan = LogicalPlanBuilder::from(input)
            .unnest_columns_with_options(unnest.exec_columns.clone(), options)?;
        plan.build().map(Some)
    }
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    let columns = plan.schema().columns().into_iter();
    columns.map(Expr::Column).collect()
}

/// Qualifies the columns after the left ones with the alias of the list.
fn with_alias(
    plan: LogicalPlan,
    left: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<LogicalPlan> {
    let left_width = left.schema().fields().len();
    let all = plan.schema().columns().into_iter().enumerate();
    let expressions: Vec<Expr> = all
        .map(|(index, column)| {
            let Column { name, .. } = column.clone();
            let column = Expr::Column(column);
            if index < left_width {
                column
            } else {
                column.alias_qualified(alias.cloned(), name)
            }
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(expressions)?.build()
}
