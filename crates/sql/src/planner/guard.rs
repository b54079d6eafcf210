//! Refuses what would be ignored or wrong, while the query still has its places in the text.
//!
//! sqlparser reads more than DataFusion plans, and DataFusion drops some of it without a word
//! (`TABLESAMPLE`, `FOR UPDATE`, …). Also, a view must be a function of its tables: no clock, no
//! chance.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Volatility;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, LimitClause, ObjectName, Query, Select, SetExpr, Spanned, TableFactor, Visit,
    Visitor,
};
use highwater_types::relation::SourcePosition;

use crate::catalog::Catalog;
use crate::diagnostics::{SqlError, closest, position};

/// Where a query will run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    View,
    AdHoc,
}

/// Relations with the place where a query names them first.
pub(crate) type FoundRelations = BTreeMap<String, SourcePosition>;

/// What was found in a query.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<SqlError>,
    /// Relations of the catalog that the query names.
    pub(crate) relations: FoundRelations,
    /// The query names a relation whose own definition has mistakes.
    pub(crate) uses_failed: bool,
    /// Where the first subquery of an expression is.
    pub(crate) subquery: Option<SourcePosition>,
}

/// Checks a query.
pub(crate) fn check(
    query: &Query,
    catalog: &Catalog,
    session: &SessionState,
    purpose: Purpose,
) -> Findings {
    let mut names = CteNames::default();
    let _: ControlFlow<()> = query.visit(&mut names);
    let mut guard = Guard {
        catalog,
        session,
        purpose,
        cte_names: names.names,
        table_functions: Vec::new(),
        findings: Findings::default(),
    };
    let _: ControlFlow<()> = query.visit(&mut guard);
    guard.findings
}

/// Checks an expression outside of a query: a default or the body of a function.
pub(crate) fn check_expression(
    expression: &Expr,
    catalog: &Catalog,
    session: &SessionState,
) -> Findings {
    let mut guard = Guard {
        catalog,
        session,
        purpose: Purpose::View,
        cte_names: HashSet::new(),
        table_functions: Vec::new(),
        findings: Findings::default(),
    };
    let _: ControlFlow<()> = expression.visit(&mut guard);
    if let Some(place) = guard.findings.subquery {
        guard
            .findings
            .errors
            .push(SqlError::unsupported(place, "a subquery here", ""));
    }
    guard.findings
}

/// Names after `WITH`, anywhere in the query.
#[derive(Default)]
struct CteNames {
    names: HashSet<String>,
}

impl Visitor for CteNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let ctes = query.with.iter().flat_map(|with| &with.cte_tables);
        self.names
            .extend(ctes.map(|cte| normalized(&cte.alias.name)));
        ControlFlow::Continue(())
    }
}

/// A name as the catalog has it.
pub(crate) fn normalized(ident: &datafusion::sql::sqlparser::ast::Ident) -> String {
    if ident.quote_style.is_some() {
        ident.value.clone()
    } else {
        ident.value.to_lowercase()
    }
}

struct Guard<'a> {
    catalog: &'a Catalog,
    session: &'a SessionState,
    purpose: Purpose,
    cte_names: HashSet<String>,
    /// Where names in FROM are not those of relations.
    table_functions: Vec<SourcePosition>,
    findings: Findings,
}

impl Guard<'_> {
    fn refuse(&mut self, place: SourcePosition, construct: &str, remedy: &str) {
        self.findings
            .errors
            .push(SqlError::unsupported(place, construct, remedy));
    }

    fn refuse_each(&mut self, place: SourcePosition, constructs: &[(bool, &str)]) {
        for (is_used, construct) in constructs {
            if *is_used {
                self.refuse(place, construct, "");
            }
        }
    }

    fn relation(&mut self, name: &ObjectName) {
        let place = position(name.span());
        let [part] = name.0.as_slice() else {
            let message = format!("{name} has a schema, but there are none: use a single name");
            self.findings.errors.push(SqlError::new(
                crate::diagnostics::ErrorKind::Planning,
                place,
                message,
            ));
            return;
        };
        let Some(ident) = part.as_ident() else { return };
        let name = normalized(ident);
        if self.cte_names.contains(&name) || self.table_functions.contains(&place) {
            return;
        }
        if self.catalog.has_failed(&name) {
            self.findings.uses_failed = true;
        } else if self.catalog.relation(&name).is_some() {
            self.findings.relations.entry(name).or_insert(place);
        } else {
            let known = self.catalog.relation_names();
            let hint = closest(&name, known).map_or_else(
                || "; a view can use what is defined before it".to_owned(),
                |candidate| format!("; did you mean {candidate:?}?"),
            );
            let message = format!("there is no table or view {name:?}{hint}");
            self.findings.errors.push(SqlError::new(
                crate::diagnostics::ErrorKind::Planning,
                place,
                message,
            ));
        }
    }

    fn function(&mut self, function: &Function) {
        let [part] = function.name.0.as_slice() else {
            return;
        };
        let Some(ident) = part.as_ident() else { return };
        let name = normalized(ident);
        let is_constant = match self.session.scalar_functions().get(&name) {
            Some(known) => known.signature().volatility == Volatility::Immutable,
            None => true,
        };
        let is_shadowed = self.catalog.function(&name).is_some();
        if self.purpose == Purpose::View && !is_constant && !is_shadowed {
            let construct = match name.as_str() {
                "now" | "today" => format!("{}()", name.to_uppercase()),
                name if name.starts_with("current_") => name.to_uppercase(),
                name => format!("{}()", name.to_uppercase()),
            };
            let remedy = "a view depends on its tables only, so put the value into a table";
            self.refuse(position(ident.span), &construct, remedy);
        }
    }
}

