//! `EXCEPT` and `INTERSECT`, with and without `ALL`, as a node of their own.
//!
//! DataFusion plans them as anti and semi joins in which NULL equals NULL, which is wrong for
//! `ALL`: `{1, 1} EXCEPT ALL {1}` is `{1}`, not nothing. Its planner makes such joins for nothing
//! else, so they can be told apart. What it plans for the forms without `ALL` has a DISTINCT on the
//! left. A DISTINCT that the user wrote below `ALL` looks the same and means the same: over rows
//! that occur once, both forms give one answer.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, NullEquality, Result, plan_err,
};
use datafusion::logical_expr::{
    Distinct, Expr, Extension, Join, JoinType, LogicalPlan, LogicalPlanBuilder,
    UserDefinedLogicalNodeCore, cast,
};
use datafusion::optimizer::AnalyzerRule;
use datafusion::optimizer::analyzer::type_coercion::TypeCoercion;
use highwater_circuit::plan::SetOperation;

use crate::planner::approximate;

/// A set or bag operation over two inputs with the same types; its columns are named as the left
/// ones.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AllSetOperation {
    pub(crate) kind: Kind,
    pub(crate) left: Arc<LogicalPlan>,
    pub(crate) right: Arc<LogicalPlan>,
    schema: DFSchemaRef,
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Except,
    ExceptAll,
    Intersect,
    IntersectAll,
}

impl Kind {
    /// The operation of the circuit.
    pub(crate) fn operation(self) -> SetOperation {
        match self {
            Self::Except => SetOperation::Except,
            Self::ExceptAll => SetOperation::ExceptAll,
            Self::Intersect => SetOperation::Intersect,
            Self::IntersectAll => SetOperation::IntersectAll,
        }
    }

    fn is_intersection(self) -> bool {
        matches!(self, Self::Intersect | Self::IntersectAll)
    }
}

/// Replaces the joins that DataFusion's planner makes of these operations.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Join(join) => match kind_of(&join) {
            Some(kind) => Ok(Transformed::yes(set_operation(kind, join)?)),
            None => Ok(Transformed::no(LogicalPlan::Join(join))),
        },
        plan => Ok(Transformed::no(plan)),
    })?;
    Ok(rewritten.data)
}

fn kind_of(join: &Join) -> Option<Kind> {
    if join.null_equality != NullEquality::NullEqualsNull || join.filter.is_some() {
        return None;
    }
    let is_distinct = matches!(join.left.as_ref(), LogicalPlan::Distinct(Distinct::All(_)));
    match (join.join_type, is_distinct) {
        (JoinType::LeftAnti, true) => Some(Kind::Except),
        (JoinType::LeftAnti, false) => Some(Kind::ExceptAll),
        (JoinType::LeftSemi, true) => Some(Kind::Intersect),
        (JoinType::LeftSemi, false) => Some(Kind::IntersectAll),
        _ => None,
    }
}

fn set_operation(kind: Kind, join: Join) -> Result<LogicalPlan> {
    let left = match Arc::unwrap_or_clone(join.left) {
        LogicalPlan::Distinct(Distinct::All(input))
            if matches!(kind, Kind::Except | Kind::Intersect) =>
        {
            Arc::unwrap_or_clone(input)
        }
        left => left,
    };
    let right = Arc::unwrap_or_clone(join.right);
    // The types that the sides will have once casts are inserted.
    let options = ConfigOptions::default();
    let left_schema = Arc::clone(
        TypeCoercion::new()
            .analyze(left.clone(), &options)?
            .schema(),
    );
    let right_schema = Arc::clone(
        TypeCoercion::new()
            .analyze(right.clone(), &options)?
            .schema(),
    );
    let mut fields = Vec::with_capacity(left_schema.fields().len());
    for ((qualifier, left), right) in left_schema.iter().zip(right_schema.fields()) {
        let Some(data_type) = approximate::union_type(left.data_type(), right.data_type()) else {
            return plan_err!(
                "the column {:?} has the type {} on one side and {} on the other",
                left.name(),
                left.data_type(),
                right.data_type()
            );
        };
        let is_nullable = if kind.is_intersection() {
            left.is_nullable() && right.is_nullable()
        } else {
            left.is_nullable()
        };
        let field = Field::new(left.name(), data_type, is_nullable);
        fields.push((qualifier.cloned(), Arc::new(field)));
    }
    let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
    let left = conform(left, &left_schema, &schema)?;
    let right = conform(right, &right_schema, &schema)?;
    let node = AllSetOperation {
        kind,
        left: Arc::new(left),
        right: Arc::new(right),
        schema,
    };
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(node),
    }))
}

/// `plan` with the names and types of `target`; `schema` has its types after coercion.
fn conform(plan: LogicalPlan, schema: &DFSchema, target: &DFSchema) -> Result<LogicalPlan> {
    let is_same = |(column, expected): ((_, &Arc<Field>), (_, &Arc<Field>))| {
        column.0 == expected.0
            && column.1.name() == expected.1.name()
            && column.1.data_type() == expected.1.data_type()
    };
    if schema.iter().zip(target.iter()).all(is_same) {
        return Ok(plan);
    }
    let columns = schema
        .iter()
        .zip(target.iter())
        .map(|((qualifier, field), (name, expected))| {
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let data_type: &DataType = expected.data_type();
            let column = if field.data_type() == data_type {
                column
            } else {
                cast(column, data_type.clone())
            };
            column.alias_qualified(name.cloned(), expected.name())
        });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

impl PartialOrd for AllSetOperation {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let Self {
            kind,
            left,
            right,
            schema: _,
        } = self;
        (kind, left, right).partial_cmp(&(&other.kind, &other.left, &other.right))
    }
}

impl UserDefinedLogicalNodeCore for AllSetOperation {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Except => "Except",
            Kind::ExceptAll => "ExceptAll",
            Kind::Intersect => "Intersect",
            Kind::IntersectAll => "IntersectAll",
        }
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    /// A condition on equal rows may be tested on each side: the sides' columns have the same names.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }

    fn with_exprs_and_inputs(
        &self,
        _expressions: Vec<Expr>,
        inputs: Vec<LogicalPlan>,
    ) -> Result<Self> {
        let Ok([left, right]) = <[LogicalPlan; 2]>::try_from(inputs) else {
            return Err(DataFusionError::Internal(
                "a set operation has two inputs".to_owned(),
            ));
        };
        let schema = Arc::clone(&self.schema);
        Ok(Self {
            kind: self.kind,
            left: Arc::new(left),
            right: Arc::new(right),
            schema,
        })
    }
}
