//! AND and OR that evaluate their second operand only for the rows that need it.
//!
//! DataFusion skips the second operand only if few rows need it, which is a matter of speed. Here
//! it is one of meaning: in `b <> 0 AND a / b > 1` the division must not see a zero.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{and_kleene, filter_record_batch, or_kleene};
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::utils::scatter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Connective {
    And,
    Or,
}

/// `guard AND operand` or `guard OR operand`.
#[derive(Debug)]
pub(crate) struct LazyConnective {
    guard: Arc<dyn PhysicalExpr>,
    connective: Connective,
    operand: Arc<dyn PhysicalExpr>,
}

impl LazyConnective {
    pub(crate) fn new(
        guard: Arc<dyn PhysicalExpr>,
        connective: Connective,
        operand: Arc<dyn PhysicalExpr>,
    ) -> Self {
        Self {
            guard,
            connective,
            operand,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self.connective {
            Connective::And => "AND",
            Connective::Or => "OR",
        }
    }

    /// The rows that the guard does not decide: not false for AND, not true for OR.
    fn undecided(&self, guard: &BooleanArray) -> BooleanBuffer {
        let values = guard.values();
        let undecided = match self.connective {
            Connective::And => values.clone(),
            Connective::Or => !values,
        };
        match guard.nulls() {
            None => undecided,
            Some(nulls) => &undecided | &!nulls.inner(),
        }
    }
}

fn boolean(value: ColumnarValue, rows: usize) -> Result<BooleanArray> {
    let array = value.into_array(rows)?;
    if array.data_type() == &DataType::Null {
        return Ok(BooleanArray::new_null(rows));
    }
    Ok(array.as_boolean().clone())
}

impl PhysicalExpr for LazyConnective {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        Ok(self.guard.nullable(schema)? || self.operand.nullable(schema)?)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        let nullable = self.nullable(schema)?;
        let field = arrow::datatypes::Field::new("", DataType::Boolean, nullable);
        Ok(Arc::new(field))
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let guard = boolean(self.guard.evaluate(batch)?, rows)?;
        let undecided = self.undecided(&guard);
        let count = undecided.count_set_bits();
        if count == 0 {
            return Ok(ColumnarValue::Array(Arc::new(guard)));
        }
        let operand = if count == rows {
            boolean(self.operand.evaluate(batch)?, rows)?
        } else {
            let mask = BooleanArray::new(undecided, None);
            let needed = filter_record_batch(batch, &mask)?;
            let values = boolean(self.operand.evaluate(&needed)?, count)?;
            scatter(&mask, &values)?.as_boolean().clone()
        };
        let result = match self.connective {
            Connective::And => and_kleene(&guard, &operand)?,
            Connective::Or => or_kleene(&guard, &operand)?,
        };
        Ok(ColumnarValue::Array(Arc::new(result)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.guard, &self.operand]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let (guard, operand) = (children[0].clone(), children[1].clone());
        Ok(Arc::new(Self::new(guard, self.connective, operand)))
    }

    fn fmt_sql(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("(")?;
        self.guard.fmt_sql(formatter)?;
        write!(formatter, " {} ", self.name())?;
        self.operand.fmt_sql(formatter)?;
        formatter.write_str(")")
    }
}

impl fmt::Display for LazyConnective {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "({} {} {})",
            self.guard,
            self.name(),
            self.operand
        )
    }
}

impl PartialEq for LazyConnective {
    fn eq(&self, other: &Self) -> bool {
        self.guard.eq(&other.guard)
            && self.connective == other.connective
            && self.operand.eq(&other.operand)
    }
}

impl Eq for LazyConnective {}

impl Hash for LazyConnective {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.guard.hash(state);
        self.connective.hash(state);
        self.operand.hash(state);
    }
}
