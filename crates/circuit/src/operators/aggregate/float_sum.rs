//! `SUM` and `AVG` of floats: exact, rounded once at the end.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};

use super::exact_sum::ExactSum;
use super::linear::{
    Finish, LinearResult, LinearState, WeightedRows, add_counts, out_of_range, results, values,
};

/// State: the encoded [`ExactSum`], how many rows are not NULL.
#[derive(Debug)]
pub(super) struct FloatSum {
    pub result: DataType,
    pub finish: Finish,
}

impl LinearState for FloatSum {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary, DataType::Int64]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let sums = accumulate_floats(argument, rows, ExactSum::add)?;
        Ok(vec![sums, rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        Ok(vec![
            add_encoded_sums(&states[0], rows)?,
            add_counts(&states[1], rows)?,
        ])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let sums: &BinaryArray = states[0].as_binary();
        let counts = values::<Int64Type>(&states[1]);
        let mut scratch = ExactSum::new();
        let mut rounded = Vec::with_capacity(counts.len());
        for (sum, &count) in sums.iter().zip(counts) {
            scratch.add_encoded(sum.unwrap_or_default(), 1);
            rounded.push(self.round(&mut scratch, count));
        }
        Ok(match self.result {
            DataType::Float64 => results::<Float64Type>(&self.result, rounded, counts),
            // The values are in range and on the grid of the narrow type already.
            _ => {
                let narrow = rounded.iter().map(|&value| value as f32).collect();
                let narrow = results::<Float32Type>(&DataType::Float32, narrow, counts);
                cast(&narrow, &self.result)?
            }
        })
    }
}

impl FloatSum {
    /// Rounds to the result type; clears `sum`.
    fn round(&self, sum: &mut ExactSum, count: i64) -> f64 {
        if let Some(special) = sum.special() {
            sum.clear();
            return special;
        }
        let mut leading = sum.drain_leading();
        if self.finish == Finish::Average {
            leading = leading.divided_by(count.unsigned_abs().max(1));
        }
        if self.result == DataType::Float64 {
            leading.to_f64()
        } else {
            leading.to_f32().into()
        }
    }
}

/// The encoded sum of `add(value, weight)` per group.
pub(super) fn accumulate_floats(
    argument: Option<&ArrayRef>,
    rows: &WeightedRows<'_>,
    add: impl Fn(&mut ExactSum, f64, i64),
) -> LinearResult<ArrayRef> {
    let Some(argument) = argument else {
        return encode_groups(rows, |_, _| ());
    };
    let argument = match argument.data_type() {
        DataType::Float64 => argument.clone(),
        _ => cast(argument, &DataType::Float64)?,
    };
    let values = values::<Float64Type>(&argument);
    encode_groups(rows, |sum, group| {
        for &row in group {
            let row = row as usize;
            if rows.weights[row] != 0 {
                add(sum, values[row], rows.weights[row]);
            }
        }
    })
}

/// Adds up one column of encoded sums.
pub(super) fn add_encoded_sums(
    encoded: &ArrayRef,
    rows: &WeightedRows<'_>,
) -> LinearResult<ArrayRef> {
    let encoded: &BinaryArray = encoded.as_binary();
    encode_groups(rows, |sum, group| {
        for &row in group {
            let row = row as usize;
            sum.add_encoded(encoded.value(row), rows.weights[row]);
        }
    })
}

fn encode_groups(
    rows: &WeightedRows<'_>,
    mut add_group: impl FnMut(&mut ExactSum, &[u32]),
) -> LinearResult<ArrayRef> {
    let mut bytes = Vec::with_capacity(rows.group_count * 16);
    let mut offsets = Vec::with_capacity(rows.group_count + 1);
    offsets.push(0);
    let mut sum = ExactSum::new();
    rows.for_each_group(|group| {
        add_group(&mut sum, group);
        sum.drain_into(&mut bytes);
        offsets.push(bytes.len());
    });
    // One sum takes at most 600 bytes, so this needs millions of groups in one step.
    let offsets = offsets
        .into_iter()
        .map(i32::try_from)
        .collect::<Result<Vec<_>, _>>();
    let offsets = offsets.map_err(|_| out_of_range(0, "the size of the float sums of a step"))?;
    Ok(Arc::new(BinaryArray::new(
        OffsetBuffer::new(offsets.into()),
        bytes.into(),
        None,
    )))
}
