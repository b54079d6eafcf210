//! `SUM` and `AVG` of integers: exact in 128 bits; overflow is looked for in the result only, so
//! that a sum may pass through values that its type does not hold.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array};
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

use super::decimal_sum::finish_decimals;
use super::exact_sum::Leading;
use super::linear::{
    Finish, LinearResult, LinearState, WeightedRows, add_counts, out_of_range, results, values,
};

/// State: the sum as `Decimal128(38, 0)`, how many rows are not NULL.
#[derive(Debug)]
pub(super) struct IntegerSum {
    pub result: DataType,
    pub finish: Finish,
}

impl LinearState for IntegerSum {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Decimal128(38, 0), DataType::Int64]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let Some(argument) = argument else {
            return Ok(vec![column(vec![0; rows.group_count]), rows.counts.clone()]);
        };
        let sums = match argument.data_type() {
            DataType::Int8 => sum::<Int8Type>(argument, rows),
            DataType::Int16 => sum::<Int16Type>(argument, rows),
            DataType::Int32 => sum::<Int32Type>(argument, rows),
            DataType::Int64 => sum::<Int64Type>(argument, rows),
            DataType::UInt8 => sum::<UInt8Type>(argument, rows),
            DataType::UInt16 => sum::<UInt16Type>(argument, rows),
            DataType::UInt32 => sum::<UInt32Type>(argument, rows),
            DataType::UInt64 => sum::<UInt64Type>(argument, rows),
            _ => sum::<Int64Type>(&cast(argument, &DataType::Int64)?, rows),
        }?;
        Ok(vec![column(sums), rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        let sums = sum_checked(values::<Decimal128Type>(&states[0]), rows)?;
        Ok(vec![column(sums), add_counts(&states[1], rows)?])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let sums = values::<Decimal128Type>(&states[0]);
        let counts = values::<Int64Type>(&states[1]);
        if self.result.is_decimal() {
            let sums: Vec<_> = sums.iter().map(|&sum| sum.into()).collect();
            return finish_decimals(&sums, counts, 0, &self.result, self.finish);
        }
        let results = match (&self.result, self.finish) {
            (DataType::Float64, Finish::Average) => averages(&self.result, sums, counts),
            (_, Finish::Average) => {
                let quotient = |(&sum, &count): (&i128, &i64)| {
                    if count == 0 {
                        0
                    } else {
                        sum / i128::from(count)
                    }
                };
                let averages: Vec<i128> = sums.iter().zip(counts).map(quotient).collect();
                self.narrow(&averages, counts)?
            }
            (_, Finish::Sum) => self.narrow(sums, counts)?,
        };
        Ok(results)
    }
}

impl IntegerSum {
    fn narrow(&self, sums: &[i128], counts: &[i64]) -> LinearResult<ArrayRef> {
        let result = &self.result;
        match result {
            DataType::Int8 => narrow::<Int8Type>(result, sums, counts),
            DataType::Int16 => narrow::<Int16Type>(result, sums, counts),
            DataType::Int32 => narrow::<Int32Type>(result, sums, counts),
            DataType::UInt8 => narrow::<UInt8Type>(result, sums, counts),
            DataType::UInt16 => narrow::<UInt16Type>(result, sums, counts),
            DataType::UInt32 => narrow::<UInt32Type>(result, sums, counts),
            DataType::UInt64 => narrow::<UInt64Type>(result, sums, counts),
            DataType::Duration(TimeUnit::Second) => {
                narrow::<DurationSecondType>(result, sums, counts)
            }
            DataType::Duration(TimeUnit::Millisecond) => {
                narrow::<DurationMillisecondType>(result, sums, counts)
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                narrow::<DurationMicrosecondType>(result, sums, counts)
            }
            DataType::Duration(TimeUnit::Nanosecond) => {
                narrow::<DurationNanosecondType>(result, sums, counts)
            }
            _ => narrow::<Int64Type>(result, sums, counts),
        }
    }
}

fn column(sums: Vec<i128>) -> ArrayRef {
    Arc::new(Decimal128Array::from(sums).with_data_type(DataType::Decimal128(38, 0)))
}

fn sum<T>(argument: &ArrayRef, rows: &WeightedRows<'_>) -> LinearResult<Vec<i128>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = values::<T>(argument);
    if rows.fits_i128(64) {
        Ok(sum_unchecked(values, rows))
    } else {
        sum_checked(values, rows)
    }
}

/// The hot loop: the caller knows that nothing can overflow.
pub(super) fn sum_unchecked<N: Copy + Into<i128>>(
    values: &[N],
    rows: &WeightedRows<'_>,
) -> Vec<i128> {
    let weighted = values.iter().zip(rows.weights);
    if rows.group_count == 1 {
        let products = weighted.map(|(&value, &weight)| value.into() * i128::from(weight));
        return vec![products.sum()];
    }
    let mut sums = vec![0_i128; rows.group_count];
    for ((&value, &weight), &group) in weighted.zip(rows.groups) {
        sums[group as usize] += value.into() * i128::from(weight);
    }
    sums
}

fn sum_checked<N: Copy + Into<i128>>(
    values: &[N],
    rows: &WeightedRows<'_>,
) -> LinearResult<Vec<i128>> {
    let mut sums = vec![0_i128; rows.group_count];
    for ((&value, &weight), &group) in values.iter().zip(rows.weights).zip(rows.groups) {
        let sum = &mut sums[group as usize];
        let product = value.into().checked_mul(i128::from(weight));
        *sum = product
            .and_then(|product| sum.checked_add(product))
            .ok_or_else(|| out_of_range(group as usize, "an integer sum"))?;
    }
    Ok(sums)
}

fn narrow<T>(result: &DataType, sums: &[i128], counts: &[i64]) -> LinearResult<ArrayRef>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i128>,
{
    let convert = |(group, &sum): (usize, &i128)| {
        let overflow = |_| {
            let mut error = out_of_range(group, &format!("integer overflow: {sum}"));
            error.message.push_str(&format!(" of {result}"));
            error
        };
        T::Native::try_from(sum).map_err(overflow)
    };
    let narrowed = sums
        .iter()
        .enumerate()
        .map(convert)
        .collect::<LinearResult<_>>()?;
    Ok(results::<T>(result, narrowed, counts))
}

fn averages(result: &DataType, sums: &[i128], counts: &[i64]) -> ArrayRef {
    let average = |(&sum, &count): (&i128, &i64)| match u64::try_from(count) {
        Ok(divisor @ 1..) => Leading::of(sum).divided_by(divisor).to_f64(),
        _ => 0.0,
    };
    results::<Float64Type>(
        result,
        sums.iter().zip(counts).map(average).collect(),
        counts,
    )
}
