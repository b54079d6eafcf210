//! `EXISTS` in a select list: DataFusion turns it into a join only below a filter.
//!
//! The predicate is put into a filter, DataFusion's rule makes a mark join of it, and the
//! projection then reads the mark from the join, without the filter.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};
use datafusion::optimizer::decorrelate_predicate_subquery::DecorrelatePredicateSubquery;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct MarkProjection;

impl OptimizerRule for MarkProjection {
    fn name(&self) -> &str {
        "mark_projection"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let plan = plan
            .map_subqueries(|subquery| subquery.transform_up(|plan| self.rewrite(plan, config)))?
            .data;
        let LogicalPlan::Projection(projection) = plan else {
            return Ok(Transformed::no(plan));
        };
        let predicates = subquery_predicates(&projection.expr)?;
        if predicates.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let mut input = Arc::unwrap_or_clone(projection.input);
        let mut marks = Vec::with_capacity(predicates.len());
        for predicate in predicates {
            let Some((joined, mark)) = mark_join(&input, &predicate, config)? else {
                continue;
            };
            input = joined;
            marks.push((predicate, mark));
        }
        let expressions = projection
            .expr
            .into_iter()
            .map(|expression| replace(expression, &marks));
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        let projection =
            Projection::try_new_with_schema(expressions, Arc::new(input), projection.schema)?;
        Ok(Transformed::yes(LogicalPlan::Projection(projection)))
    }
}

/// The different `EXISTS` and `IN` of some expressions.
fn subquery_predicates(expressions: &[Expr]) -> Result<Vec<Expr>> {
    let mut found: Vec<Expr> = Vec::new();
    for expression in expressions {
        expression.apply(|part| {
            if matches!(part, Expr::Exists(_) | Expr::InSubquery(_)) {
                if !found.contains(part) {
                    found.push(part.clone());
                }
                return Ok(TreeNodeRecursion::Jump);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(found)
}

/// `input` with a column that says whether `predicate` holds; nothing if that cannot be done.
fn mark_join(
    input: &LogicalPlan,
    predicate: &Expr,
    config: &dyn OptimizerConfig,
) -> Result<Option<(LogicalPlan, Expr)>> {
    // Inside `IS TRUE` it is no conjunct of its own, so it gets a mark and not a semi join.
    let condition = Expr::IsTrue(Box::new(predicate.clone()));
    let filter = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(input.clone()))?);
    let rewritten = DecorrelatePredicateSubquery::new()
        .rewrite(filter, config)?
        .data;
    let LogicalPlan::Projection(projection) = rewritten else {
        return Ok(None);
    };
    let LogicalPlan::Filter(filter) = projection.input.as_ref() else {
        return Ok(None);
    };
    match &filter.predicate {
        Expr::IsTrue(mark) => Ok(Some((filter.input.as_ref().clone(), mark.as_ref().clone()))),
        _ => Ok(None),
    }
}

/// The expression with marks for predicates, under its old name.
fn replace(expression: Expr, marks: &[(Expr, Expr)]) -> Result<Expr> {
    let old_name = expression.qualified_name();
    let replaced = expression.transform_down(|part| {
        match marks.iter().find(|(predicate, _)| *predicate == part) {
            Some((_, mark)) => Ok(Transformed::new(
                mark.clone(),
                true,
                TreeNodeRecursion::Jump,
            )),
            None => Ok(Transformed::no(part)),
        }
    })?;
    if !replaced.transformed || replaced.data.qualified_name() == old_name {
        return Ok(replaced.data);
    }
    Ok(replaced.data.alias_qualified(old_name.0, old_name.1))
}
