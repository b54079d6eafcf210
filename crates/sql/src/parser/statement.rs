//! The statements of a program.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Expr, Query};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::TokenWithSpan;
use highwater_types::relation::{ColumnType, PropertyValue, SourcePosition};

use crate::diagnostics::{SqlError, SqlResult, position};
use crate::parser::cursor::{Cursor, Name, parser_error};
use crate::parser::dialect::HighwaterDialect;
use crate::parser::types::Types;
use crate::parser::{function, table, type_definition, view};

/// A statement that defines something; types are kept apart, in [`Types`].
#[derive(Debug)]
pub(crate) enum Statement {
    Table(TableStatement),
    View(ViewStatement),
    Function(Box<FunctionStatement>),
}

/// `CREATE TABLE`.
#[derive(Debug)]
pub(crate) struct TableStatement {
    pub(crate) name: Name,
    pub(crate) columns: Vec<ColumnDefinition>,
    /// Positions of columns, in key order.
    pub(crate) primary_key: Vec<usize>,
    pub(crate) properties: BTreeMap<String, PropertyValue>,
    /// What was accepted but has no effect.
    pub(crate) warnings: Vec<SqlError>,
}

/// A column of `CREATE TABLE`.
#[derive(Debug)]
pub(crate) struct ColumnDefinition {
    pub(crate) name: Name,
    /// Nullable unless it says `NOT NULL` or is part of the primary key.
    pub(crate) column_type: ColumnType,
    pub(crate) default: Option<Default>,
}

/// The value of a column that an inserted row does not name.
#[derive(Debug)]
pub(crate) struct Default {
    pub(crate) expression: Expr,
    pub(crate) position: SourcePosition,
}

/// Who may read a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewKind {
    /// Only other views.
    Local,
    /// Followers of its changes, too.
    Plain,
    /// Ad-hoc queries, too.
    Materialized,
}

/// `CREATE VIEW`.
#[derive(Debug)]
pub(crate) struct ViewStatement {
    pub(crate) name: Name,
    pub(crate) kind: ViewKind,
    pub(crate) columns: Vec<Name>,
    pub(crate) properties: BTreeMap<String, PropertyValue>,
    pub(crate) query: Box<Query>,
}

/// `CREATE FUNCTION`.
#[derive(Clone, Debug)]
pub(crate) struct FunctionStatement {
    pub(crate) name: Name,
    pub(crate) parameters: Vec<(Name, ColumnType)>,
    pub(crate) result: ColumnType,
    pub(crate) body: Expr,
}

/// Statements that other systems have, and what to do instead.
const FOREIGN_STATEMENTS: &[(&str, &str)] = &[
    (
        "insert",
        "send rows to the table with a connector or POST /ingress/{table}",
    ),
    (
        "update",
        "send changed rows to the table with a connector or POST /ingress/{table}",
    ),
    (
        "delete",
        "send deletions to the table with a connector or POST /ingress/{table}",
    ),
    (
        "merge",
        "send rows to the table with a connector or POST /ingress/{table}",
    ),
    (
        "copy",
        "give the table a connector: WITH ('connectors' = '[…]')",
    ),
    ("drop", "remove the definition from the program"),
    ("alter", "change the definition in the program"),
    ("truncate", "restart the pipeline without its state"),
    ("remove", ""),
    ("set", ""),
    ("show", ""),
    ("explain", "use `highwater explain`"),
    ("begin", "use POST /start_transaction"),
    ("commit", "use POST /commit_transaction"),
    ("rollback", ""),
    ("grant", ""),
    ("revoke", ""),
];

/// Things that cannot be created.
const FOREIGN_OBJECTS: &[(&str, &str)] = &[
    ("index", "all state is indexed as the views need it"),
    ("recursive", "recursion is not available"),
    ("linear", "user-defined aggregates are not available"),
    ("aggregate", "user-defined aggregates are not available"),
    ("schema", "there is one namespace"),
    ("database", "there is one namespace"),
    ("temporary", "use CREATE LOCAL VIEW"),
    ("temp", "use CREATE LOCAL VIEW"),
    (
        "external",
        "use a connector: CREATE TABLE … WITH ('connectors' = '[…]')",
    ),
    ("or", "a program defines each name once"),
];

