//! The front end's own plan nodes: set operations, and the check of scalar subqueries.

use datafusion::logical_expr::Extension;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};
use crate::planner::set_operation::AllSetOperation;
use crate::planner::single_row::SingleRowCheck;

impl Lowering<'_> {
    pub(super) fn lower_extension(
        &mut self,
        extension: &Extension,
    ) -> Result<NodeIndex, LowerError> {
        let node = extension.node.as_any();
        if let Some(operation) = node.downcast_ref::<AllSetOperation>() {
            let schema = extension.node.schema();
            let mut inputs = Vec::with_capacity(2);
            for input in [&operation.left, &operation.right] {
                let input = self.lower(input)?;
                inputs.push(self.conform(input, schema)?);
            }
            return Ok(self
                .builder
                .set_operation(operation.kind.operation(), &inputs));
        }
        if let Some(check) = node.downcast_ref::<SingleRowCheck>() {
            let input = self.lower(&check.input)?;
            return Ok(self.builder.single_row(input, check.key.clone()));
        }
        Err(LowerError::unsupported(extension.node.name()))
    }
}
