//! Rows that are written out in the query.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema};
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{EmptyRelation, Expr, Values};
use highwater_circuit::plan::NodeIndex;
use highwater_zset::Delta;

use super::{LowerError, Lowering};
use crate::expression::evaluate_constant;

impl Lowering<'_> {
    pub(super) fn lower_values(&mut self, values: &Values) -> Result<NodeIndex, LowerError> {
        self.constant_rows(&values.values, &values.schema)
    }

    pub(super) fn lower_empty_relation(
        &mut self,
        empty: &EmptyRelation,
    ) -> Result<NodeIndex, LowerError> {
        let rows = vec![Vec::new(); usize::from(empty.produce_one_row)];
        self.constant_rows(&rows, &empty.schema)
    }

    /// `SELECT 1, 2`: a projection of a row without columns.
    pub(super) fn lower_expressions_without_input(
        &mut self,
        output: (&[Expr], &DFSchemaRef),
        one_row: bool,
    ) -> Result<NodeIndex, LowerError> {
        let (expressions, schema) = output;
        let rows = vec![expressions.to_vec(); usize::from(one_row)];
        self.constant_rows(&rows, schema)
    }

    fn constant_rows(
        &mut self,
        rows: &[Vec<Expr>],
        schema: &DFSchemaRef,
    ) -> Result<NodeIndex, LowerError> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        let mut fields = Vec::with_capacity(schema.fields().len());
        for (index, field) in schema.fields().iter().enumerate() {
            let data_type = field.data_type();
            let cells = rows
                .iter()
                .map(|row| evaluate_constant(&row[index], data_type))
                .collect::<Result<Vec<_>, _>>()?;
            let column = match cells.is_empty() {
                true => Ok(arrow::array::new_empty_array(data_type)),
                false => ScalarValue::iter_to_array(cells),
            };
            columns.push(column.map_err(|error| LowerError::from_planning("VALUES", &error))?);
            fields.push(Field::new(field.name(), data_type.clone(), true));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let schema = Arc::new(Schema::new(fields));
        let rows = RecordBatch::try_new_with_options(schema, columns, &options)
            .map_err(|error| LowerError::new("VALUES", error.to_string()))?;
        Ok(self.builder.constant(Delta::insertions(rows)))
    }
}
