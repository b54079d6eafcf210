//! From a query's syntax tree to an optimized logical plan.
//!
//! Stages: [`guard`] refuses what would be wrong; [`syntax`] rewrites the tree where DataFusion's
//! planner lacks something; DataFusion plans; our rules repair that plan where it is wrong or
//! cannot be incremental (one file per rule); DataFusion analyzes and optimizes.
//!
//! What the lowering gets, beyond plain DataFusion plans:
//! - [`set_operation::AllSetOperation`] for `EXCEPT` and `INTERSECT`, with and without `ALL`;
//! - [`single_row::SingleRowCheck`] around subqueries that must have one row;
//! - never a null-aware join, and no subquery expressions.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, TableReference};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, TableSource};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Query, Statement};
use highwater_types::relation::SourcePosition;

use crate::catalog::{Catalog, CatalogRelation};
use crate::diagnostics::{ErrorKind, SqlError};
use crate::parser::statement::ViewStatement;

mod approximate;
mod context;
mod ctes;
pub(crate) mod guard;
mod in_subquery;
mod lateral_unnest;
mod mark_projection;
mod optimize;
mod output;
mod overflow;
mod scalar_subquery;
pub(crate) mod session;
pub(crate) mod set_operation;
pub(crate) mod single_row;
mod single_value;
pub(crate) mod syntax;

use context::QueryContext;
use guard::Purpose;

/// The plans of a view.
#[derive(Debug)]
pub(crate) struct PlannedView {
    /// Common table expressions that are used more than once: relations of their own, to be
    /// computed before the view and in this order.
    pub(crate) shared: Vec<(String, LogicalPlan)>,
    pub(crate) plan: LogicalPlan,
}

/// Why a view has no plan.
#[derive(Debug)]
pub(crate) enum PlanFailure {
    Errors(Vec<SqlError>),
    /// It uses a relation whose mistakes are reported already.
    UsesFailed,
}

/// Relations that only one view sees.
pub(crate) type SharedRelations = HashMap<String, Arc<CatalogRelation>>;

/// Plans queries over a catalog.
pub(crate) struct Planner<'a> {
    catalog: &'a Catalog,
    session: &'a SessionState,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(catalog: &'a Catalog, session: &'a SessionState) -> Self {
        Self { catalog, session }
    }

    /// Plans and optimizes a view.
    pub(crate) fn plan_view(&self, view: &ViewStatement) -> Result<PlannedView, PlanFailure> {
        let findings = guard::check(&view.query, self.catalog, self.session, Purpose::View);
        if !findings.errors.is_empty() {
            return Err(PlanFailure::Errors(findings.errors));
        }
        if findings.uses_failed {
            return Err(PlanFailure::UsesFailed);
        }
        let mut query = view.query.clone();
        syntax::rewrite_query(&mut query, self.catalog)
            .map_err(|error| PlanFailure::Errors(vec![error]))?;
        let (shared, relations) = ctes::share(self, &mut query, &view.name.value);
        let place = view.name.position;
        let plan = self
            .plan_query(*query, &relations)
            .and_then(|plan| output::view_columns(plan, view))
            .and_then(|plan| self.optimize(plan))
            .map_err(|error| PlanFailure::Errors(SqlError::from_datafusion(&error, place)))?;
        for plan in shared.iter().map(|(_, plan)| plan).chain([&plan]) {
            check_leftovers(plan, findings.subquery.unwrap_or(place))
                .map_err(|error| PlanFailure::Errors(vec![error]))?;
        }
        Ok(PlannedView { shared, plan })
    }

    /// Plans a query whose tree was checked and rewritten; types are resolved, nothing optimized.
    pub(crate) fn plan_query(
        &self,
        query: Query,
        shared: &SharedRelations,
    ) -> Result<LogicalPlan, DataFusionError> {
        let find = |name: &TableReference| -> Option<Arc<dyn TableSource>> {
            let shared = shared.get(name.table()).cloned();
            let relation = shared.or_else(|| self.catalog.resolve(name))?;
            Some(relation)
        };
        self.plan_over(query, &find)
    }

    fn plan_over(
        &self,
        query: Query,
        find_relation: &context::FindRelation<'_>,
    ) -> Result<LogicalPlan, DataFusionError> {
        let plan = self.context(find_relation, |planner| {
            planner.sql_statement_to_plan(Statement::Query(Box::new(query)))
        })?;
        let plan = optimize::analyze(repair(plan)?, self.session.config_options())?;
        overflow::check(&plan)?;
        Ok(plan)
    }

    fn optimize(&self, plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
        let plan = optimize::optimize(plan, self.session.config_options())?;
        single_row::insert_checks(plan, self.session)
    }

    /// Plans an expression over some columns.
    pub(crate) fn plan_expression(
        &self,
        expression: SqlExpr,
        schema: &DFSchema,
    ) -> Result<Expr, DataFusionError> {
        self.context(&|_| None, |planner| {
            planner.sql_to_expr(expression, schema, &mut PlannerContext::new())
        })
    }

    fn context<T>(
        &self,
        find_relation: &context::FindRelation<'_>,
        run: impl FnOnce(&SqlToRel<'_, QueryContext<'_>>) -> T,
    ) -> T {
        let context = QueryContext {
            session: self.session,
            types: Arc::clone(&self.catalog.types),
            find_relation,
        };
        run(&SqlToRel::new(&context))
    }
}

/// Plans an ad-hoc query whose tree was checked and rewritten, over any relations.
pub(crate) fn plan_ad_hoc(
    query: Query,
    catalog: &Catalog,
    session: &SessionState,
    find_relation: &context::FindRelation<'_>,
) -> Result<LogicalPlan, DataFusionError> {
    Planner::new(catalog, session).plan_over(query, find_relation)
}

/// Our rules, on the plan as DataFusion's planner made it.
pub(crate) fn repair(plan: LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    let plan = approximate::rewrite(plan)?;
    let plan = set_operation::rewrite(plan)?;
    let plan = lateral_unnest::rewrite(plan)?;
    let plan = in_subquery::rewrite(plan)?;
    scalar_subquery::rewrite(plan)
}

/// Refuses plans in which a subquery is left: no rule could make a join of it.
fn check_leftovers(plan: &LogicalPlan, place: SourcePosition) -> Result<(), SqlError> {
    let mut is_left = false;
    let result = plan.apply(|node| {
        is_left |= matches!(node, LogicalPlan::Subquery(_));
        node.apply_expressions(|expression| {
            is_left |= expression.exists(|part| {
                Ok(matches!(
                    part,
                    Expr::ScalarSubquery(_)
                        | Expr::Exists(_)
                        | Expr::InSubquery(_)
                        | Expr::SetComparison(_)
                        | Expr::OuterReferenceColumn(..)
                ))
            })?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if is_left {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    if let Err(error) = result {
        return Err(SqlError::new(ErrorKind::Planning, place, error.to_string()));
    }
    if is_left {
        let remedy = "only WHERE, HAVING and the select list may have subqueries, and a scalar \
                      subquery may refer to the outer query by equalities; write it as a join";
        return Err(SqlError::unsupported(place, "this subquery", remedy));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
