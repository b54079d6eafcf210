//! `CREATE TYPE`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::column_type;
use crate::diagnostics::{SqlError, SqlResult};
use crate::parser::cursor::Cursor;
use crate::parser::types::Types;

/// Parses what follows `CREATE TYPE` and adds the type to `types`.
pub(crate) fn parse(cursor: &mut Cursor<'_>, types: &mut Types) -> SqlResult<()> {
    let name = cursor.name("a type name")?;
    cursor.expect_word("as")?;
    let column_type = if cursor.peek() == Some(&Token::LParen) {
        fields(cursor, types)?
    } else {
        types.parse(cursor)?
    };
    cursor.expect_end()?;
    if !types.define(name.value.clone(), column_type) {
        let message = format!("the type {:?} is defined twice", name.value);
        return Err(SqlError::definition(name.position, message));
    }
    Ok(())
}

/// `(x INT, y VARCHAR NOT NULL)`.
fn fields(
    cursor: &mut Cursor<'_>,
    types: &Types,
) -> SqlResult<highwater_types::relation::ColumnType> {
    cursor.expect(&Token::LParen)?;
    let mut fields: Vec<highwater_types::relation::Field> = Vec::new();
    loop {
        let name = cursor.name("a field name")?;
        if fields.iter().any(|field| field.name == name.value) {
            let message = format!("the field {:?} is defined twice", name.value);
            return Err(SqlError::definition(name.position, message));
        }
        let mut columntype = types.parse(cursor)?;
        columntype.nullable = !cursor.accept_words(&["not", "null"]);
        fields.push(highwater_types::relation::Field {
            name: name.value,
            case_sensitive: name.is_quoted,
            columntype,
            default: None,
            unused: false,
        });
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(column_type::row_of(fields))
}
