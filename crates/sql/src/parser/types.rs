//! The grammar of SQL types, one for columns, casts and functions.
//!
//! sqlparser's own type grammar differs between its dialects and loses the structure of `ROW`, so
//! types are parsed here. In expressions the parsed type is put back as one quoted word, the
//! type's canonical text, which the planner looks up in [`Types`].

use std::collections::HashMap;

use datafusion::sql::sqlparser::tokenizer::Token;
use highwater_types::relation::{ColumnType, Field, SourcePosition, SqlType};

use crate::column_type::{self, simple};
use crate::diagnostics::{SqlError, SqlResult, closest, covering};
use crate::parser::cursor::Cursor;

/// The largest DECIMAL: Arrow's Decimal128.
const DECIMAL_PRECISION_MAX: i64 = 38;
/// Digits after the point of a DECIMAL without parameters.
const DECIMAL_SCALE_DEFAULT: i64 = 10;

/// The types of a program: those it defines, and those it uses in expressions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Types {
    defined: HashMap<String, ColumnType>,
    used: HashMap<String, ColumnType>,
}

impl Types {
    /// Adds a `CREATE TYPE`; false if the name is taken.
    pub(crate) fn define(&mut self, name: String, column_type: ColumnType) -> bool {
        self.defined.insert(name, column_type).is_none()
    }

    /// Notes a type used in an expression and returns the text it is known by.
    pub(crate) fn use_in_expression(&mut self, column_type: ColumnType) -> String {
        let text = column_type::sql_text(&column_type);
        self.used.insert(text.clone(), column_type);
        text
    }

    /// The type that an expression calls by this text.
    pub(crate) fn used(&self, text: &str) -> Option<&ColumnType> {
        self.used.get(text)
    }

    /// Parses a type, without `NOT NULL`; the result is nullable.
    pub(crate) fn parse(&self, cursor: &mut Cursor<'_>) -> SqlResult<ColumnType> {
        TypeParser {
            types: self,
            cursor,
            has_open_angle_bracket: false,
        }
        .parse()
    }
}

struct TypeParser<'p, 'a> {
    types: &'p Types,
    cursor: &'p mut Cursor<'a>,
    /// `>>` was read where one `>` was due.
    has_open_angle_bracket: bool,
}

/// Names of types without parameters.
const SIMPLE_TYPES: &[(&str, SqlType)] = &[
    ("boolean", SqlType::Boolean),
    ("bool", SqlType::Boolean),
    ("utinyint", SqlType::UTinyInt),
    ("usmallint", SqlType::USmallInt),
    ("uinteger", SqlType::UInteger),
    ("uint", SqlType::UInteger),
    ("unsigned", SqlType::UInteger),
    ("ubigint", SqlType::UBigInt),
    ("real", SqlType::Real),
    ("float4", SqlType::Real),
    ("float", SqlType::Double),
    ("float8", SqlType::Double),
    ("date", SqlType::Date),
    ("uuid", SqlType::Uuid),
    ("text", SqlType::Varchar),
    ("string", SqlType::Varchar),
    ("bytea", SqlType::Varbinary),
];

/// Names of integer types, which `UNSIGNED` may follow.
const INTEGER_TYPES: &[(&str, SqlType, SqlType)] = &[
    ("tinyint", SqlType::TinyInt, SqlType::UTinyInt),
    ("smallint", SqlType::SmallInt, SqlType::USmallInt),
    ("int2", SqlType::SmallInt, SqlType::USmallInt),
    ("integer", SqlType::Integer, SqlType::UInteger),
    ("int", SqlType::Integer, SqlType::UInteger),
    ("int4", SqlType::Integer, SqlType::UInteger),
    ("bigint", SqlType::BigInt, SqlType::UBigInt),
    ("int8", SqlType::BigInt, SqlType::UBigInt),
];

/// Names of the other types, for suggestions.
const PARAMETRIC_TYPES: &[&str] = &[
    "decimal",
    "numeric",
    "char",
    "character",
    "varchar",
    "binary",
    "varbinary",
    "time",
    "timestamp",
    "interval",
    "double",
    "row",
    "map",
    "array",
];

impl TypeParser<'_, '_> {
    fn parse(&mut self) -> SqlResult<ColumnType> {
        let mut column_type = self.base()?;
        loop {
            if self.cursor.accept_word("array") {
                column_type = column_type::array_of(column_type);
            } else if self.cursor.peek() == Some(&Token::LBracket) {
                self.cursor.advance();
                self.cursor.expect(&Token::RBracket)?;
                column_type = column_type::array_of(column_type);
            } else {
                return Ok(column_type);
            }
        }
    }

