//! `IN`, `NOT IN`, `= ANY` and `<> ALL` over a subquery, with SQL's three truth values.
//!
//! As a conjunct of a filter, NULL counts as false:
//! - `x IN S` stays: DataFusion makes a semi join of it;
//! - `x NOT IN S` becomes `NOT EXISTS (S where y = x)` and `NOT EXISTS (S where y IS NULL)` and
//!   `(x IS NOT NULL or NOT EXISTS S)`, of which the last two fall away for columns without NULL.
//!   DataFusion would make a null-aware anti join of it, which has no key to arrange by.
//!
//! Elsewhere DataFusion would use a mark join, which has only two truth values. There, `x IN S`
//! becomes `EXISTS (S where y = x)
//! OR (EXISTS (S where y IS NULL) OR x IS NULL AND EXISTS S) AND NULL`.
//! The subquery's column gets a name of its own, since the decorrelation goes by name: in
//! `SELECT x FROM t WHERE … x NOT IN (SELECT x FROM t)`, inner and outer column are both `t.x`.
//!
//! All joins that come of it are on equalities.

use std::sync::Arc;

use datafusion::common::alias::AliasGenerator;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::utils::{conjunction, merge_schema, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, ExprSchemable, Filter, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, lit,
};

/// Rewrites all of a plan.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let names = AliasGenerator::new();
    let rewritten = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Filter(filter) => {
            let schema = Arc::clone(filter.input.schema());
            let mut conjuncts = Vec::new();
            for conjunct in split_conjunction_owned(filter.predicate) {
                conjuncts.extend(rewrite_conjunct(conjunct, &schema, &names)?);
            }
            let predicate = conjunction(conjuncts).unwrap_or_else(|| lit(true));
            Ok(Transformed::yes(LogicalPlan::Filter(Filter::try_new(
                predicate,
                filter.input,
            )?)))
        }
        plan => {
            let schema = merge_schema(&plan.inputs());
            plan.map_expressions(|expression| rewrite_embedded(expression, &schema, &names))
        }
    })?;
    Ok(rewritten.data)
}

/// The `IN` that an expression is, if it is one.
fn as_membership(expression: Expr) -> Result<InSubquery, Expr> {
    match expression {
        Expr::InSubquery(membership) => Ok(membership),
        Expr::Not(inner) if matches!(*inner, Expr::InSubquery(_)) => {
            as_membership(*inner).map(negate)
        }
        Expr::SetComparison(SetComparison {
            expr,
            subquery,
            op,
            quantifier,
        }) => match (op, quantifier) {
            (Operator::Eq, SetQuantifier::Any) => Ok(InSubquery::new(expr, subquery, false)),
            (Operator::NotEq, SetQuantifier::All) => Ok(InSubquery::new(expr, subquery, true)),
            (op, quantifier) => Err(Expr::SetComparison(SetComparison {
                expr,
                subquery,
                op,
                quantifier,
            })),
        },
        other => Err(other),
    }
}

fn negate(membership: InSubquery) -> InSubquery {
    InSubquery {
        negated: !membership.negated,
        ..membership
    }
}

fn rewrite_conjunct(
    conjunct: Expr,
    schema: &DFSchema,
    names: &AliasGenerator,
) -> Result<Vec<Expr>> {
    match as_membership(conjunct) {
        Ok(membership) if membership.negated => not_in_conjuncts(membership, schema, names),
        Ok(membership) => Ok(vec![Expr::InSubquery(membership)]),
        Err(other) => Ok(vec![rewrite_embedded(other, schema, names)?.data]),
    }
}

fn rewrite_embedded(
    expression: Expr,
    schema: &DFSchema,
    names: &AliasGenerator,
) -> Result<Transformed<Expr>> {
    expression.transform_up(|part| match as_membership(part) {
        Ok(membership) => three_valued(membership, schema, names).map(Transformed::yes),
        Err(Expr::SetComparison(comparison)) => {
            let (subquery, _) = with_own_name(comparison.subquery, names)?;
            let comparison = SetComparison {
                subquery,
                ..comparison
            };
            Ok(Transformed::yes(Expr::SetComparison(comparison)))
        }
        Err(other) => Ok(Transformed::no(other)),
    })
}

