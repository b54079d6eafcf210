//! `(a, b) IN (SELECT x, y …)`, which DataFusion does not plan.
//!
//! As a conjunct of `WHERE` or `HAVING`, where NULL counts as false, it is
//! `EXISTS (SELECT 1 FROM (SELECT x, y …) AS s(c1, c2) WHERE c1 = a AND c2 = b)`. Elsewhere, with
//! `m` for that condition,
//! `EXISTS (… WHERE m) OR EXISTS (… WHERE m IS NULL) AND NULL`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor, TableWithJoins, UnaryOperator, Value, VisitorMut,
};
use highwater_types::relation::SourcePosition;

use crate::diagnostics::{ErrorKind, SqlError, SqlResult};
use crate::planner::syntax::select;

/// Rewrites conjuncts of `WHERE` and `HAVING`.
pub(crate) struct Conjuncts;

impl VisitorMut for Conjuncts {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for condition in [&mut select.selection, &mut select.having]
            .into_iter()
            .flatten()
        {
            rewrite_conjuncts(condition);
        }
        ControlFlow::Continue(())
    }
}

fn rewrite_conjuncts(condition: &mut Expr) {
    match condition {
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And,
            right,
        } => {
            rewrite_conjuncts(left);
            rewrite_conjuncts(right);
        }
        Expr::Nested(inner) => rewrite_conjuncts(inner),
        Expr::InSubquery {
            expr,
            subquery,
            negated: false,
        } => {
            if let Expr::Tuple(parts) = expr.as_ref()
                && width(subquery) == Some(parts.len())
            {
                *condition = exists(subquery, matches(parts), parts.len());
            }
        }
        _ => {}
    }
}

/// The condition anywhere, with all three truth values.
pub(crate) fn three_valued(
    parts: &[Expr],
    subquery: &Query,
    negated: bool,
    place: SourcePosition,
) -> SqlResult<Expr> {
    if let Some(width) = width(subquery)
        && width != parts.len()
    {
        let message = format!(
            "{} values are compared with a subquery of {width} columns",
            parts.len()
        );
        return Err(SqlError::new(ErrorKind::Planning, place, message));
    }
    let is_null = Expr::IsNull(Box::new(Expr::Nested(Box::new(matches(parts)))));
    let binary = |left: Expr, op: BinaryOperator, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op,
        right: Box::new(right),
    };
    let is_unknown = binary(
        exists(subquery, is_null, parts.len()),
        BinaryOperator::And,
        Expr::value(Value::Null),
    );
    let is_match = exists(subquery, matches(parts), parts.len());
    let is_in = Expr::Nested(Box::new(binary(is_match, BinaryOperator::Or, is_unknown)));
    Ok(if negated {
        Expr::UnaryOp {
            op: UnaryOperator::Not,
            expr: Box::new(is_in),
        }
    } else {
        is_in
    })
}

/// Number of columns, if the select list says it.
fn width(query: &Query) -> Option<usize> {
    let SetExpr::Select(select) = query.body.as_ref() else {
        return None;
    };
    let is_single = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    select
        .projection
        .iter()
        .all(is_single)
        .then_some(select.projection.len())
}

const ALIAS: &str = "__in";

fn column(index: usize) -> Ident {
    Ident::new(format!("__c{index}"))
}

/// `c0 = a AND c1 = b`.
fn matches(parts: &[Expr]) -> Expr {
    let equal = |(index, part): (usize, &Expr)| Expr::BinaryOp {
        left: Box::new(Expr::CompoundIdentifier(vec![
            Ident::new(ALIAS),
            column(index),
        ])),
        op: BinaryOperator::Eq,
        right: Box::new(Expr::Nested(Box::new(part.clone()))),
    };
    let and = |left: Expr, right: Expr| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    };
    parts
        .iter()
        .enumerate()
        .map(equal)
        .reduce(and)
        .unwrap_or_else(|| Expr::value(Value::Boolean(true)))
}

/// `EXISTS (SELECT 1 FROM (subquery) AS s(c0, …) WHERE condition)`.
fn exists(subquery: &Query, condition: Expr, width: usize) -> Expr {
    let columns = (0..width)
        .map(|index| TableAliasColumnDef {
            name: column(index),
            data_type: None,
        })
        .collect();
    let relation = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(subquery.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: Ident::new(ALIAS),
            columns,
            at: None,
        }),
        sample: None,
    };
    let one = SelectItem::UnnamedExpr(Expr::value(Value::Number("1".to_owned(), false)));
    let from = vec![TableWithJoins {
        relation,
        joins: Vec::new(),
    }];
    let condition = Expr::Nested(Box::new(condition));
    Expr::Exists {
        subquery: Box::new(select(vec![one], from, Some(condition))),
        negated: false,
    }
}
