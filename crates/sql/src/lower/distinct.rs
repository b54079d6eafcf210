//! DISTINCT and DISTINCT ON.

use datafusion::logical_expr::{DistinctOn, LogicalPlan};
use highwater_circuit::plan::{NodeIndex, Rank, SetOperation, TopKSpec};

use super::{LowerError, Lowering, Pruned};
use crate::expression::{Scope, scalar};

impl Lowering<'_> {
    pub(super) fn lower_distinct(&mut self, input: &LogicalPlan) -> Result<NodeIndex, LowerError> {
        let input = self.lower(input)?;
        Ok(self.builder.set_operation(SetOperation::Distinct, &[input]))
    }

    /// The first row of each key in the given order; without one, in the order of all columns.
    pub(super) fn lower_distinct_on(
        &mut self,
        distinct: &DistinctOn,
    ) -> Result<NodeIndex, LowerError> {
        let schema = distinct.input.schema();
        let scope = Scope::of(schema);
        let input = self.lower(&distinct.input)?;
        let keys: Result<Vec<_>, _> = distinct
            .on_expr
            .iter()
            .map(|expr| scalar(expr, scope))
            .collect();
        let (keyed, key) = self.append(input, keys?);
        let sort = distinct.sort_expr.as_deref().unwrap_or_default();
        let (ordered, order) = self.ordered(keyed, sort, scope)?;
        let spec = TopKSpec {
            rank: Rank::RowNumber,
            offset: 0,
            fetch: 1,
            with_rank: false,
        };
        let first = Pruned {
            node: self.builder.top_k(ordered, key, order, spec),
            positions: (0..schema.fields().len()).collect(),
        };
        let output = (&distinct.select_expr[..], &distinct.schema);
        self.project(&first, schema, None, output)
    }
}
