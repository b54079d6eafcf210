//! `WITH ('key' = 'value', …)`.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::tokenizer::Token;
use highwater_types::relation::{PropertyValue, SourcePosition};

use crate::diagnostics::{ErrorKind, SqlError, SqlResult, closest};
use crate::parser::cursor::Cursor;

/// A property that a relation may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Property {
    name: &'static str,
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Boolean,
    JsonArray,
}

/// Of tables.
pub(crate) const TABLE_PROPERTIES: &[Property] = &[
    Property {
        name: "connectors",
        form: Form::JsonArray,
    },
    Property {
        name: "materialized",
        form: Form::Boolean,
    },
    Property {
        name: "append_only",
        form: Form::Boolean,
    },
];

/// Of views.
pub(crate) const VIEW_PROPERTIES: &[Property] = &[Property {
    name: "connectors",
    form: Form::JsonArray,
}];

/// Parses the clause, if there is one, and checks names and values.
pub(crate) fn parse_clause(
    cursor: &mut Cursor<'_>,
    known: &[Property],
) -> SqlResult<BTreeMap<String, PropertyValue>> {
    let mut properties = BTreeMap::new();
    if !cursor.accept_word("with") {
        return Ok(properties);
    }
    cursor.expect(&Token::LParen)?;
    loop {
        let (key, key_position) = cursor.string("a property name in quotes, e.g. 'connectors'")?;
        cursor.expect(&Token::Eq)?;
        let (value, value_position) = cursor.string("the property's value in quotes")?;
        check(&key, key_position, &value, value_position, known)?;
        let value = PropertyValue {
            value,
            key_position,
            value_position,
        };
        if properties.insert(key.clone(), value).is_some() {
            let message = format!("the property '{key}' is given twice");
            return Err(SqlError::new(ErrorKind::Property, key_position, message));
        }
        if !cursor.accept(&Token::Comma) {
            break;
        }
    }
    cursor.expect(&Token::RParen)?;
    Ok(properties)
}

fn check(
    key: &str,
    key_position: SourcePosition,
    value: &str,
    value_position: SourcePosition,
    known: &[Property],
) -> SqlResult<()> {
    let Some(property) = known.iter().find(|property| property.name == key) else {
        let names: Vec<&str> = known.iter().map(|property| property.name).collect();
        let hint = closest(key, names.iter().copied()).map_or_else(String::new, |candidate| {
            format!(" (did you mean '{candidate}'?)")
        });
        let message = format!(
            "unknown property '{key}'{hint}; known properties: {}",
            names.join(", ")
        );
        return Err(SqlError::new(ErrorKind::Property, key_position, message));
    };
    let problem = match property.form {
        Form::Boolean if matches!(value, "true" | "false") => None,
        Form::Boolean => Some(format!("'{key}' must be 'true' or 'false'")),
        Form::JsonArray => match serde_json::from_str::<serde_json::Value>(value) {
            Ok(serde_json::Value::Array(_)) => None,
            Ok(_) => Some(format!("'{key}' must be a JSON array, e.g. '[{{…}}]'")),
            Err(error) => Some(format!("'{key}' is not JSON: {error}")),
        },
    };
    match problem {
        None => Ok(()),
        Some(message) => Err(SqlError::new(ErrorKind::Property, value_position, message)),
    }
}
