//! The aggregate behind scalar subqueries: the value of the one row, NULL if there is none, an
//! error if there are more.

use std::fmt::Debug;

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

/// Its name; not for users.
pub(crate) const SINGLE_VALUE: &str = "__single_value";

/// What it says when there is more than one row.
const MESSAGE: &str = "a scalar subquery returned more than one row";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct SingleValue {
    signature: Signature,
}

impl SingleValue {
    pub(crate) fn new() -> Self {
        Self {
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for SingleValue {
    fn name(&self) -> &str {
        SINGLE_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, argument_types: &[DataType]) -> Result<DataType> {
        match argument_types {
            [data_type] => Ok(data_type.clone()),
            _ => exec_err!("{SINGLE_VALUE} takes one argument"),
        }
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let value = ScalarValue::try_from(arguments.return_field.data_type())?;
        Ok(Box::new(SingleValueAccumulator { value, rows: 0 }))
    }

    fn state_fields(
        &self,
        arguments: StateFieldsArgs<'_>,
    ) -> Result<Vec<arrow::datatypes::FieldRef>> {
        let value = arguments
            .return_field
            .as_ref()
            .clone()
            .with_name("value")
            .with_nullable(true);
        let rows = arrow::datatypes::Field::new("rows", DataType::UInt64, false);
        Ok(vec![value.into(), rows.into()])
    }
}

#[derive(Debug)]
struct SingleValueAccumulator {
    value: ScalarValue,
    rows: u64,
}

impl SingleValueAccumulator {
    fn add(&mut self, values: &ArrayRef, index: usize) -> Result<()> {
        self.rows += 1;
        if self.rows > 1 {
            return Err(DataFusionError::Execution(MESSAGE.to_owned()));
        }
        self.value = ScalarValue::try_from_array(values, index)?;
        Ok(())
    }
}

impl Accumulator for SingleValueAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        (0..values[0].len()).try_for_each(|index| self.add(&values[0], index))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::from(self.rows)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for index in 0..states[0].len() {
            let rows = ScalarValue::try_from_array(&states[1], index)?;
            if rows != ScalarValue::UInt64(Some(0)) {
                self.add(&states[0], index)?;
            }
        }
        Ok(())
    }
}
