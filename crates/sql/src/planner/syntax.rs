//! Rewrites a query's syntax tree where DataFusion's planner lacks something.
//!
//! - calls of the program's functions become their bodies;
//! - `CAST(x AS VARCHAR(3))` cuts, `CAST(x AS CHAR(3))` cuts and pads;
//! - `1e3` is a DOUBLE;
//! - `(a, b) IN (SELECT x, y …)` becomes `EXISTS`;
//! - `(row).field` names the field by a text;
//! - an array literal in `UNNEST` becomes a call of `make_array`;
//! - `FETCH FIRST n ROWS ONLY` becomes `LIMIT n`.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, CastKind, DataType, ExactNumberInfo, Expr, Fetch, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, LimitClause,
    ObjectName, Query, Select, SelectFlavor, SelectItem, SetExpr, Spanned, TableFactor,
    TableWithJoins, Value, VisitMut, VisitorMut, helpers::attached_token::AttachedToken,
};
use highwater_types::relation::{ColumnType, SqlType};

use crate::catalog::Catalog;
use crate::column_type::sql_text;
use crate::diagnostics::{SqlError, SqlResult, position};
use crate::planner::guard::normalized;

mod functions;
mod tuple_in;

/// Rewrites a query in place.
pub(crate) fn rewrite_query(query: &mut Query, catalog: &Catalog) -> SqlResult<()> {
    let mut conjuncts = tuple_in::Conjuncts;
    let _: ControlFlow<()> = query.visit(&mut conjuncts);
    let mut rewriter = Rewriter { catalog };
    match query.visit(&mut rewriter) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Rewrites an expression in place.
pub(crate) fn rewrite_expression(expression: &mut Expr, catalog: &Catalog) -> SqlResult<()> {
    match expression.visit(&mut Rewriter { catalog }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Rewriter<'a> {
    catalog: &'a Catalog,
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Some(Fetch { quantity, .. }) = query.fetch.take() {
            let one = || Expr::value(Value::Number("1".to_owned(), false));
            let offset = match query.limit_clause.take() {
                Some(LimitClause::LimitOffset { offset, .. }) => offset,
                _ => None,
            };
            query.limit_clause = Some(LimitClause::LimitOffset {
                limit: Some(quantity.unwrap_or_else(one)),
                offset,
                limit_by: Vec::new(),
            });
        }
        ControlFlow::Continue(())
    }

    /// DataFusion plans an array literal in `UNNEST` without the columns of the tables before it.
    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        if let TableFactor::UNNEST { array_exprs, .. } = factor {
            for expression in array_exprs {
                if let Expr::Array(array) = expression {
                    *expression = call("make_array", std::mem::take(&mut array.elem));
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<SqlError> {
        match self.replacement(expression) {
            Ok(Some(replacement)) => *expression = replacement,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    fn replacement(&self, expression: &Expr) -> SqlResult<Option<Expr>> {
        match expression {
            Expr::Function(call) => functions::inline(call, self.catalog),
            Expr::Cast {
                kind,
                expr,
                data_type: DataType::Custom(name, _),
                ..
            } => {
                let [part] = name.0.as_slice() else {
                    return Ok(None);
                };
                let used = part
                    .as_ident()
                    .and_then(|ident| self.catalog.types.used(&ident.value));
                let Some(column_type) = used else {
                    return Ok(None);
                };
                if !has_length(column_type) {
                    return Ok(None);
                }
                Ok(Some(cast(kind.clone(), expr.as_ref().clone(), column_type)))
            }
            Expr::CompoundFieldAccess { root, access_chain } => {
                // `t.c['x']` begins with a name of several parts.
                let mut is_name = matches!(root.as_ref(), Expr::Identifier(_));
                let chain = access_chain.iter().map(|access| match access {
                    AccessExpr::Dot(Expr::Identifier(name)) if !is_name => field(name),
                    other => {
                        is_name &= matches!(other, AccessExpr::Dot(_));
                        other.clone()
                    }
                });
                let access_chain: Vec<_> = chain.collect();
                let root = root.clone();
                Ok(Some(Expr::CompoundFieldAccess { root, access_chain }))
            }
            Expr::Value(value) => match &value.value {
                Value::Number(number, _) if number.contains(['e', 'E']) => Ok(Some(double(number))),
                _ => Ok(None),
            },
            Expr::InSubquery {
                expr,
                subquery,
                negated,
            } => match expr.as_ref() {
                Expr::Tuple(parts) => {
                    tuple_in::three_valued(parts, subquery, *negated, position(expression.span()))
                        .map(Some)
                }
                _ => Ok(None),
            },
            _ => Ok(None),
        }
    }
}

/// Access to a ROW's field, in the form that DataFusion has.
fn field(name: &Ident) -> AccessExpr {
    let name = Value::SingleQuotedString(normalized(name));
    AccessExpr::Dot(Expr::value(name))
}

/// A literal with an exponent.
fn double(number: &str) -> Expr {
    let text = Expr::value(Value::SingleQuotedString(number.replace('_', "")));
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(text),
        data_type: DataType::Double(ExactNumberInfo::None),
        array: false,
        format: None,
    }
}

fn has_length(column_type: &ColumnType) -> bool {
    matches!(column_type.sql_type, SqlType::Char | SqlType::Varchar)
        && column_type.precision.is_some()
}

/// A cast that keeps to the length of a string type.
fn cast(kind: CastKind, expression: Expr, column_type: &ColumnType) -> Expr {
    let name = Ident::with_quote('"', sql_text(column_type));
    let cast = Expr::Cast {
        kind,
        expr: Box::new(expression),
        data_type: DataType::Custom(ObjectName::from(vec![name]), Vec::new()),
        array: false,
        format: None,
    };
    let Some(length) = column_type.precision.filter(|_| has_length(column_type)) else {
        return cast;
    };
    let length = || Expr::value(Value::Number(length.to_string(), false));
    let cut = call("left", vec![cast, length()]);
    match column_type.sql_type {
        SqlType::Char => call("rpad", vec![cut, length()]),
        _ => cut,
    }
}

/// The call of a scalar function.
fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let argument = |expression| FunctionArg::Unnamed(FunctionArgExpr::Expr(expression));
    Expr::Function(Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.into_iter().map(argument).collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A query with only a body.
pub(crate) fn empty_query(body: SetExpr) -> Query {
    Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// `SELECT items FROM from WHERE condition`.
pub(crate) fn select(
    items: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    condition: Option<Expr>,
) -> Query {
    empty_query(SetExpr::Select(Box::new(Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection: items,
        exclude: None,
        into: None,
        from,
        lateral_views: Vec::new(),
        prewhere: None,
        selection: condition,
        connect_by: Vec::new(),
        group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()),
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    })))
}

/// The name of a single-part identifier.
fn single_name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().map(normalized),
        _ => None,
    }
}
