//! Reads a statement's tokens one by one, for the parts of SQL that we parse ourselves.

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use highwater_types::relation::SourcePosition;

use crate::diagnostics::{SqlError, SqlResult, position};
use crate::parser::dialect::HighwaterDialect;

/// A name as written, normalized: lower-cased unless it was quoted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Name {
    pub(crate) value: String,
    pub(crate) is_quoted: bool,
    pub(crate) position: SourcePosition,
}

/// Position in a statement's tokens, which have no white space and no `;`.
pub(crate) struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    next: usize,
    /// Where to report that something is missing at the end.
    end: SourcePosition,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [TokenWithSpan]) -> Self {
        let end = tokens
            .last()
            .map(|token| position(token.span))
            .unwrap_or_default();
        Self {
            tokens,
            next: 0,
            end,
        }
    }

    pub(crate) fn index(&self) -> usize {
        self.next
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.peek_ahead(0)
    }

    pub(crate) fn peek_ahead(&self, count: usize) -> Option<&'a Token> {
        self.tokens.get(self.next + count).map(|token| &token.token)
    }

    /// Position of the next token, or of the last one at the end.
    pub(crate) fn position(&self) -> SourcePosition {
        self.tokens
            .get(self.next)
            .map_or(self.end, |token| position(token.span))
    }

    pub(crate) fn previous_position(&self) -> SourcePosition {
        self.next
            .checked_sub(1)
            .and_then(|index| self.tokens.get(index))
            .map_or(self.end, |token| position(token.span))
    }

    pub(crate) fn rest(&self) -> &'a [TokenWithSpan] {
        self.tokens.get(self.next..).unwrap_or_default()
    }

    pub(crate) fn advance(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.next += 1;
        token
    }

    /// Is the token after `count` others this unquoted word?
    pub(crate) fn is_word_ahead(&self, count: usize, word: &str) -> bool {
        self.peek_ahead(count)
            .is_some_and(|token| is_word(token, word))
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.is_word_ahead(0, word)
    }

    /// Consumes these words if all of them come next.
    pub(crate) fn accept_words(&mut self, words: &[&str]) -> bool {
        let all = words
            .iter()
            .enumerate()
            .all(|(index, word)| self.is_word_ahead(index, word));
        if all {
            self.next += words.len();
        }
        all
    }

    pub(crate) fn accept_word(&mut self, word: &str) -> bool {
        self.accept_words(&[word])
    }

    pub(crate) fn accept(&mut self, token: &Token) -> bool {
        let found = self.peek() == Some(token);
        if found {
            self.next += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, token: &Token) -> SqlResult<()> {
        if self.accept(token) {
            Ok(())
        } else {
            Err(self.expected(&format!("`{token}`")))
        }
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> SqlResult<()> {
        if self.accept_word(word) {
            Ok(())
        } else {
            Err(self.expected(word))
        }
    }

    /// The error that says what should have come next.
    pub(crate) fn expected(&self, what: &str) -> SqlError {
        let found = self
            .peek()
            .map_or("the end of the statement".to_owned(), |token| {
                format!("`{token}`")
            });
        SqlError::syntax(self.position(), format!("expected {what}, found {found}"))
    }

    pub(crate) fn expect_end(&self) -> SqlResult<()> {
        if self.is_at_end() {
            Ok(())
        } else {
            Err(self.expected("the end of the statement"))
        }
    }

    /// A single name; `a.b` is refused, since there are no schemas.
    pub(crate) fn name(&mut self, what: &str) -> SqlResult<Name> {
        let position = self.position();
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.expected(what));
        };
        self.next += 1;
        if self.peek() == Some(&Token::Period) {
            return Err(SqlError::syntax(
                self.position(),
                format!("{what} must be a single name: there are no schemas or databases"),
            ));
        }
        let is_quoted = word.quote_style.is_some();
        let value = if is_quoted {
            word.value.clone()
        } else {
            word.value.to_lowercase()
        };
        if value.is_empty() {
            return Err(SqlError::syntax(position, "a name must not be empty"));
        }
        Ok(Name {
            value,
            is_quoted,
            position,
        })
    }

    /// A string literal.
    pub(crate) fn string(&mut self, what: &str) -> SqlResult<(String, SourcePosition)> {
        let position = self.position();
        let text = match self.peek() {
            Some(Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text,
            _ => return Err(self.expected(what)),
        };
        self.next += 1;
        Ok((text.clone(), position))
    }

    /// An unsigned number.
    pub(crate) fn number(&mut self, what: &str) -> SqlResult<i64> {
        let Some(Token::Number(text, _)) = self.peek() else {
            return Err(self.expected(what));
        };
        let number = text.parse().map_err(|_| self.expected(what))?;
        self.next += 1;
        Ok(number)
    }

    /// An expression, by sqlparser.
    pub(crate) fn expression(&mut self) -> SqlResult<Expr> {
        let dialect = HighwaterDialect;
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(self.rest().to_vec());
        let expression = parser
            .parse_expr()
            .map_err(|error| parser_error(&error, self.rest(), &parser))?;
        self.next += parser.index();
        Ok(expression)
    }

    /// Skips to the `)` that closes the parenthesis just opened.
    pub(crate) fn skip_parentheses(&mut self) -> SqlResult<()> {
        let mut depth = 1;
        while depth > 0 {
            match self.advance() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                Some(_) => {}
                None => return Err(self.expected("`)`")),
            }
        }
        Ok(())
    }
}

/// Is it this word, unquoted, in any case?
pub(crate) fn is_word(token: &Token, expected: &str) -> bool {
    matches!(token, Token::Word(word)
        if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected))
}

/// sqlparser's error with the place where the parser stood.
pub(crate) fn parser_error(
    error: &ParserError,
    tokens: &[TokenWithSpan],
    parser: &Parser<'_>,
) -> SqlError {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    };
    let (message, stated) = split_location(&text);
    let stated = stated.and_then(|(line, column)| {
        let is_there = |token: &TokenWithSpan| {
            (token.span.start.line, token.span.start.column) == (line, column)
        };
        tokens.iter().position(is_there)
    });
    let index = stated.unwrap_or(parser.index().min(tokens.len().saturating_sub(1)));
    // Some of sqlparser's errors name a token and give the place of the next one.
    let is_named = |index: usize| {
        tokens
            .get(index)
            .is_some_and(|token| message.ends_with(&format!("found {}", token.token)))
    };
    let index = match index.checked_sub(1) {
        Some(previous) if !is_named(index) && is_named(previous) => previous,
        _ => index,
    };
    let position = tokens
        .get(index)
        .map(|token| position(token.span))
        .unwrap_or_default();
    let message = message.replace("found: EOF", "found the end of the statement");
    let message = message
        .replace(", found: ", ", found ")
        .replace("Expected: ", "expected ")
        .replace("Expected ", "expected ");
    SqlError::syntax(position, message)
}

/// Splits ` at Line: 1, Column: 38` off.
fn split_location(text: &str) -> (&str, Option<(u64, u64)>) {
    let Some((message, location)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let numbers = location
        .split_once(", Column: ")
        .and_then(|(line, column)| Some((line.trim().parse().ok()?, column.trim().parse().ok()?)));
    (message, numbers)
}
