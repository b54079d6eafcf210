//! `BIT_XOR`: adding and taking away are the same, so only odd weights count.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};

use super::linear::{LinearResult, LinearState, WeightedRows, add_counts, results, values};

/// State: the bits, sign-extended; how many rows are not NULL.
#[derive(Debug)]
pub(super) struct Xor {
    pub argument: DataType,
}

impl LinearState for Xor {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Int64, DataType::Int64]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let bits: Vec<i64> = match argument {
            None => vec![0; rows.weights.len()],
            // A cast would refuse the upper half of the range.
            Some(argument) if *argument.data_type() == DataType::UInt64 => {
                values::<UInt64Type>(argument)
                    .iter()
                    .map(|&value| value as i64)
                    .collect()
            }
            Some(argument) => values::<Int64Type>(&cast(argument, &DataType::Int64)?).to_vec(),
        };
        Ok(vec![xor(&bits, rows), rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        let bits = xor(values::<Int64Type>(&states[0]), rows);
        Ok(vec![bits, add_counts(&states[1], rows)?])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let bits = values::<Int64Type>(&states[0]);
        let counts = values::<Int64Type>(&states[1]);
        let argument = &self.argument;
        Ok(match argument {
            DataType::Int8 => narrow::<Int8Type>(argument, bits, counts, |bits| bits as i8),
            DataType::Int16 => narrow::<Int16Type>(argument, bits, counts, |bits| bits as i16),
            DataType::Int32 => narrow::<Int32Type>(argument, bits, counts, |bits| bits as i32),
            DataType::UInt8 => narrow::<UInt8Type>(argument, bits, counts, |bits| bits as u8),
            DataType::UInt16 => narrow::<UInt16Type>(argument, bits, counts, |bits| bits as u16),
            DataType::UInt32 => narrow::<UInt32Type>(argument, bits, counts, |bits| bits as u32),
            DataType::UInt64 => narrow::<UInt64Type>(argument, bits, counts, |bits| bits as u64),
            _ => narrow::<Int64Type>(argument, bits, counts, |bits| bits),
        })
    }
}

fn xor(bits: &[i64], rows: &WeightedRows<'_>) -> ArrayRef {
    let mut sums = vec![0_i64; rows.group_count];
    for ((&bits, &weight), &group) in bits.iter().zip(rows.weights).zip(rows.groups) {
        sums[group as usize] ^= bits * (weight & 1);
    }
    Arc::new(Int64Array::from(sums))
}

fn narrow<T: ArrowPrimitiveType>(
    data_type: &DataType,
    bits: &[i64],
    counts: &[i64],
    convert: impl Fn(i64) -> T::Native,
) -> ArrayRef {
    let values = bits.iter().map(|&bits| convert(bits)).collect();
    results::<T>(data_type, values, counts)
}
