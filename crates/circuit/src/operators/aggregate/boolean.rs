//! `BOOL_AND` and `BOOL_OR`, from how many rows decide them.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Int64Type};

use super::linear::{LinearResult, LinearState, WeightedRows, add_counts, values};

/// When the result is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    NoFalse,
    AnyTrue,
}

/// State: how many rows have the deciding value, how many are not NULL.
#[derive(Debug)]
pub(super) struct BooleanCount {
    pub wanted: Wanted,
}

impl LinearState for BooleanCount {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64, DataType::Int64]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let decisive = self.wanted == Wanted::AnyTrue;
        let weights: Vec<i64> = match argument {
            Some(argument) => {
                let flags = argument.as_boolean().values();
                let weighted = rows.weights.iter().zip(flags);
                weighted
                    .map(|(&weight, flag)| weight * i64::from(flag == decisive))
                    .collect()
            }
            None => rows.weights.to_vec(),
        };
        let decisive = WeightedRows::new(&weights, rows.groups, rows.group_count)?;
        Ok(vec![decisive.counts, rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        states
            .iter()
            .map(|counts| add_counts(counts, rows))
            .collect()
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let decisive: &Int64Array = states[0].as_primitive();
        let counts = values::<Int64Type>(&states[1]);
        let wanted = self.wanted == Wanted::AnyTrue;
        let result =
            |(&decisive, &count): (&i64, &i64)| (count != 0).then_some((decisive != 0) == wanted);
        let results: BooleanArray = decisive.values().iter().zip(counts).map(result).collect();
        Ok(Arc::new(results))
    }
}
