//! A table as the decoders see it: names, types, NULL rules, defaults, key.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, SchemaRef};
use highwater_types::relation::{ColumnType, Field, Relation};

use crate::error::ConfigError;

/// A table that rows are read for. Made once, shared by its connectors.
#[derive(Clone, Debug)]
pub struct InputTable {
    relation: Relation,
    schema: SchemaRef,
    defaults: Vec<Option<ArrayRef>>,
    names: NameLookup,
    /// Per column: is it part of the primary key?
    in_key: Vec<bool>,
}

impl InputTable {
    /// `schema` has the relation's columns in order, all nullable, in the project's Arrow types.
    /// `defaults` has, per column, an array of one value if the column has a `DEFAULT`; it may be
    /// empty if there are none.
    pub fn new(
        relation: Relation,
        schema: SchemaRef,
        mut defaults: Vec<Option<ArrayRef>>,
    ) -> Result<Arc<Self>, ConfigError> {
        let columns = relation.fields.len();
        defaults.resize(columns.max(defaults.len()), None);
        if schema.fields().len() != columns || defaults.len() != columns {
            return Err(ConfigError::new(format!(
                "table `{}` has {columns} columns, its schema {}",
                relation.name,
                schema.fields().len()
            )));
        }
        for (default, field) in defaults.iter().zip(schema.fields()) {
            check_default(default.as_ref(), field.data_type(), field.name())?;
        }
        let key = relation.primary_key.as_deref().unwrap_or_default();
        let in_key = relation
            .fields
            .iter()
            .map(|field| key.contains(&field.name))
            .collect();
        let names = NameLookup::new(&relation.fields);
        Ok(Arc::new(Self {
            relation,
            schema,
            defaults,
            names,
            in_key,
        }))
    }

    pub fn relation(&self) -> &Relation {
        &self.relation
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// True if the table has a primary key.
    pub fn has_key(&self) -> bool {
        self.in_key.contains(&true)
    }

    pub(crate) fn is_key_column(&self, column: usize) -> bool {
        self.in_key[column]
    }

    pub(crate) fn columns(&self) -> usize {
        self.relation.fields.len()
    }

    pub(crate) fn column_name(&self, column: usize) -> &str {
        &self.relation.fields[column].name
    }

    pub(crate) fn column_type(&self, column: usize) -> &ColumnType {
        &self.relation.fields[column].columntype
    }

    pub(crate) fn default(&self, column: usize) -> Option<&ArrayRef> {
        self.defaults[column].as_ref()
    }

    pub(crate) fn names(&self) -> &NameLookup {
        &self.names
    }
}

fn check_default(
    default: Option<&ArrayRef>,
    expected: &DataType,
    column: &str,
) -> Result<(), ConfigError> {
    match default {
        Some(value) if value.len() != 1 || value.data_type() != expected => {
            Err(ConfigError::new(format!(
                "the default of column `{column}` must be one value of type {expected}, not {} of type {}",
                value.len(),
                value.data_type()
            )))
        }
        _ => Ok(()),
    }
}

/// Finds columns or fields by the names in the data: unquoted ones whatever their case (Unicode
/// included), quoted ones exactly.
#[derive(Clone, Debug)]
pub(crate) struct NameLookup {
    /// Names exactly as in the relation, quoted or not.
    exact: HashMap<String, usize>,
    /// Unquoted names, in lower case.
    folded: HashMap<String, usize>,
}

impl NameLookup {
    pub(crate) fn new(fields: &[Field]) -> Self {
        let exact = fields
            .iter()
            .enumerate()
            .map(|(i, field)| (field.name.clone(), i))
            .collect();
        let unquoted = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| !field.case_sensitive);
        let folded = unquoted
            .map(|(i, field)| (field.name.to_lowercase(), i))
            .collect();
        Self { exact, folded }
    }

    /// An exact match wins over one that differs in case.
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        match self.exact.get(name) {
            Some(&column) => Some(column),
            None => self.folded.get(&name.to_lowercase()).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use highwater_types::relation::SqlType;

    use super::*;

    fn field(name: &str, case_sensitive: bool) -> Field {
        let columntype = ColumnType {
            sql_type: SqlType::Integer,
            nullable: true,
            precision: None,
            scale: None,
            component: None,
            fields: None,
            key: None,
            value: None,
        };
        Field {
            name: name.into(),
            case_sensitive,
            columntype,
            default: None,
            unused: false,
        }
    }

    #[test]
    fn names_are_found_as_sql_says() {
        let lookup =
            NameLookup::new(&[field("abc", false), field("δθ", false), field("Abc", true)]);
        assert_eq!(lookup.find("abc"), Some(0));
        assert_eq!(lookup.find("ABC"), Some(0));
        assert_eq!(lookup.find("ΔΘ"), Some(1));
        assert_eq!(lookup.find("Abc"), Some(2));
        assert_eq!(lookup.find("abd"), None);
        let quoted = NameLookup::new(&[field("Abc", true)]);
        assert_eq!(quoted.find("abc"), None);
    }
}
