//! What a program has defined so far.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::TableSource;

use crate::parser::statement::FunctionStatement;
use crate::parser::types::Types;

/// Tables, views, functions and types by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    relations: HashMap<String, Arc<CatalogRelation>>,
    functions: HashMap<String, FunctionStatement>,
    pub(crate) types: Arc<Types>,
    /// Names whose definitions have mistakes.
    failed: HashSet<String>,
}

/// A table or view as queries see it.
#[derive(Debug)]
pub(crate) struct CatalogRelation {
    /// Nullable where the relation may hold NULL.
    pub(crate) schema: SchemaRef,
}

impl TableSource for CatalogRelation {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Catalog {
    pub(crate) fn new(types: Types) -> Self {
        Self {
            types: Arc::new(types),
            ..Self::default()
        }
    }

    /// The same catalog with other types.
    pub(crate) fn with_types(&self, types: Types) -> Self {
        Self {
            types: Arc::new(types),
            ..self.clone()
        }
    }

    pub(crate) fn add_relation(&mut self, name: &str, schema: SchemaRef) {
        self.relations
            .insert(name.to_owned(), Arc::new(CatalogRelation { schema }));
    }

    pub(crate) fn relation(&self, name: &str) -> Option<&Arc<CatalogRelation>> {
        self.relations.get(name)
    }

    /// The relation that a query means; schemas are not known.
    pub(crate) fn resolve(&self, reference: &TableReference) -> Option<Arc<CatalogRelation>> {
        match reference {
            TableReference::Bare { table } => self.relation(table).cloned(),
            _ => None,
        }
    }

    pub(crate) fn relation_names(&self) -> impl Iterator<Item = &str> {
        self.relations.keys().map(String::as_str)
    }

    pub(crate) fn add_function(&mut self, function: FunctionStatement) {
        self.functions.insert(function.name.value.clone(), function);
    }

    pub(crate) fn function(&self, name: &str) -> Option<&FunctionStatement> {
        self.functions.get(name)
    }

    /// Notes that this name has a definition, but one with mistakes.
    pub(crate) fn add_failed(&mut self, name: &str) {
        self.failed.insert(name.to_owned());
    }

    pub(crate) fn has_failed(&self, name: &str) -> bool {
        self.failed.contains(name)
    }
}
