//! From a compiled program to what a pipeline runs: connectors are read and checked here.

use std::path::Path;
use std::sync::Arc;

use highwater_connectors::table::InputTable;
use highwater_pipeline::{Definition, TableSetup, ViewSetup};
use highwater_sql::{Program, ViewKind};
use highwater_types::connector::{ConfigError, ConnectorConfig, Direction, parse_connectors};
use highwater_types::program::Diagnostic;
use highwater_types::relation::{PropertyValue, SourcePosition};
use serde_json::Value;

/// The definition of a program.
///
/// Relative paths of file connectors start at `base`, the folder of the program's file; an input
/// file that is not there may be named from the working directory instead.
///
/// # Errors
/// All connectors that cannot be used, each at its place in the program.
pub fn definition(program: &Program, base: &Path) -> Result<Definition, Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut connectors = |property: &Option<PropertyValue>, direction| {
        let Some(property) = property else {
            return Vec::new();
        };
        match parse_connectors(&property.value, direction) {
            Ok(mut connectors) => {
                for connector in &mut connectors {
                    resolve_path(connector, base);
                }
                connectors
            }
            Err(error) => {
                errors.push(diagnostic(program, property.value_position, &error));
                Vec::new()
            }
        }
    };
    let tables: Vec<Vec<ConnectorConfig>> = program
        .tables
        .iter()
        .map(|table| connectors(&table.connectors, Direction::Input))
        .collect();
    let views: Vec<ViewSetup> = program
        .views
        .iter()
        .map(|view| (view, connectors(&view.connectors, Direction::Output)))
        .filter(|(view, _)| view.kind != ViewKind::Local)
        .map(|(view, connectors)| ViewSetup {
            relation: view.relation.clone(),
            connectors,
        })
        .collect();
    let tables: Vec<Option<TableSetup>> = program
        .tables
        .iter()
        .zip(tables)
        .map(|(table, connectors)| {
            let input = InputTable::new(
                table.relation.clone(),
                table.schema.clone(),
                table.defaults.clone(),
            );
            match input {
                Ok(input) => Some(TableSetup {
                    input,
                    append_only: table.append_only,
                    connectors,
                }),
                Err(error) => {
                    errors.push(diagnostic(program, SourcePosition::default(), &error));
                    None
                }
            }
        })
        .collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Definition {
        plan: Arc::clone(&program.plan),
        tables: tables.into_iter().flatten().collect(),
        views,
    })
}

/// Makes the path of a file connector independent of the working directory.
fn resolve_path(connector: &mut ConnectorConfig, base: &Path) {
    if !connector.transport.name.starts_with("file_") {
        return;
    }
    let Some(Value::String(path)) = connector.transport.config.get_mut("path") else {
        return;
    };
    let is_input = connector.transport.name == "file_input";
    let resolved = base.join(&*path);
    let is_elsewhere = is_input && !resolved.exists() && Path::new(&*path).exists();
    if !is_elsewhere {
        *path = resolved.to_string_lossy().into_owned();
    }
}

/// The place is the whole property: its text is JSON inside an SQL string.
fn diagnostic(program: &Program, position: SourcePosition, error: &ConfigError) -> Diagnostic {
    let SourcePosition {
        start_line_number,
        start_column,
        end_line_number,
        end_column,
    } = position;
    Diagnostic {
        start_line_number,
        start_column,
        end_line_number,
        end_column,
        warning: false,
        error_type: "Connector error".to_owned(),
        message: error.message.clone(),
        snippet: snippet(&program.text, position),
    }
}

/// The first line of the place, numbered, with carets below.
fn snippet(text: &str, position: SourcePosition) -> String {
    let number = position.start_line_number;
    let line = number
        .checked_sub(1)
        .and_then(|index| text.lines().nth(index));
    let Some(line) = line else {
        return String::new();
    };
    let is_one_line = position.end_line_number == number;
    let end = if is_one_line {
        position.end_column
    } else {
        line.chars().count()
    };
    let start = position.start_column.max(1);
    let carets = (end + 1).saturating_sub(start).max(1);
    format!(
        "{number:>4}|{line}\n{}{}\n",
        " ".repeat(4 + start),
        "^".repeat(carets)
    )
}
