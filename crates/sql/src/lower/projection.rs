//! Computing columns, together with the filter below.

use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering, Pruned};
use crate::expression::{Scope, scalar, scalar_as, used_columns};

impl Lowering<'_> {
    pub(super) fn lower_projection(
        &mut self,
        projection: &Projection,
    ) -> Result<NodeIndex, LowerError> {
        let output = (&projection.expr[..], &projection.schema);
        if let LogicalPlan::EmptyRelation(empty) = projection.input.as_ref() {
            return self.lower_expressions_without_input(output, empty.produce_one_row);
        }
        if let LogicalPlan::Filter(filter) = projection.input.as_ref() {
            if let Some(ranked) = self.lower_rank_filter(filter)? {
                let schema = filter.input.schema();
                let input = Pruned {
                    node: ranked,
                    positions: (0..schema.fields().len()).collect(),
                };
                return self.project(&input, schema, None, output);
            }
            let predicate = Some(&filter.predicate);
            return self.lower_filtered_projection(&filter.input, predicate, output);
        }
        self.lower_filtered_projection(&projection.input, None, output)
    }

    fn lower_filtered_projection(
        &mut self,
        input: &LogicalPlan,
        predicate: Option<&Expr>,
        output: (&[Expr], &DFSchemaRef),
    ) -> Result<NodeIndex, LowerError> {
        let schema = input.schema();
        let mut used = Vec::new();
        for expr in output.0.iter().chain(predicate) {
            used_columns(expr, schema, &mut used)?;
        }
        let pruned = self.lower_pruned(input, &used)?;
        self.project(&pruned, schema, predicate, output)
    }

    /// Filters and computes the columns of `output` over a node that has columns of `schema`.
    pub(super) fn project(
        &mut self,
        input: &Pruned,
        schema: &DFSchemaRef,
        predicate: Option<&Expr>,
        output: (&[Expr], &DFSchemaRef),
    ) -> Result<NodeIndex, LowerError> {
        let scope = Scope::at(schema, &input.positions);
        let predicate = predicate.map(|expr| scalar(expr, scope)).transpose()?;
        let (expressions, output_schema) = output;
        let mut columns = Vec::with_capacity(expressions.len());
        for (expr, field) in expressions.iter().zip(output_schema.fields()) {
            let column = scalar_as(expr, scope, field.data_type())?;
            columns.push((field.name().clone(), column));
        }
        let picked: Option<Vec<usize>> = columns
            .iter()
            .map(|(_, column)| column.as_column())
            .collect();
        match picked {
            Some(picked) if predicate.is_none() => Ok(self.builder.select(input.node, &picked)),
            _ => Ok(self.builder.map(input.node, predicate, columns)),
        }
    }
}
