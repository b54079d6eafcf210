//! `COUNT(*)` and `COUNT(x)`: the state is the result.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;

use super::linear::{LinearResult, LinearState, WeightedRows, add_counts};

#[derive(Debug)]
pub(super) struct Count;

impl LinearState for Count {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64]
    }

    fn accumulate(
        &self,
        _argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        Ok(vec![rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        Ok(vec![add_counts(&states[0], rows)?])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        Ok(states[0].clone())
    }
}
