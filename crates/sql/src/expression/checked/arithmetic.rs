//! `+ - * / %` whose overflow and division by zero are errors that name the operands.
//!
//! Arrow's checked kernels do the work. They do not look at a decimal's precision, so a result
//! type of the largest precision is checked here: such a value would otherwise be stored and
//! compared as if it were valid.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type,
    FieldRef, Schema,
};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr_common::physical_expr::fmt_sql;

/// One arithmetic operation.
#[derive(Clone, Debug)]
pub(crate) struct Arithmetic {
    operation: BinaryExpr,
    /// The type family, for the message: `integer`, `decimal`, ….
    family: &'static str,
    checks_precision: bool,
}

impl Arithmetic {
    pub(crate) fn new(
        left: Arc<dyn PhysicalExpr>,
        operator: Operator,
        right: Arc<dyn PhysicalExpr>,
        schema: &Schema,
    ) -> Result<Self> {
        let operation = BinaryExpr::new(left, operator, right).with_fail_on_overflow(true);
        let data_type = operation.data_type(schema)?;
        Ok(Self {
            family: family(&data_type),
            checks_precision: is_largest_decimal(&data_type),
            operation,
        })
    }

    /// `+`, `-`, `*`, `/` or `%`.
    pub(crate) fn operator(&self) -> Operator {
        *self.operation.op()
    }

    /// For a failed operation; the operands' own errors pass as they are.
    fn explain(&self, error: DataFusionError) -> DataFusionError {
        let what = match &error {
            DataFusionError::ArrowError(error, _) => match error.as_ref() {
                ArrowError::DivideByZero => "division by zero".to_owned(),
                ArrowError::ArithmeticOverflow(_) => format!("{} overflow", self.family),
                _ => return self.unexplained(error),
            },
            _ => return error,
        };
        DataFusionError::Execution(format!("{what} in {}", fmt_sql(&self.operation)))
    }

    fn unexplained(&self, error: &ArrowError) -> DataFusionError {
        let message = crate::expression::plain_arrow_message(error);
        DataFusionError::Execution(message)
    }

    fn check_precision(&self, value: &ColumnarValue) -> Result<()> {
        let array = value.to_array(1)?;
        let checked = match array.data_type() {
            DataType::Decimal128(precision, scale) => array
                .as_primitive::<Decimal128Type>()
                .clone()
                .with_precision_and_scale(*precision, *scale)?
                .validate_decimal_precision(*precision),
            DataType::Decimal256(precision, scale) => array
                .as_primitive::<Decimal256Type>()
                .clone()
                .with_precision_and_scale(*precision, *scale)?
                .validate_decimal_precision(*precision),
            _ => Ok(()),
        };
        checked.map_err(|_| {
            let text = fmt_sql(&self.operation);
            DataFusionError::Execution(format!("decimal overflow in {text}"))
        })
    }
}

fn family(data_type: &DataType) -> &'static str {
    match data_type {
        data_type if data_type.is_integer() => "integer",
        data_type if data_type.is_decimal() => "decimal",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        _ => "arithmetic",
    }
}

fn is_largest_decimal(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal128(precision, _) => *precision == DECIMAL128_MAX_PRECISION,
        DataType::Decimal256(precision, _) => *precision == DECIMAL256_MAX_PRECISION,
        _ => false,
    }
}

impl PhysicalExpr for Arithmetic {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.operation.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.operation.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.operation.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let value = self
            .operation
            .evaluate(batch)
            .map_err(|error| self.explain(error))?;
        if self.checks_precision {
            self.check_precision(&value)?;
        }
        Ok(value)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.operation.children()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let [left, right] = &children[..] else {
            return Err(DataFusionError::Internal("arithmetic is binary".to_owned()));
        };
        let operation = BinaryExpr::new(left.clone(), *self.operation.op(), right.clone());
        Ok(Arc::new(Self {
            operation: operation.with_fail_on_overflow(true),
            family: self.family,
            checks_precision: self.checks_precision,
        }))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operation.fmt_sql(formatter)
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({})", self.operation)
    }
}

impl PartialEq for Arithmetic {
    fn eq(&self, other: &Self) -> bool {
        self.operation == other.operation
    }
}

impl Eq for Arithmetic {}

impl Hash for Arithmetic {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.operation.hash(state);
    }
}
