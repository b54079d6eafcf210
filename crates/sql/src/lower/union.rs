//! UNION ALL.

use datafusion::logical_expr::Union;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};

impl Lowering<'_> {
    pub(super) fn lower_union(&mut self, union: &Union) -> Result<NodeIndex, LowerError> {
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let input = self.lower(input)?;
            inputs.push(self.conform(input, &union.schema)?);
        }
        Ok(self.builder.union(inputs))
    }
}