impl Visitor for Guard<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let place = position(query.span());
        let is_recursive = query.with.as_ref().is_some_and(|with| with.recursive);
        let has_limit = !matches!(
            query.limit_clause,
            None | Some(LimitClause::LimitOffset { limit: None, .. })
        );
        let has_ties = query
            .fetch
            .as_ref()
            .is_some_and(|fetch| fetch.with_ties || fetch.percent);
        self.refuse_each(
            place,
            &[
                (is_recursive, "WITH RECURSIVE"),
                (has_ties, "FETCH … PERCENT or WITH TIES"),
                (query.fetch.is_some() && has_limit, "FETCH with LIMIT"),
                (!query.locks.is_empty(), "FOR UPDATE or FOR SHARE"),
                (query.for_clause.is_some(), "FOR XML or FOR JSON"),
                (query.settings.is_some(), "SETTINGS"),
                (query.format_clause.is_some(), "FORMAT"),
                (!query.pipe_operators.is_empty(), "the pipe operator |>"),
            ],
        );
        let is_query = matches!(
            query.body.as_ref(),
            SetExpr::Select(_)
                | SetExpr::Query(_)
                | SetExpr::SetOperation { .. }
                | SetExpr::Values(_)
        );
        if !is_query {
            self.refuse(place, "a statement inside a query", "");
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let place = position(select.select_token.0.span);
        self.refuse_each(
            place,
            &[
                (select.top.is_some(), "TOP"),
                (select.into.is_some(), "SELECT INTO"),
                (!select.lateral_views.is_empty(), "LATERAL VIEW"),
                (select.prewhere.is_some(), "PREWHERE"),
                (!select.connect_by.is_empty(), "CONNECT BY"),
                (!select.cluster_by.is_empty(), "CLUSTER BY"),
                (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
                (!select.sort_by.is_empty(), "SORT BY"),
                (
                    select.value_table_mode.is_some(),
                    "SELECT AS VALUE or AS STRUCT",
                ),
                (select.exclude.is_some(), "EXCLUDE after the select list"),
                (
                    select.select_modifiers.is_some(),
                    "a MySQL modifier of SELECT",
                ),
            ],
        );
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        self.relation(relation);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let place = position(factor.span());
        if let TableFactor::Table {
            name,
            args: Some(_),
            ..
        } = factor
        {
            self.table_functions.push(position(name.span()));
        }
        match factor {
            TableFactor::Table {
                name: _,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
            } => self.refuse_each(
                place,
                &[
                    (args.is_some(), "a table function"),
                    (!with_hints.is_empty(), "a table hint"),
                    (version.is_some(), "a table version"),
                    (*with_ordinality, "WITH ORDINALITY"),
                    (!partitions.is_empty(), "PARTITION"),
                    (json_path.is_some(), "a JSON path after a table"),
                    (sample.is_some(), "TABLESAMPLE"),
                    (!index_hints.is_empty(), "an index hint"),
                ],
            ),
            TableFactor::Derived { sample, .. } => {
                self.refuse_each(place, &[(sample.is_some(), "TABLESAMPLE")]);
            }
            TableFactor::UNNEST {
                with_offset,
                with_ordinality,
                ..
            } => {
                let extras = [
                    (*with_offset, "WITH OFFSET"),
                    (*with_ordinality, "WITH ORDINALITY"),
                ];
                self.refuse_each(place, &extras);
            }
            TableFactor::NestedJoin { .. } => {}
            TableFactor::TableFunction { .. } | TableFactor::Function { .. } => {
                self.refuse(place, "a table function", "");
            }
            TableFactor::Pivot { .. } => self.refuse(place, "PIVOT", "use CASE in aggregates"),
            TableFactor::Unpivot { .. } => self.refuse(place, "UNPIVOT", "use UNION ALL"),
            TableFactor::MatchRecognize { .. } => self.refuse(place, "MATCH_RECOGNIZE", ""),
            _ => self.refuse(place, "this item of FROM", ""),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Function(function) => self.function(function),
            Expr::Subquery(query) => self.note_subquery(query),
            Expr::Exists { subquery, .. } | Expr::InSubquery { subquery, .. } => {
                self.note_subquery(subquery);
            }
            Expr::Convert { .. } => {
                self.refuse(
                    position(expression.span()),
                    "CONVERT",
                    "use CAST(x AS type)",
                );
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Guard<'_> {
    fn note_subquery(&mut self, query: &Query) {
        self.findings.subquery.get_or_insert(position(query.span()));
    }
}
