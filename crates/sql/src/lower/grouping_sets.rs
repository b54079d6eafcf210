//! GROUPING SETS, ROLLUP and CUBE: one aggregate per set over the same rows.
//!
//! The columns that a set leaves out are NULL, and `__grouping_id` has a bit for each of them, the
//! last column's bit being the lowest. The same set a second time has a higher ordinal above the bits.

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Expr};
use highwater_circuit::plan::NodeIndex;

use super::aggregate::{distinct_exprs, output_column};
use super::{LowerError, Lowering, Pruned};
use crate::expression::{constant, null};

impl Lowering<'_> {
    pub(super) fn lower_grouping_sets(
        &mut self,
        aggregate: &Aggregate,
        set: &GroupingSet,
        input: &Pruned,
    ) -> Result<NodeIndex, LowerError> {
        let all: Vec<&Expr> = set.distinct_expr();
        let mut occurrences: HashMap<u64, u64> = HashMap::new();
        let mut parts = Vec::new();
        for present in sets(set) {
            let present = distinct_exprs(&present);
            let left_out = all.iter().fold(0, |bits, expr| {
                bits << 1 | u64::from(!present.contains(expr))
            });
            let ordinal = occurrences.entry(left_out).or_default();
            let id = *ordinal << all.len() | left_out;
            *ordinal += 1;
            let in_order: Vec<&Expr> = all
                .iter()
                .copied()
                .filter(|expr| present.contains(expr))
                .collect();
            let node = self.aggregate(&aggregate.input, input, &in_order, &aggregate.aggr_expr)?;
            parts.push(self.grouping_set_columns(aggregate, node, (&all, &in_order), id)?);
        }
        Ok(self.builder.union(parts))
    }

    fn grouping_set_columns(
        &mut self,
        aggregate: &Aggregate,
        node: NodeIndex,
        (all, present): (&[&Expr], &[&Expr]),
        id: u64,
    ) -> Result<NodeIndex, LowerError> {
        let fields = aggregate.schema.fields();
        let mut columns = Vec::with_capacity(fields.len());
        for (expr, field) in all.iter().zip(fields) {
            columns.push(match present.iter().position(|known| known == expr) {
                Some(index) => output_column(self, node, index, field)?,
                None => (field.name().clone(), null(field.data_type())?),
            });
        }
        let id_field = &fields[all.len()];
        let id = constant(grouping_id(id, id_field.data_type())?);
        columns.push((id_field.name().clone(), id));
        for (index, field) in fields.iter().skip(all.len() + 1).enumerate() {
            columns.push(output_column(self, node, present.len() + index, field)?);
        }
        Ok(self.builder.map(node, None, columns))
    }
}

fn grouping_id(id: u64, data_type: &DataType) -> Result<ScalarValue, LowerError> {
    ScalarValue::UInt64(Some(id))
        .cast_to(data_type)
        .map_err(|error| LowerError::from_planning("GROUPING SETS", &error))
}

/// The sets written out.
fn sets(set: &GroupingSet) -> Vec<Vec<Expr>> {
    match set {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(exprs) => (0..=exprs.len())
            .rev()
            .map(|length| exprs[..length].to_vec())
            .collect(),
        GroupingSet::Cube(exprs) => (0..1_u64 << exprs.len())
            .map(|chosen| {
                let is_chosen = |index: &usize| chosen >> index & 1 == 1;
                let indices = (0..exprs.len()).filter(is_chosen);
                indices.map(|index| exprs[index].clone()).collect()
            })
            .collect(),
    }
}