/// The subquery with its column renamed, and that column.
fn with_own_name(subquery: Subquery, names: &AliasGenerator) -> Result<(Subquery, Expr)> {
    let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
    let element = Expr::Column(Column::new(qualifier.cloned(), field.name()));
    let name = names.next("__element");
    let plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone())
        .project([element.alias(&name)])?
        .build()?;
    let subquery = Subquery {
        subquery: Arc::new(plan),
        ..subquery
    };
    Ok((subquery, Expr::Column(Column::new_unqualified(name))))
}

/// The parts that all forms are made of.
struct Parts {
    is_match: Expr,
    /// Is there a NULL in the subquery? Nothing if there cannot be.
    has_null: Option<Expr>,
    /// Is the value NULL? Nothing if it cannot be.
    value_is_null: Option<Expr>,
    is_not_empty: Expr,
}

fn parts(membership: &InSubquery, schema: &DFSchema, names: &AliasGenerator) -> Result<Parts> {
    let value = &membership.expr;
    let is_nullable = membership.subquery.subquery.schema().field(0).is_nullable();
    let (subquery, element) = with_own_name(membership.subquery.clone(), names)?;
    let subquery = &subquery;
    let outer_value = outer_references(value.as_ref().clone(), schema)?;
    let has_null = if is_nullable {
        Some(exists(
            subquery,
            Some(Expr::IsNull(Box::new(element.clone()))),
        )?)
    } else {
        None
    };
    let value_is_null = if value.nullable(schema).unwrap_or(true) {
        Some(Expr::IsNull(value.clone()))
    } else {
        None
    };
    Ok(Parts {
        is_match: exists(subquery, Some(element.eq(outer_value)))?,
        has_null,
        value_is_null,
        is_not_empty: exists(subquery, None)?,
    })
}

fn not_in_conjuncts(
    membership: InSubquery,
    schema: &DFSchema,
    names: &AliasGenerator,
) -> Result<Vec<Expr>> {
    let parts = parts(&membership, schema, names)?;
    let mut conjuncts = vec![negated(parts.is_match)];
    conjuncts.extend(parts.has_null.map(negated));
    if let Some(is_null) = parts.value_is_null {
        let is_not_null = Expr::Not(Box::new(is_null));
        conjuncts.push(is_not_null.or(negated(parts.is_not_empty)));
    }
    Ok(conjuncts)
}

fn three_valued(membership: InSubquery, schema: &DFSchema, names: &AliasGenerator) -> Result<Expr> {
    let parts = parts(&membership, schema, names)?;
    let empty_guard = parts
        .value_is_null
        .map(|is_null| is_null.and(parts.is_not_empty));
    let is_unknown = match (parts.has_null, empty_guard) {
        (Some(left), Some(right)) => Some(left.or(right)),
        (left, right) => left.or(right),
    };
    let is_in = match is_unknown {
        None => parts.is_match,
        Some(is_unknown) => {
            let unknown = Expr::Literal(ScalarValue::Boolean(None), None);
            parts.is_match.or(is_unknown.and(unknown))
        }
    };
    Ok(if membership.negated {
        Expr::Not(Box::new(is_in))
    } else {
        is_in
    })
}

fn negated(exists: Expr) -> Expr {
    match exists {
        Expr::Exists(Exists { subquery, negated }) => Expr::Exists(Exists {
            subquery,
            negated: !negated,
        }),
        other => Expr::Not(Box::new(other)),
    }
}

/// `EXISTS (subquery where condition)`.
fn exists(subquery: &Subquery, condition: Option<Expr>) -> Result<Expr> {
    let mut plan = LogicalPlanBuilder::from(subquery.subquery.as_ref().clone());
    if let Some(condition) = condition {
        plan = plan.filter(condition)?;
    }
    let plan = plan.build()?;
    let outer_ref_columns = plan.all_out_ref_exprs();
    let spans = subquery.spans.clone();
    let subquery = Subquery {
        subquery: Arc::new(plan),
        outer_ref_columns,
        spans,
    };
    Ok(Expr::Exists(Exists {
        subquery,
        negated: false,
    }))
}

/// An expression over the outer query, as seen from inside the subquery.
fn outer_references(expression: Expr, schema: &DFSchema) -> Result<Expr> {
    let rewritten = expression.transform_up(|part| match part {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        part => Ok(Transformed::no(part)),
    })?;
    Ok(rewritten.data)
}