    fn base(&mut self) -> SqlResult<ColumnType> {
        let start = self.cursor.position();
        let name = self.cursor.name("a type")?;
        if name.is_quoted {
            return self.defined(&name.value, start);
        }
        let lookup = |(text, _): &&(&str, SqlType)| *text == name.value;
        if let Some((_, sql_type)) = SIMPLE_TYPES.iter().find(lookup) {
            return Ok(simple(*sql_type));
        }
        let integer = INTEGER_TYPES
            .iter()
            .find(|(text, _, _)| *text == name.value);
        if let Some((_, signed, unsigned)) = integer {
            let is_unsigned = self.cursor.accept_word("unsigned");
            return Ok(simple(if is_unsigned { *unsigned } else { *signed }));
        }
        match name.value.as_str() {
            "double" => {
                self.cursor.accept_word("precision");
                Ok(simple(SqlType::Double))
            }
            "decimal" | "dec" | "numeric" | "number" => self.decimal(),
            "char" | "character" if self.cursor.accept_word("varying") => {
                self.sized(SqlType::Varchar, None)
            }
            "char" | "character" => self.sized(SqlType::Char, Some(1)),
            "varchar" => self.sized(SqlType::Varchar, None),
            "binary" if self.cursor.accept_word("varying") => self.sized(SqlType::Varbinary, None),
            "binary" => self.sized(SqlType::Binary, Some(1)),
            "varbinary" => self.sized(SqlType::Varbinary, None),
            "time" => self.time(SqlType::Time, start),
            "timestamp" | "datetime" => self.time(SqlType::Timestamp, start),
            "interval" => self.interval(),
            "row" | "struct" => self.row(),
            "map" => self.map(),
            "array" => {
                self.open_angle_bracket()?;
                let element = self.nested()?;
                self.close_angle_bracket()?;
                Ok(column_type::array_of(element))
            }
            other => self.defined(other, start),
        }
    }

    /// A type of the program.
    fn defined(&self, name: &str, position: SourcePosition) -> SqlResult<ColumnType> {
        if let Some(column_type) = self.types.defined.get(name) {
            return Ok(column_type.clone());
        }
        let unsupported = match name {
            "variant" | "json" | "jsonb" => Some("use VARCHAR"),
            "timestamptz" => Some("use TIMESTAMP, in UTC"),
            "geometry" | "geography" | "point" => Some("use columns of DOUBLE"),
            "blob" | "clob" => Some("use VARBINARY or VARCHAR"),
            "serial" | "bigserial" => Some("use INTEGER or BIGINT"),
            _ => None,
        };
        if let Some(remedy) = unsupported {
            let construct = format!("type {}", name.to_uppercase());
            return Err(SqlError::unsupported(position, &construct, remedy));
        }
        let known = SIMPLE_TYPES.iter().map(|(text, _)| *text);
        let known = known.chain(INTEGER_TYPES.iter().map(|(text, _, _)| *text));
        let known = known.chain(PARAMETRIC_TYPES.iter().copied());
        let known = known.chain(self.types.defined.keys().map(String::as_str));
        let hint = closest(name, known).map_or_else(
            || "; define it with CREATE TYPE before this statement".to_owned(),
            |candidate| format!("; did you mean {candidate:?}?"),
        );
        Err(SqlError::definition(
            position,
            format!("unknown type {name:?}{hint}"),
        ))
    }

    fn decimal(&mut self) -> SqlResult<ColumnType> {
        let start = self.cursor.position();
        let (mut precision, mut scale) = (DECIMAL_PRECISION_MAX, DECIMAL_SCALE_DEFAULT);
        if self.cursor.accept(&Token::LParen) {
            precision = self.cursor.number("the number of digits")?;
            scale = 0;
            if self.cursor.accept(&Token::Comma) {
                scale = self.cursor.number("the number of digits after the point")?;
            }
            self.cursor.expect(&Token::RParen)?;
        }
        if !(1..=DECIMAL_PRECISION_MAX).contains(&precision) || scale > precision {
            return Err(SqlError::definition(
                covering(start, self.cursor.previous_position()),
                format!(
                    "DECIMAL({precision}, {scale}) is out of range: 1 to \
                     {DECIMAL_PRECISION_MAX} digits, of which 0 to {precision} after the point"
                ),
            ));
        }
        let (precision, scale) = (Some(precision), Some(scale));
        Ok(ColumnType {
            precision,
            scale,
            ..simple(SqlType::Decimal)
        })
    }

