//! Rewrites a statement's tokens where sqlparser does not know our SQL.
//!
//! - Types in casts become one quoted word (see [`crate::parser::types`]).
//! - `MAP['a', 1, 'b', 2]` becomes `MAP(make_array('a', 'b'), make_array(1, 2))`.
//! - Constructs that would give an obscure syntax error are refused by their name.
//!
//! Every token keeps the place it came from.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use crate::diagnostics::{SqlError, SqlResult, position};
use crate::parser::cursor::{Cursor, is_word};
use crate::parser::types::Types;

/// Functions with `AS type` inside their parentheses.
const CAST_FUNCTIONS: &[&str] = &["cast", "try_cast", "safe_cast"];

/// Words that, followed by the other token, make a construct we do not have.
const UNSUPPORTED: &[(&str, Next, &str, &str)] = &[
    ("asof", Next::Word("join"), "ASOF JOIN", ""),
    (
        "tumble",
        Next::Parenthesis,
        "TUMBLE",
        "group by a rounded time, e.g. date_trunc('hour', ts)",
    ),
    (
        "hop",
        Next::Parenthesis,
        "HOP",
        "group by a rounded time, e.g. date_trunc('hour', ts)",
    ),
    ("with", Next::Word("recursive"), "WITH RECURSIVE", ""),
    ("with", Next::Word("ordinality"), "WITH ORDINALITY", ""),
    ("match_recognize", Next::Parenthesis, "MATCH_RECOGNIZE", ""),
];

enum Next {
    Word(&'static str),
    Parenthesis,
}

/// Rewrites all tokens of a statement.
pub(crate) fn rewrite(
    tokens: &[TokenWithSpan],
    types: &mut Types,
) -> SqlResult<Vec<TokenWithSpan>> {
    let mut rewriter = Rewriter {
        types,
        output: Vec::with_capacity(tokens.len()),
    };
    rewriter.run(tokens)?;
    Ok(rewriter.output)
}

struct Rewriter<'t> {
    types: &'t mut Types,
    output: Vec<TokenWithSpan>,
}

impl Rewriter<'_> {
    fn run(&mut self, tokens: &[TokenWithSpan]) -> SqlResult<()> {
        // For each open bracket: is it that of a cast?
        let mut brackets: Vec<bool> = Vec::new();
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            refuse_unsupported(token, tokens.get(index + 1))?;
            let next = tokens.get(index + 1).map(|next| &next.token);
            if is_word(&token.token, "map")
                && next == Some(&Token::LBracket)
                && let Some(end) = self.map_literal(&tokens[index..])?
            {
                index += end;
                continue;
            }
            let is_type_next = match &token.token {
                Token::LParen => {
                    let previous = index.checked_sub(1).and_then(|index| tokens.get(index));
                    brackets.push(previous.is_some_and(|token| is_cast(&token.token)));
                    false
                }
                Token::LBracket | Token::LBrace => {
                    brackets.push(false);
                    false
                }
                Token::RParen | Token::RBracket | Token::RBrace => {
                    brackets.pop();
                    false
                }
                Token::DoubleColon => true,
                word => brackets.last() == Some(&true) && is_word(word, "as"),
            };
            self.output.push(token.clone());
            index += 1;
            if is_type_next {
                index += self.cast_type(&tokens[index..])?;
            }
        }
        Ok(())
    }

    /// Replaces the type at the start of `tokens` and returns how many tokens it had.
    fn cast_type(&mut self, tokens: &[TokenWithSpan]) -> SqlResult<usize> {
        let mut cursor = Cursor::new(tokens);
        let column_type = self.types.parse(&mut cursor)?;
        let length = cursor.index();
        let text = self.types.use_in_expression(column_type);
        let span = match (tokens.first(), tokens.get(length - 1)) {
            (Some(first), Some(last)) => first.span.union(&last.span),
            _ => Span::empty(),
        };
        self.output.push(TokenWithSpan {
            token: quoted_word(text),
            span,
        });
        Ok(length)
    }

    /// `MAP[` at the start of `tokens`: returns how many tokens the literal has, or nothing if it
    /// is the column `map` with an index.
    fn map_literal(&mut self, tokens: &[TokenWithSpan]) -> SqlResult<Option<usize>> {
        let Some((parts, length)) = bracketed_parts(&tokens[1..]) else {
            return Err(SqlError::syntax(
                position(tokens[1].span),
                "this `[` is not closed",
            ));
        };
        if parts.len() == 1 && !parts[0].is_empty() {
            return Ok(None);
        }
        let span = tokens[0].span;
        if parts.len() % 2 == 1 {
            let message = "MAP[…] needs a value for each key: MAP['a', 1, 'b', 2]";
            return Err(SqlError::syntax(position(span), message));
        }
        let word = |text: &str| TokenWithSpan {
            token: plain_word(text),
            span,
        };
        let symbol = |token: Token| TokenWithSpan { token, span };
        self.output.extend([word("map"), symbol(Token::LParen)]);
        for first in 0..2 {
            if first == 1 {
                self.output.push(symbol(Token::Comma));
            }
            self.output
                .extend([word("make_array"), symbol(Token::LParen)]);
            for (index, part) in parts.iter().skip(first).step_by(2).enumerate() {
                if index > 0 {
                    self.output.push(symbol(Token::Comma));
                }
                self.run(part)?;
            }
            self.output.push(symbol(Token::RParen));
        }
        self.output.push(symbol(Token::RParen));
        Ok(Some(length + 1))
    }
}

fn is_cast(token: &Token) -> bool {
    CAST_FUNCTIONS.iter().any(|name| is_word(token, name))
}

fn refuse_unsupported(token: &TokenWithSpan, next: Option<&TokenWithSpan>) -> SqlResult<()> {
    let Some(next) = next else { return Ok(()) };
    for (word, expected, construct, remedy) in UNSUPPORTED {
        let is_next = match expected {
            Next::Word(second) => is_word(&next.token, second),
            Next::Parenthesis => next.token == Token::LParen,
        };
        if is_next && is_word(&token.token, word) {
            let span = match expected {
                Next::Word(_) => token.span.union(&next.span),
                Next::Parenthesis => token.span,
            };
            return Err(SqlError::unsupported(position(span), construct, remedy));
        }
    }
    Ok(())
}

/// Splits `[a, b, …]` at its commas; also returns how many tokens it has with its brackets.
fn bracketed_parts(tokens: &[TokenWithSpan]) -> Option<(Vec<&[TokenWithSpan]>, usize)> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0usize, 1);
    for (index, token) in tokens.iter().enumerate() {
        match &token.token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    parts.push(&tokens[start..index]);
                    return Some((parts, index + 1));
                }
            }
            Token::Comma if depth == 1 => {
                parts.push(&tokens[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    None
}

fn quoted_word(value: String) -> Token {
    Token::Word(Word {
        value,
        quote_style: Some('"'),
        keyword: Keyword::NoKeyword,
    })
}

fn plain_word(value: &str) -> Token {
    Token::make_word(value, None)
}

#[cfg(test)]
mod tests;
