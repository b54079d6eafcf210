//! `CREATE TABLE`.

use datafusion::sql::sqlparser::tokenizer::Token;
use highwater_types::relation::SqlType;

use crate::diagnostics::{SqlError, SqlResult, closest, covering};
use crate::parser::cursor::{Cursor, Name};
use crate::parser::properties::{self, TABLE_PROPERTIES};
use crate::parser::statement::{ColumnDefinition, Default, TableStatement};
use crate::parser::types::Types;

/// Parses what follows `CREATE TABLE`.
pub(crate) fn parse(cursor: &mut Cursor<'_>, types: &Types) -> SqlResult<TableStatement> {
    if cursor.is_word("if") {
        let remedy = "a program defines each name once";
        return Err(SqlError::unsupported(
            cursor.position(),
            "IF NOT EXISTS",
            remedy,
        ));
    }
    let name = cursor.name("a table name")?;
    if cursor.is_word("as") {
        let remedy = "use CREATE VIEW … AS";
        return Err(SqlError::unsupported(
            cursor.position(),
            "CREATE TABLE … AS",
            remedy,
        ));
    }
    cursor.expect(&Token::LParen)?;
    let mut elements = Elements::default();
    loop {
        elements.parse_one(cursor, types)?;
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    let properties = properties::parse_clause(cursor, TABLE_PROPERTIES)?;
    cursor.expect_end()?;
    let Elements {
        mut columns,
        key,
        warnings,
    } = elements;
    if columns.is_empty() {
        return Err(SqlError::definition(
            name.position,
            "a table needs at least one column",
        ));
    }
    let primary_key = resolve_key(key.unwrap_or_default(), &mut columns)?;
    Ok(TableStatement {
        name,
        columns,
        primary_key,
        properties,
        warnings,
    })
}

/// What stands between the parentheses.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnDefinition>,
    key: Option<Vec<Name>>,
    warnings: Vec<SqlError>,
}

impl Elements {
    fn parse_one(&mut self, cursor: &mut Cursor<'_>, types: &Types) -> SqlResult<()> {
        if cursor.accept_word("constraint") {
            cursor.name("a constraint name")?;
        }
        let start = cursor.position();
        if cursor.is_word("primary") && cursor.is_word_ahead(1, "key") {
            cursor.accept_words(&["primary", "key"]);
            let key = column_list(cursor)?;
            return self.set_key(key, start);
        }
        if cursor.accept_words(&["foreign", "key"]) {
            column_list(cursor)?;
            return self.reference(cursor);
        }
        for word in ["check", "unique"] {
            if cursor.is_word(word) && cursor.peek_ahead(1) == Some(&Token::LParen) {
                return Err(SqlError::unsupported(start, &word.to_uppercase(), ""));
            }
        }
        self.column(cursor, types)
    }

    fn column(&mut self, cursor: &mut Cursor<'_>, types: &Types) -> SqlResult<()> {
        let name = cursor.name("a column name")?;
        if self
            .columns
            .iter()
            .any(|column| column.name.value == name.value)
        {
            let message = format!("the column {:?} is defined twice", name.value);
            return Err(SqlError::definition(name.position, message));
        }
        let column_type = types.parse(cursor)?;
        let mut column = ColumnDefinition {
            name,
            column_type,
            default: None,
        };
        while !matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen)) {
            self.column_option(cursor, &mut column)?;
        }
        self.columns.push(column);
        Ok(())
    }

    fn column_option(
        &mut self,
        cursor: &mut Cursor<'_>,
        column: &mut ColumnDefinition,
    ) -> SqlResult<()> {
        let start = cursor.position();
        if cursor.accept_words(&["not", "null"]) {
            column.column_type.nullable = false;
        } else if cursor.accept_word("null") {
            column.column_type.nullable = true;
        } else if cursor.accept_words(&["primary", "key"]) {
            return self.set_key(vec![column.name.clone()], start);
        } else if cursor.accept_word("default") {
            let first = cursor.position();
            let expression = cursor.expression()?;
            let position = covering(first, cursor.previous_position());
            column.default = Some(Default {
                expression,
                position,
            });
        } else if cursor.accept_words(&["foreign", "key"]) || cursor.is_word("references") {
            return self.reference(cursor);
        } else {
            let refused = [
                "lateness",
                "watermark",
                "interned",
                "unique",
                "check",
                "generated",
            ];
            return match refused.iter().find(|word| cursor.is_word(word)) {
                Some(word) => Err(SqlError::unsupported(start, &word.to_uppercase(), "")),
                None => Err(cursor.expected("NOT NULL, PRIMARY KEY, DEFAULT, `,` or `)`")),
            };
        }
        Ok(())
    }

    fn set_key(
        &mut self,
        key: Vec<Name>,
        start: highwater_types::relation::SourcePosition,
    ) -> SqlResult<()> {
        if self.key.replace(key).is_some() {
            let message = "a table has one primary key; for a key of several columns write \
                           PRIMARY KEY (a, b) after the columns";
            return Err(SqlError::definition(start, message));
        }
        Ok(())
    }

    /// `REFERENCES t(c)`: said for readers, not checked.
    fn reference(&mut self, cursor: &mut Cursor<'_>) -> SqlResult<()> {
        let start = cursor.position();
        cursor.expect_word("references")?;
        cursor.name("a table name")?;
        if cursor.peek() == Some(&Token::LParen) {
            column_list(cursor)?;
        }
        self.warnings.push(SqlError::new(
            crate::diagnostics::ErrorKind::Definition,
            covering(start, cursor.previous_position()),
            "foreign keys are not checked",
        ));
        Ok(())
    }
}

/// `(a, b)`.
pub(crate) fn column_list(cursor: &mut Cursor<'_>) -> SqlResult<Vec<Name>> {
    cursor.expect(&Token::LParen)?;
    let mut names = vec![cursor.name("a column name")?];
    while cursor.accept(&Token::Comma) {
        names.push(cursor.name("a column name")?);
    }
    cursor.expect(&Token::RParen)?;
    Ok(names)
}

/// The positions of the key's columns, which become NOT NULL.
fn resolve_key(key: Vec<Name>, columns: &mut [ColumnDefinition]) -> SqlResult<Vec<usize>> {
    let mut positions = Vec::with_capacity(key.len());
    for name in key {
        let Some(index) = columns
            .iter()
            .position(|column| column.name.value == name.value)
        else {
            let names = columns.iter().map(|column| column.name.value.as_str());
            let hint = closest(&name.value, names).map_or_else(String::new, |candidate| {
                format!("; did you mean {candidate:?}?")
            });
            let message = format!("the table has no column {:?}{hint}", name.value);
            return Err(SqlError::definition(name.position, message));
        };
        if positions.contains(&index) {
            let message = format!("the column {:?} is in the key twice", name.value);
            return Err(SqlError::definition(name.position, message));
        }
        let column_type = &mut columns[index].column_type;
        if matches!(column_type.sql_type, SqlType::Map) {
            return Err(SqlError::definition(
                name.position,
                "a MAP cannot be a primary key",
            ));
        }
        column_type.nullable = false;
        positions.push(index);
    }
    Ok(positions)
}
