//! Reading a table or a view.

use datafusion::logical_expr::TableScan;
use datafusion::logical_expr::utils::conjunction;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};
use crate::expression::{Scope, scalar};

impl Lowering<'_> {
    pub(super) fn lower_scan(&mut self, scan: &TableScan) -> Result<NodeIndex, LowerError> {
        let name = scan.table_name.table();
        let unknown = || LowerError::new("table", format!("{name} is not a table or view"));
        let relation = *self.relations.get(name).ok_or_else(unknown)?;
        if scan.fetch.is_some() {
            return Err(LowerError::new(
                "LIMIT",
                "a limit in a table scan has no order to choose rows by",
            ));
        }
        let filtered = match conjunction(scan.filters.iter().cloned()) {
            None => relation,
            Some(predicate) => {
                let schema = scan.source.schema();
                let schema = datafusion::common::DFSchema::try_from_qualified_schema(
                    scan.table_name.clone(),
                    &schema,
                )
                .map_err(|error| LowerError::of_expression(&predicate, &error))?;
                let predicate = scalar(&predicate, Scope::of(&schema))?;
                self.builder.filter(relation, predicate)
            }
        };
        Ok(match &scan.projection {
            None => filtered,
            Some(columns) => self.builder.select(filtered, columns),
        })
    }
}
