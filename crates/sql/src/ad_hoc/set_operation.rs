//! Set operations for the batch engine, as joins in which NULL equals NULL.
//!
//! With `ALL`, equal rows are numbered on both sides, and the number is part of the key: so the
//! n-th copy on the left meets the n-th copy on the right.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, NullEquality, Result};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::{
    Expr, ExprFunctionExt, Join, JoinConstraint, JoinType, LogicalPlan, LogicalPlanBuilder,
};

use crate::planner::set_operation::{AllSetOperation, Kind};

const COPY: &str = "__copy";

/// Replaces the set operations of a plan.
pub(super) fn to_joins(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| {
        let LogicalPlan::Extension(extension) = &plan else {
            return Ok(Transformed::no(plan));
        };
        match extension.node.as_any().downcast_ref::<AllSetOperation>() {
            Some(operation) => Ok(Transformed::yes(to_join(operation)?)),
            None => Ok(Transformed::no(plan)),
        }
    })?;
    Ok(rewritten.data)
}

fn to_join(operation: &AllSetOperation) -> Result<LogicalPlan> {
    let left = operation.left.as_ref().clone();
    let right = operation.right.as_ref().clone();
    let (join_type, is_all) = match operation.kind {
        Kind::Except => (JoinType::LeftAnti, false),
        Kind::ExceptAll => (JoinType::LeftAnti, true),
        Kind::Intersect => (JoinType::LeftSemi, false),
        Kind::IntersectAll => (JoinType::LeftSemi, true),
    };
    let columns: Vec<Expr> = left
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let (left, right) = if is_all {
        (numbered(left)?, numbered(right)?)
    } else {
        (LogicalPlanBuilder::from(left).distinct()?.build()?, right)
    };
    let pairs = left
        .schema()
        .columns()
        .into_iter()
        .zip(right.schema().columns());
    let on = pairs
        .map(|(left, right)| (Expr::Column(left), Expr::Column(right)))
        .collect();
    let join = LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNull,
        false,
    )?);
    LogicalPlanBuilder::from(join).project(columns)?.build()
}

/// The rows with a number among their equals.
fn numbered(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns();
    let key = columns.iter().cloned().map(Expr::Column).collect();
    let number = row_number().partition_by(key).build()?;
    let plan = LogicalPlanBuilder::from(plan)
        .window(vec![number])?
        .build()?;
    let number = plan.schema().columns().into_iter().next_back();
    let number = number.unwrap_or_else(|| Column::from_name(COPY));
    let columns = columns.into_iter().map(Expr::Column);
    let columns = columns
        .chain([Expr::Column(number).alias(COPY)])
        .collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
