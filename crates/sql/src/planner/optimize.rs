//! Runs DataFusion's analyzer and the part of its optimizer that suits an incremental engine.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerContext, OptimizerRule};

use crate::planner::mark_projection::MarkProjection;

pub(crate) type Rules = Vec<Arc<dyn OptimizerRule + Send + Sync>>;

/// Rules that assume a batch, and why they are left out.
const DROPPED_RULES: &[(&str, &str)] = &[
    (
        "replace_distinct_aggregate",
        "DISTINCT has its own operator, DISTINCT ON is a top-1",
    ),
    (
        "eliminate_join",
        "a semi join counts per row what an inner join with one row has for free",
    ),
    (
        "push_down_limit",
        "one pattern, Limit over Sort, is a TopK; copies of it below are state",
    ),
    (
        "unions_to_filter",
        "reads its input once for what is read once anyhow",
    ),
    (
        "single_distinct_aggregation_to_group_by",
        "distinct arguments have one lowering for all",
    ),
    ("extract_leaf_expressions", "prunes Parquet structs"),
    ("push_down_leaf_projections", "prunes Parquet structs"),
];

/// Resolves types, inserting casts.
pub(crate) fn analyze(plan: LogicalPlan, options: &ConfigOptions) -> Result<LogicalPlan> {
    Analyzer::new().execute_and_check(plan, options, |_, _| {})
}

/// Optimizes the plan of a view.
pub(crate) fn optimize(plan: LogicalPlan, options: &Arc<ConfigOptions>) -> Result<LogicalPlan> {
    // Without a start time, `now()` is no constant (and refused elsewhere).
    let context = OptimizerContext::new_with_config_options(Arc::clone(options))
        .without_query_execution_start_time();
    Optimizer::with_rules(rules()).optimize(plan, &context, |_, _| {})
}

/// DataFusion's rules without the dropped ones.
fn rules() -> Rules {
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| DROPPED_RULES.iter().all(|(name, _)| *name != rule.name()));
    with_mark_projection(rules)
}

/// The rules, and ours for subqueries in the select list where it belongs.
pub(crate) fn with_mark_projection(mut rules: Rules) -> Rules {
    let after = rules
        .iter()
        .position(|rule| rule.name() == "rewrite_set_comparison");
    rules.insert(after.map_or(0, |index| index + 1), Arc::new(MarkProjection));
    rules
}