    /// `(n)` or nothing.
    fn sized(&mut self, sql_type: SqlType, default: Option<i64>) -> SqlResult<ColumnType> {
        let mut precision = default;
        if self.cursor.accept(&Token::LParen) {
            precision = Some(self.cursor.number("a length")?);
            self.cursor.expect(&Token::RParen)?;
        }
        Ok(ColumnType {
            precision,
            ..simple(sql_type)
        })
    }

    fn time(&mut self, sql_type: SqlType, start: SourcePosition) -> SqlResult<ColumnType> {
        if self.cursor.accept(&Token::LParen) {
            self.cursor.number("a number of digits")?;
            self.cursor.expect(&Token::RParen)?;
        }
        if self.cursor.accept_words(&["with", "time", "zone"]) {
            return Err(SqlError::unsupported(
                covering(start, self.cursor.previous_position()),
                "WITH TIME ZONE",
                "use TIMESTAMP or TIME, in UTC",
            ));
        }
        self.cursor.accept_words(&["without", "time", "zone"]);
        Ok(simple(sql_type))
    }

    fn interval(&mut self) -> SqlResult<ColumnType> {
        const UNITS: &[&str] = &[
            "year", "quarter", "month", "week", "day", "hour", "minute", "second",
        ];
        let mut is_months = false;
        let mut unit = |cursor: &mut Cursor<'_>| -> SqlResult<bool> {
            let Some(found) = UNITS.iter().find(|unit| cursor.is_word(unit)) else {
                return Ok(false);
            };
            is_months |= matches!(*found, "year" | "quarter" | "month");
            cursor.advance();
            if cursor.accept(&Token::LParen) {
                cursor.skip_parentheses()?;
            }
            Ok(true)
        };
        if unit(self.cursor)? && self.cursor.accept_word("to") {
            unit(self.cursor)?;
        }
        let sql_type = if is_months {
            SqlType::IntervalYearMonth
        } else {
            SqlType::IntervalDaySecond
        };
        Ok(simple(sql_type))
    }

    fn row(&mut self) -> SqlResult<ColumnType> {
        let is_angled = self.cursor.peek() == Some(&Token::Lt);
        if is_angled {
            self.open_angle_bracket()?;
        } else {
            self.cursor.expect(&Token::LParen)?;
        }
        let mut fields: Vec<Field> = Vec::new();
        loop {
            let name = self.cursor.name("a field name")?;
            if fields.iter().any(|field| field.name == name.value) {
                let message = format!("the field {:?} is defined twice", name.value);
                return Err(SqlError::definition(name.position, message));
            }
            self.cursor.accept(&Token::Colon);
            let columntype = self.nested()?;
            fields.push(Field {
                name: name.value,
                case_sensitive: name.is_quoted,
                columntype,
                default: None,
                unused: false,
            });
            if !self.cursor.accept(&Token::Comma) {
                break;
            }
        }
        if is_angled {
            self.close_angle_bracket()?;
        } else {
            self.cursor.expect(&Token::RParen)?;
        }
        Ok(column_type::row_of(fields))
    }

    fn map(&mut self) -> SqlResult<ColumnType> {
        self.open_angle_bracket()?;
        let key = self.nested()?;
        self.cursor.expect(&Token::Comma)?;
        let value = self.nested()?;
        self.close_angle_bracket()?;
        Ok(column_type::map_of(key, value))
    }

    /// A type inside a type, with `NOT NULL` if it says so.
    fn nested(&mut self) -> SqlResult<ColumnType> {
        let mut column_type = self.parse()?;
        column_type.nullable = !self.cursor.accept_words(&["not", "null"]);
        Ok(column_type)
    }

    fn open_angle_bracket(&mut self) -> SqlResult<()> {
        self.cursor.expect(&Token::Lt)
    }

    /// The tokenizer takes `>>` for a shift.
    fn close_angle_bracket(&mut self) -> SqlResult<()> {
        if self.has_open_angle_bracket {
            self.has_open_angle_bracket = false;
            return Ok(());
        }
        if self.cursor.accept(&Token::ShiftRight) {
            self.has_open_angle_bracket = true;
            return Ok(());
        }
        self.cursor.expect(&Token::Gt)
    }
}

#[cfg(test)]
mod tests;