/// Parses one statement; a `CREATE TYPE` goes to `types`.
pub(crate) fn parse_statement(
    tokens: &[TokenWithSpan],
    types: &mut Types,
) -> SqlResult<Option<Statement>> {
    let mut cursor = Cursor::new(tokens);
    let start = cursor.position();
    if !cursor.accept_word("create") {
        return Err(not_a_definition(&cursor));
    }
    if cursor.accept_word("table") {
        return table::parse(&mut cursor, types).map(|table| Some(Statement::Table(table)));
    }
    if cursor.accept_word("type") {
        type_definition::parse(&mut cursor, types)?;
        return Ok(None);
    }
    if cursor.accept_word("function") {
        return function::parse(&mut cursor, types)
            .map(|function| Some(Statement::Function(Box::new(function))));
    }
    let kind = if cursor.accept_words(&["local", "view"]) {
        ViewKind::Local
    } else if cursor.accept_words(&["materialized", "view"]) {
        ViewKind::Materialized
    } else if cursor.accept_word("view") {
        ViewKind::Plain
    } else {
        let mut foreign = FOREIGN_OBJECTS.iter();
        if let Some((word, remedy)) = foreign.find(|(word, _)| cursor.is_word(word)) {
            let construct = match *word {
                "or" => "CREATE OR REPLACE".to_owned(),
                "linear" => "CREATE LINEAR AGGREGATE".to_owned(),
                "recursive" => "CREATE RECURSIVE VIEW".to_owned(),
                word => format!("CREATE {}", word.to_uppercase()),
            };
            let place = crate::diagnostics::covering(start, cursor.position());
            return Err(SqlError::unsupported(place, &construct, remedy));
        }
        return Err(cursor.expected("TABLE, VIEW, LOCAL VIEW, MATERIALIZED VIEW, TYPE or FUNCTION"));
    };
    view::parse(&mut cursor, kind).map(|view| Some(Statement::View(view)))
}

fn not_a_definition(cursor: &Cursor<'_>) -> SqlError {
    let place = cursor.position();
    if cursor.is_word("declare") && cursor.is_word_ahead(1, "recursive") {
        return SqlError::unsupported(
            place,
            "DECLARE RECURSIVE VIEW",
            "recursion is not available",
        );
    }
    if cursor.is_word("lateness") {
        return SqlError::unsupported(place, "LATENESS", "");
    }
    if ["select", "with", "values"]
        .iter()
        .any(|word| cursor.is_word(word))
    {
        let message = "a program has only definitions; to keep the result of this query up to \
                       date, define a view: CREATE VIEW name AS SELECT …";
        return SqlError::syntax(place, message);
    }
    if let Some((word, remedy)) = FOREIGN_STATEMENTS
        .iter()
        .find(|(word, _)| cursor.is_word(word))
    {
        let construct = format!("{} in a program", word.to_uppercase());
        return SqlError::unsupported(place, &construct, remedy);
    }
    cursor.expected("CREATE TABLE, CREATE VIEW, CREATE TYPE or CREATE FUNCTION")
}

/// A query, by sqlparser, to the end of the tokens.
pub(crate) fn parse_query(tokens: &[TokenWithSpan]) -> SqlResult<Box<Query>> {
    let dialect = HighwaterDialect;
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens.to_vec());
    let query = parser
        .parse_query()
        .map_err(|error| parser_error(&error, tokens, &parser))?;
    match tokens.get(parser.index()) {
        None => Ok(query),
        Some(token) => Err(SqlError::syntax(
            position(token.span),
            format!("expected the end of the query, found `{}`", token.token),
        )),
    }
}
