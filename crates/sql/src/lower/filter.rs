//! Keeping the rows for which a condition is true.

use datafusion::logical_expr::Filter;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};
use crate::expression::{Scope, scalar};

impl Lowering<'_> {
    pub(super) fn lower_filter(&mut self, filter: &Filter) -> Result<NodeIndex, LowerError> {
        if let Some(ranked) = self.lower_rank_filter(filter)? {
            return Ok(ranked);
        }
        let input = self.lower(&filter.input)?;
        let predicate = scalar(&filter.predicate, Scope::of(filter.input.schema()))?;
        Ok(self.builder.filter(input, predicate))
    }
}
