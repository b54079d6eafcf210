//! From text to statements.
//!
//! Definitions are parsed here, token by token; queries and expressions are left to sqlparser,
//! after their tokens were rewritten ([`rewrite`]). Each statement is parsed on its own, so that one
//! mistake does not hide the next.

use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use crate::diagnostics::{SqlError, SqlResult, position};

mod cursor;
mod dialect;
mod function;
mod properties;
mod rewrite;
pub(crate) mod statement;
mod table;
mod type_definition;
pub(crate) mod types;
mod view;

pub(crate) use cursor::Name;
use dialect::HighwaterDialect;
use statement::Statement;
use types::Types;

/// A program's statements in order, and the mistakes found.
pub(crate) struct Parsed {
    pub(crate) statements: Vec<Statement>,
    pub(crate) types: Types,
    pub(crate) errors: Vec<SqlError>,
    /// Names that statements with mistakes would have defined: their uses are not mistakes.
    pub(crate) failed_names: Vec<String>,
}

/// Parses a program.
pub(crate) fn parse_program(text: &str) -> Parsed {
    let mut parsed = Parsed {
        statements: Vec::new(),
        types: Types::default(),
        errors: Vec::new(),
        failed_names: Vec::new(),
    };
    let (tokens, token_error) = tokenize(text);
    for tokens in split_statements(&tokens) {
        let statement = rewrite::rewrite(tokens, &mut parsed.types)
            .and_then(|tokens| statement::parse_statement(&tokens, &mut parsed.types));
        match statement {
            Ok(Some(statement)) => parsed.statements.push(statement),
            Ok(None) => {}
            Err(error) => {
                parsed.errors.push(error);
                parsed.failed_names.extend(defined_name(tokens));
            }
        }
    }
    if let Some(error) = token_error {
        // The statement that was cut short has only this mistake.
        let is_before = |other: &SqlError| {
            (
                other.position.start_line_number,
                other.position.start_column,
            ) < (
                error.position.start_line_number,
                error.position.start_column,
            )
        };
        let cut = last_statement_start(&tokens);
        parsed.errors.retain(|other| {
            is_before(other)
                && cut.is_none_or(|start| {
                    (
                        other.position.start_line_number,
                        other.position.start_column,
                    ) < (start.start_line_number, start.start_column)
                })
        });
        parsed.errors.push(error);
    }
    parsed
}

/// Parses ad-hoc queries, separated by `;`. `types` are those of the program.
pub(crate) fn parse_queries(text: &str, types: &mut Types) -> SqlResult<Vec<Query>> {
    let (tokens, error) = tokenize(text);
    if let Some(error) = error {
        return Err(error);
    }
    let mut queries = Vec::new();
    for tokens in split_statements(&tokens) {
        let first = &tokens[0];
        let is_query = first.token == Token::LParen
            || ["select", "with", "values"]
                .iter()
                .any(|word| cursor::is_word(&first.token, word));
        if !is_query {
            let message = format!(
                "`{}` is not possible in an ad-hoc query; only SELECT is",
                first.token
            );
            return Err(SqlError::new(
                crate::diagnostics::ErrorKind::Unsupported,
                position(first.span),
                message,
            ));
        }
        let tokens = rewrite::rewrite(tokens, types)?;
        queries.push(*statement::parse_query(&tokens)?);
    }
    Ok(queries)
}

/// All tokens but white space and comments, up to a mistake.
fn tokenize(text: &str) -> (Vec<TokenWithSpan>, Option<SqlError>) {
    let dialect = HighwaterDialect;
    let mut tokens = Vec::new();
    let result = Tokenizer::new(&dialect, text).tokenize_with_location_into_buf(&mut tokens);
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let error = result.err().map(|error| {
        let Location { line, column } = error.location;
        let span = Span::new(
            error.location,
            Location {
                line,
                column: column + 1,
            },
        );
        SqlError::syntax(position(span), error.message)
    });
    (tokens, error)
}

fn split_statements(tokens: &[TokenWithSpan]) -> impl Iterator<Item = &[TokenWithSpan]> {
    tokens
        .split(|token| token.token == Token::SemiColon)
        .filter(|statement| !statement.is_empty())
}

fn last_statement_start(
    tokens: &[TokenWithSpan],
) -> Option<highwater_types::relation::SourcePosition> {
    let last = tokens
        .split(|token| token.token == Token::SemiColon)
        .next_back()?;
    last.first().map(|token| position(token.span))
}

/// The name after `TABLE`, `VIEW` or `FUNCTION` in a statement that could not be parsed.
fn defined_name(tokens: &[TokenWithSpan]) -> Option<String> {
    let keyword = tokens.iter().take(4).position(|token| {
        ["table", "view", "function"]
            .iter()
            .any(|word| cursor::is_word(&token.token, word))
    })?;
    match &tokens.get(keyword + 1)?.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
