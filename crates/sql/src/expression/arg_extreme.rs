//! `ARG_MIN(value, key)` and `ARG_MAX(value, key)`: the value of the row with the least or the
//! greatest key.
//!
//! Rows with a NULL key do not count. Among rows with the same key, the least value wins, NULL
//! being the greatest: so the answer depends on the rows alone, whatever their order. The circuit
//! reads it off an ordered arrangement; the accumulator here answers ad-hoc queries.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

/// The name of [`arg_min`].
pub(crate) const ARG_MIN: &str = "arg_min";
/// The name of [`arg_max`].
pub(crate) const ARG_MAX: &str = "arg_max";

/// `ARG_MIN(value, key)`.
pub(crate) fn arg_min() -> AggregateUDF {
    AggregateUDF::from(ArgExtreme::new(ARG_MIN, Ordering::Less))
}

/// `ARG_MAX(value, key)`.
pub(crate) fn arg_max() -> AggregateUDF {
    AggregateUDF::from(ArgExtreme::new(ARG_MAX, Ordering::Greater))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArgExtreme {
    name: &'static str,
    /// How a key compares with the best one so far if it is better.
    better: Ordering,
    signature: Signature,
}

impl ArgExtreme {
    fn new(name: &'static str, better: Ordering) -> Self {
        Self {
            name,
            better,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for ArgExtreme {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let fields = arguments.expr_fields;
        Ok(Box::new(ArgExtremeAccumulator {
            better: self.better,
            value: ScalarValue::try_from(fields[0].data_type())?,
            key: ScalarValue::try_from(fields[1].data_type())?,
        }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |index: usize, name: &str| {
            let data_type = arguments.input_fields[index].data_type().clone();
            Arc::new(Field::new(
                format!("{}[{name}]", arguments.name),
                data_type,
                true,
            ))
        };
        Ok(vec![field(0, "value"), field(1, "key")])
    }
}

#[derive(Debug)]
struct ArgExtremeAccumulator {
    better: Ordering,
    value: ScalarValue,
    /// NULL as long as there was no row.
    key: ScalarValue,
}

impl ArgExtremeAccumulator {
    fn offer(&mut self, value: ScalarValue, key: ScalarValue) {
        let is_better = match key.partial_cmp(&self.key) {
            _ if self.key.is_null() => true,
            Some(Ordering::Equal) => self.is_preferred(&value),
            ordering => ordering == Some(self.better),
        };
        if is_better {
            (self.value, self.key) = (value, key);
        }
    }

    fn is_preferred(&self, value: &ScalarValue) -> bool {
        match (value.is_null(), self.value.is_null()) {
            (true, _) => false,
            (false, true) => true,
            (false, false) => value.partial_cmp(&self.value) == Some(Ordering::Less),
        }
    }
}

impl Accumulator for ArgExtremeAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (value_column, key_column) = (&values[0], &values[1]);
        let key_nulls = key_column.logical_nulls();
        for row in 0..key_column.len() {
            if key_nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                continue;
            }
            let key = ScalarValue::try_from_array(key_column, row)?;
            let value = ScalarValue::try_from_array(value_column, row)?;
            self.offer(value, key);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size() + self.key.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), self.key.clone()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
