//! `SUM` and `AVG` of decimals: exact in 256 bits at the argument's scale. An average is cut, not
//! rounded, at the result's scale, as DataFusion does.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal256Array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Int64Type, i256,
};

use super::integer_sum::sum_unchecked;
use super::linear::{
    Finish, LinearError, LinearResult, LinearState, WeightedRows, add_counts, out_of_range,
    results, values,
};

/// State: the sum as `Decimal256(76, scale)`, how many rows are not NULL.
#[derive(Debug)]
pub(super) struct DecimalSum {
    pub argument_scale: i8,
    pub result: DataType,
    pub finish: Finish,
}

impl LinearState for DecimalSum {
    fn state_types(&self) -> Vec<DataType> {
        vec![
            DataType::Decimal256(76, self.argument_scale),
            DataType::Int64,
        ]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let Some(argument) = argument else {
            return Ok(vec![
                self.column(vec![i256::ZERO; rows.group_count]),
                rows.counts.clone(),
            ]);
        };
        let sums = match argument.data_type() {
            DataType::Decimal32(..) => sum::<Decimal32Type>(argument, 32, rows),
            DataType::Decimal64(..) => sum::<Decimal64Type>(argument, 64, rows),
            // 10^precision is below 2^(10 / 3 * precision + 1).
            DataType::Decimal128(precision, _) => {
                sum::<Decimal128Type>(argument, u32::from(*precision) * 10 / 3 + 1, rows)
            }
            _ => sum_checked(values::<Decimal256Type>(argument), rows),
        }?;
        Ok(vec![self.column(sums), rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        let sums = sum_checked(values::<Decimal256Type>(&states[0]), rows)?;
        Ok(vec![self.column(sums), add_counts(&states[1], rows)?])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let sums = values::<Decimal256Type>(&states[0]);
        let counts = values::<Int64Type>(&states[1]);
        finish_decimals(sums, counts, self.argument_scale, &self.result, self.finish)
    }
}

impl DecimalSum {
    fn column(&self, sums: Vec<i256>) -> ArrayRef {
        let data_type = DataType::Decimal256(76, self.argument_scale);
        Arc::new(Decimal256Array::from(sums).with_data_type(data_type))
    }
}

fn sum<T>(argument: &ArrayRef, value_bits: u32, rows: &WeightedRows<'_>) -> LinearResult<Vec<i256>>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i128>,
{
    let values = values::<T>(argument);
    if rows.fits_i128(value_bits) {
        return Ok(sum_unchecked(values, rows)
            .into_iter()
            .map(i256::from_i128)
            .collect());
    }
    let wide: Vec<i256> = values
        .iter()
        .map(|&value| i256::from_i128(value.into()))
        .collect();
    sum_checked(&wide, rows)
}

fn sum_checked(values: &[i256], rows: &WeightedRows<'_>) -> LinearResult<Vec<i256>> {
    let mut sums = vec![i256::ZERO; rows.group_count];
    for ((&value, &weight), &group) in values.iter().zip(rows.weights).zip(rows.groups) {
        let sum = &mut sums[group as usize];
        let product = match weight {
            1 => Some(value),
            -1 => value.checked_neg(),
            _ => value.checked_mul(i256::from_i128(i128::from(weight))),
        };
        *sum = product
            .and_then(|product| sum.checked_add(product))
            .ok_or_else(|| out_of_range(group as usize, "a decimal sum"))?;
    }
    Ok(sums)
}

/// Sums of scale `scale` as decimals of the result type.
pub(super) fn finish_decimals(
    sums: &[i256],
    counts: &[i64],
    scale: i8,
    result: &DataType,
    finish: Finish,
) -> LinearResult<ArrayRef> {
    let parts = (sums, counts, scale, result, finish);
    match result {
        DataType::Decimal32(precision, to) => narrow::<Decimal32Type>(parts, *precision, *to),
        DataType::Decimal64(precision, to) => narrow::<Decimal64Type>(parts, *precision, *to),
        DataType::Decimal128(precision, to) => narrow::<Decimal128Type>(parts, *precision, *to),
        DataType::Decimal256(precision, to) => narrow::<Decimal256Type>(parts, *precision, *to),
        other => Err(LinearError {
            group: 0,
            message: format!("{other} is not a decimal"),
        }),
    }
}

fn narrow<T>(
    (sums, counts, scale, result, finish): (&[i256], &[i64], i8, &DataType, Finish),
    precision: u8,
    to_scale: i8,
) -> LinearResult<ArrayRef>
where
    T: DecimalType,
    T::Native: FromWide,
{
    let shift = i32::from(to_scale) - i32::from(scale);
    let power = i256::from_i128(10).checked_pow(shift.unsigned_abs());
    let limit = i256::from_i128(10).wrapping_pow(u32::from(precision));
    let convert = |(group, (&sum, &count)): (usize, (&i256, &i64))| {
        let divisor = match finish {
            _ if count == 0 => return Ok(T::Native::default()),
            Finish::Sum => 1,
            Finish::Average => count,
        };
        power
            .and_then(|power| scale_and_divide(sum, power, shift >= 0, divisor))
            .filter(|value| *value < limit && *value > -limit)
            .and_then(T::Native::from_wide)
            .ok_or_else(|| LinearError {
                group,
                message: format!("decimal overflow: the result does not fit {result}"),
            })
    };
    let pairs = sums.iter().zip(counts).enumerate();
    let narrowed = pairs.map(convert).collect::<LinearResult<_>>()?;
    Ok(results::<T>(result, narrowed, counts))
}

/// `sum * power / divisor`, or `sum / power / divisor` if not `is_up`, cut once. In 128 bits if
/// they are enough: wide division takes ten times as long.
fn scale_and_divide(sum: i256, power: i256, is_up: bool, divisor: i64) -> Option<i256> {
    if divisor == 1 && power == i256::ONE {
        return Some(sum);
    }
    let narrow = || {
        let (sum, power) = (sum.to_i128()?, power.to_i128()?);
        let divisor = i128::from(divisor);
        if is_up {
            Some(sum.checked_mul(power)? / divisor)
        } else {
            Some(sum / divisor.checked_mul(power)?)
        }
    };
    if let Some(value) = narrow() {
        return Some(i256::from_i128(value));
    }
    let divisor = i256::from_i128(i128::from(divisor));
    if is_up {
        sum.checked_mul(power)?.checked_div(divisor)
    } else {
        sum.checked_div(divisor.checked_mul(power)?)
    }
}

/// The integers of decimal arrays.
trait FromWide: Sized {
    fn from_wide(value: i256) -> Option<Self>;
}

impl FromWide for i32 {
    fn from_wide(value: i256) -> Option<Self> {
        value.to_i128()?.try_into().ok()
    }
}

impl FromWide for i64 {
    fn from_wide(value: i256) -> Option<Self> {
        value.to_i128()?.try_into().ok()
    }
}

impl FromWide for i128 {
    fn from_wide(value: i256) -> Option<Self> {
        value.to_i128()
    }
}

impl FromWide for i256 {
    fn from_wide(value: i256) -> Option<Self> {
        Some(value)
    }
}
