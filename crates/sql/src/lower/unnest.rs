//! UNNEST of lists and ROWs.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::NullHandling;
use datafusion::logical_expr::Unnest as UnnestPlan;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};
use crate::expression::unnest::{EmptyLists, Unnest, UnnestColumn};

impl Lowering<'_> {
    pub(super) fn lower_unnest(&mut self, plan: &UnnestPlan) -> Result<NodeIndex, LowerError> {
        let depth = common_depth(plan)?;
        let empty_lists = match plan.options.null_handling {
            NullHandling::Drop => (false, false),
            NullHandling::Preserve => (true, false),
            NullHandling::PreserveAndExpandEmpty => (true, true),
        };
        let empty_lists = EmptyLists {
            keep_null: empty_lists.0,
            keep_empty: empty_lists.1,
        };
        let mut node = self.lower(&plan.input)?;
        for level in 1..=depth {
            let is_last = level == depth;
            let columns = self.unnest_columns(plan, node, is_last)?;
            let schema = unnested_schema(self.builder.schema(node), &columns)?;
            let function = Unnest::new(columns, empty_lists, schema.clone());
            node = self.builder.flat_map(node, Arc::new(function), &schema);
        }
        self.conform(node, &plan.schema)
    }

    fn unnest_columns(
        &self,
        plan: &UnnestPlan,
        node: NodeIndex,
        is_last: bool,
    ) -> Result<Vec<UnnestColumn>, LowerError> {
        let schema = self.builder.schema(node);
        let mut columns = vec![UnnestColumn::Keep; schema.fields().len()];
        for (index, _) in &plan.list_type_columns {
            let is_list = matches!(
                schema.field(*index).data_type(),
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
            );
            if !is_list {
                let message = format!("UNNEST of {}", schema.field(*index).data_type());
                return Err(LowerError::new("UNNEST", message));
            }
            columns[*index] = UnnestColumn::List;
        }
        if is_last {
            for &index in &plan.struct_type_columns {
                columns[index] = UnnestColumn::Struct;
            }
        }
        Ok(columns)
    }
}

/// How many levels of lists to take apart, which must be the same for all of them.
fn common_depth(plan: &UnnestPlan) -> Result<usize, LowerError> {
    let refused = || {
        LowerError::new(
            "UNNEST",
            "UNNEST of one list more than once, or of lists to different depths, is not supported",
        )
    };
    let mut seen = Vec::new();
    for (index, _) in &plan.list_type_columns {
        if seen.contains(index) {
            return Err(refused());
        }
        seen.push(*index);
    }
    let mut depths = plan.list_type_columns.iter().map(|(_, list)| list.depth);
    let first = depths.next().unwrap_or(1);
    match depths.all(|depth| depth == first) {
        true => Ok(first),
        false => Err(refused()),
    }
}

fn unnested_schema(input: &SchemaRef, columns: &[UnnestColumn]) -> Result<SchemaRef, LowerError> {
    let mut fields = Vec::new();
    for (field, column) in input.fields().iter().zip(columns) {
        let name = field.name();
        match (column, field.data_type()) {
            (UnnestColumn::Keep, data_type) => {
                fields.push(Field::new(name, data_type.clone(), true));
            }
            (
                UnnestColumn::List,
                DataType::List(element)
                | DataType::LargeList(element)
                | DataType::FixedSizeList(element, _),
            ) => fields.push(Field::new(name, element.data_type().clone(), true)),
            (UnnestColumn::Struct, DataType::Struct(parts)) => {
                for part in parts {
                    let name = format!("{name}.{}", part.name());
                    fields.push(Field::new(name, part.data_type().clone(), true));
                }
            }
            (_, data_type) => {
                return Err(LowerError::new("UNNEST", format!("UNNEST of {data_type}")));
            }
        }
    }
    Ok(Arc::new(Schema::new(fields)))
}
