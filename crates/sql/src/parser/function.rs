//! `CREATE FUNCTION … AS expression`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::diagnostics::{SqlError, SqlResult};
use crate::parser::cursor::Cursor;
use crate::parser::statement::FunctionStatement;
use crate::parser::types::Types;

/// Parses what follows `CREATE FUNCTION`.
pub(crate) fn parse(cursor: &mut Cursor<'_>, types: &mut Types) -> SqlResult<FunctionStatement> {
    let name = cursor.name("a function name")?;
    cursor.expect(&Token::LParen)?;
    let mut parameters: Vec<(_, _)> = Vec::new();
    while cursor.peek() != Some(&Token::RParen) {
        if !parameters.is_empty() {
            cursor.expect(&Token::Comma)?;
        }
        let parameter = cursor.name("a parameter name")?;
        if parameters
            .iter()
            .any(|(other, _): &(crate::parser::cursor::Name, _)| other.value == parameter.value)
        {
            let message = format!("the parameter {:?} is defined twice", parameter.value);
            return Err(SqlError::definition(parameter.position, message));
        }
        let mut column_type = types.parse(cursor)?;
        column_type.nullable = !cursor.accept_words(&["not", "null"]);
        types.use_in_expression(column_type.clone());
        parameters.push((parameter, column_type));
    }
    cursor.expect(&Token::RParen)?;
    cursor.expect_word("returns")?;
    let mut result = types.parse(cursor)?;
    result.nullable = !cursor.accept_words(&["not", "null"]);
    types.use_in_expression(result.clone());
    if cursor.is_at_end() {
        let remedy = "give it a body: RETURNS type AS expression";
        return Err(SqlError::unsupported(
            name.position,
            "a function in Rust",
            remedy,
        ));
    }
    cursor.expect_word("as")?;
    let body = cursor.expression()?;
    cursor.expect_end()?;
    Ok(FunctionStatement {
        name,
        parameters,
        result,
        body,
    })
}
