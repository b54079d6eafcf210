//! `CREATE VIEW`.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::diagnostics::{SqlError, SqlResult};
use crate::parser::cursor::Cursor;
use crate::parser::properties::{self, VIEW_PROPERTIES};
use crate::parser::statement::{ViewKind, ViewStatement, parse_query};
use crate::parser::table::column_list;

/// Parses what follows `CREATE … VIEW`.
pub(crate) fn parse(cursor: &mut Cursor<'_>, kind: ViewKind) -> SqlResult<ViewStatement> {
    let name = cursor.name("a view name")?;
    let mut columns = Vec::new();
    if cursor.peek() == Some(&Token::LParen) {
        columns = column_list(cursor)?;
    }
    for (index, column) in columns.iter().enumerate() {
        if columns[..index]
            .iter()
            .any(|other| other.value == column.value)
        {
            let message = format!("the column {:?} is defined twice", column.value);
            return Err(SqlError::definition(column.position, message));
        }
    }
    let properties_position = cursor.position();
    let properties = properties::parse_clause(cursor, VIEW_PROPERTIES)?;
    if kind == ViewKind::Local && properties.contains_key("connectors") {
        let message = "a LOCAL view has no output, hence no connectors; drop LOCAL";
        return Err(SqlError::definition(properties_position, message));
    }
    cursor.expect_word("as")?;
    if cursor.is_at_end() {
        return Err(cursor.expected("a query"));
    }
    let query = parse_query(cursor.rest())?;
    Ok(ViewStatement {
        name,
        kind,
        columns,
        properties,
        query,
    })
}
