//! The check that a scalar subquery has one row, as a node of its own.
//!
//! Until the optimizer is done, it is the aggregate [`SINGLE_VALUE`]: DataFusion knows how to
//! decorrelate aggregates. Then each such aggregate becomes the check over the rows.
//!
//! Known limitation: the check of a correlated subquery looks at all keys, also at those that no
//! outer row asks for.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, LogicalPlan, LogicalPlanBuilder, Projection,
    UserDefinedLogicalNodeCore,
};

use crate::planner::single_value::SINGLE_VALUE;

/// Passes its input on, and fails if two rows agree in the key columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SingleRowCheck {
    pub(crate) input: Arc<LogicalPlan>,
    /// Positions of the key's columns; empty: at most one row at all.
    pub(crate) key: Vec<usize>,
}

/// Replaces the aggregates in an optimized plan.
pub(crate) fn insert_checks(plan: LogicalPlan, session: &SessionState) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_single_value) => {
            Ok(Transformed::yes(checked(aggregate, session)?))
        }
        plan => Ok(Transformed::no(plan)),
    })?;
    Ok(rewritten.data)
}

fn is_single_value(expression: &Expr) -> bool {
    argument(expression).is_some()
}

/// The argument of the aggregate, if it is ours.
fn argument(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Alias(alias) => argument(&alias.expr),
        Expr::AggregateFunction(call) if call.func.name() == SINGLE_VALUE => {
            call.params.args.first()
        }
        _ => None,
    }
}

fn checked(aggregate: Aggregate, session: &SessionState) -> Result<LogicalPlan> {
    let Aggregate {
        input,
        group_expr,
        aggr_expr,
        schema,
        ..
    } = aggregate;
    let values: Option<Vec<Expr>> = aggr_expr
        .iter()
        .map(|expression| argument(expression).cloned())
        .collect();
    let Some(values) = values else {
        return Err(DataFusionError::NotImplemented(
            "a scalar subquery merged with an aggregate".to_owned(),
        ));
    };
    // The rows: key columns, then values, under the names that the aggregate gives them.
    let names = schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()));
    let rows = group_expr.iter().cloned().chain(values).zip(names);
    let rows: Vec<Expr> = rows
        .map(|(row, (qualifier, name))| row.alias_qualified(qualifier, name))
        .collect();
    let input = LogicalPlanBuilder::from(input).project(rows)?.build()?;
    let check = SingleRowCheck {
        input: Arc::new(input),
        key: (0..group_expr.len()).collect(),
    };
    let check = LogicalPlan::Extension(Extension {
        node: Arc::new(check),
    });
    if group_expr.is_empty() {
        first_or_null(check, schema, session)
    } else {
        Ok(check)
    }
}

/// One row: the input's only one, or NULLs.
fn first_or_null(
    input: LogicalPlan,
    schema: DFSchemaRef,
    session: &SessionState,
) -> Result<LogicalPlan> {
    let Some(first) = session.aggregate_functions().get("first_value") else {
        return Err(DataFusionError::Internal(
            "there is no first_value".to_owned(),
        ));
    };
    let columns: Vec<Expr> = input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let calls: Vec<Expr> = columns
        .into_iter()
        .map(|column| first.call(vec![column]))
        .collect();
    let aggregated = LogicalPlanBuilder::from(input)
        .aggregate(Vec::<Expr>::new(), calls)?
        .build()?;
    let names = schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.name().clone()));
    let columns = aggregated.schema().columns().into_iter().zip(names);
    let columns = columns
        .map(|(column, (qualifier, name))| Expr::Column(column).alias_qualified(qualifier, name))
        .collect();
    Projection::try_new_with_schema(columns, Arc::new(aggregated), schema)
        .map(LogicalPlan::Projection)
}

impl PartialOrd for SingleRowCheck {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let Self { input, key } = self;
        (key, input).partial_cmp(&(&other.key, &other.input))
    }
}

impl UserDefinedLogicalNodeCore for SingleRowCheck {
    fn name(&self) -> &str {
        "SingleRowCheck"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.input.schema().columns();
        let key: Vec<String> = self
            .key
            .iter()
            .filter_map(|index| columns.get(*index))
            .map(Column::flat_name)
            .collect();
        write!(formatter, "SingleRowCheck: key=[{}]", key.join(", "))
    }

    fn with_exprs_and_inputs(
        &self,
        _expressions: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        match (inputs.pop(), inputs.is_empty()) {
            (Some(input), true) => Ok(Self {
                input: Arc::new(input),
                key: self.key.clone(),
            }),
            _ => Err(DataFusionError::Internal(
                "a single row check has one input".to_owned(),
            )),
        }
    }
}
