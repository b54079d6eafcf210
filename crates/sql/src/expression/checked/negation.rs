//! Unary minus that fails on overflow: there is no positive counterpart of the smallest integer.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::kernels::numeric::neg;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

/// `-x`.
#[derive(Debug)]
pub(crate) struct Negation {
    argument: Arc<dyn PhysicalExpr>,
}

impl Negation {
    pub(crate) fn new(argument: Arc<dyn PhysicalExpr>) -> Self {
        Self { argument }
    }
}

impl PhysicalExpr for Negation {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.argument.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.argument.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.argument.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let overflow = |_| {
            let text = fmt_sql(self);
            DataFusionError::Execution(format!("overflow in {text}"))
        };
        match self.argument.evaluate(batch)? {
            ColumnarValue::Array(array) => {
                let negated = neg(&array).map_err(overflow)?;
                Ok(ColumnarValue::Array(negated))
            }
            ColumnarValue::Scalar(scalar) => {
                let negated = neg(&scalar.to_array()?).map_err(overflow)?;
                let negated = ScalarValue::try_from_array(&negated, 0)?;
                Ok(ColumnarValue::Scalar(negated))
            }
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.argument]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self::new(children[0].clone())))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("- ")?;
        self.argument.fmt_sql(formatter)
    }
}

impl fmt::Display for Negation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "(- {})", self.argument)
    }
}

impl PartialEq for Negation {
    fn eq(&self, other: &Self) -> bool {
        self.argument.eq(&other.argument)
    }
}

impl Eq for Negation {}

impl Hash for Negation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.argument.hash(state);
    }
}
