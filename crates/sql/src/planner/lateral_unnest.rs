//! `FROM t, UNNEST(t.a) AS x(b)`: placeholder.
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan)
}
