//! Made-up numbers, and what is a number inside: dates, times and decimals.

use std::sync::Arc;

use arrow::array::{ArrayRef, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::config::{FieldPlan, Strategy};
use super::pick::Picker;
use crate::decode::value;
use crate::error::{ConfigError, EncodeError};

/// 2100-01-01, where dates and times end unless the plan says otherwise.
const LAST_DAY: i128 = 47_482;

/// Integers `base + k · step`, for a picked `k`.
pub(super) struct Integers {
    data_type: DataType,
    base: i128,
    step: i128,
    picker: Picker,
}

/// What a type's integers mean.
struct Domain {
    /// The integer of 1 in the plan's unit: a day, a millisecond, 1.
    unit: i128,
    /// The values that the type holds.
    min: i128,
    max: i128,
    /// The range without one in the plan.
    default_from: i128,
    default_to: i128,
}

fn domain(data_type: &DataType, uniform: bool) -> Option<Domain> {
    let integers = |min: i128, max: i128| {
        let default_from = if uniform { min } else { 0 };
        Some(Domain {
            unit: 1,
            min,
            max,
            default_from,
            default_to: max + 1,
        })
    };
    let since_1970 = |min: i128, max: i128, unit: i128, day: i128| {
        Some(Domain {
            unit,
            min,
            max,
            default_from: 0,
            default_to: LAST_DAY * day,
        })
    };
    match data_type {
        DataType::Int8 => integers(i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => integers(i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => integers(i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => integers(i64::MIN.into(), i64::MAX.into()),
        DataType::UInt8 => integers(0, u8::MAX.into()),
        DataType::UInt16 => integers(0, u16::MAX.into()),
        DataType::UInt32 => integers(0, u32::MAX.into()),
        DataType::UInt64 => integers(0, u64::MAX.into()),
        DataType::Date32 => since_1970(i32::MIN.into(), i32::MAX.into(), 1, 1),
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            since_1970(i64::MIN.into(), i64::MAX.into(), 1000, 86_400_000_000)
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            let day = 86_400_000_000_000;
            Some(Domain {
                unit: 1_000_000,
                min: 0,
                max: day - 1,
                default_from: 0,
                default_to: day,
            })
        }
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            let end = 10_i128.pow(u32::from(*precision));
            let unit = 10_i128.pow(scale.unsigned_abs().into());
            let default_to = end.min(i128::from(i64::MAX));
            Some(Domain {
                unit,
                min: 1 - end,
                max: end - 1,
                default_from: 0,
                default_to,
            })
        }
        _ => None,
    }
}

impl Integers {
    /// None if the type's values are no integers.
    pub(super) fn new(plan: &FieldPlan, data_type: &DataType) -> Result<Option<Self>, ConfigError> {
        let uniform = plan.strategy == Strategy::Uniform;
        let Some(domain) = domain(data_type, uniform) else {
            return Ok(None);
        };
        // Any decimal of the range, but whole ones when counting.
        let all_digits = uniform && matches!(data_type, DataType::Decimal128(..));
        let stride = if all_digits { 1 } else { domain.unit };
        let (from, to) = match &plan.range {
            Some((from, to)) => (
                bound(from, data_type, domain.unit)?,
                bound(to, data_type, domain.unit)?,
            ),
            None => (domain.default_from, domain.default_to),
        };
        if from >= to {
            return Err(ConfigError::new(
                "`range` is empty: its first bound must be less",
            ));
        }
        let (base, step) = (scaled(from, plan.scale)?, scaled(stride, plan.scale)?);
        let mut count = (to - from).unsigned_abs().div_ceil(stride.unsigned_abs());
        let fitting = match step {
            0 => count,
            step if step > 0 => ((domain.max - base) / step).max(-1) as u128 + 1,
            step => ((domain.min - base) / step).max(-1) as u128 + 1,
        };
        if plan.range.is_some() && count > fitting || base < domain.min || base > domain.max {
            return Err(ConfigError::new(format!(
                "`range` and `scale` leave the type {data_type}"
            )));
        }
        count = count.min(fitting);
        let picker = Picker::new(plan, count)?;
        Ok(Some(Self {
            data_type: data_type.clone(),
            base,
            step,
            picker,
        }))
    }

    pub(super) fn generate(
        &self,
        indices: &[u64],
        rng: &mut ChaCha8Rng,
    ) -> Result<ArrayRef, EncodeError> {
        Ok(match &self.data_type {
            DataType::Int8 => self.array::<Int8Type>(indices, rng, |value| value as i8),
            DataType::Int16 => self.array::<Int16Type>(indices, rng, |value| value as i16),
            DataType::Int32 => self.array::<Int32Type>(indices, rng, |value| value as i32),
            DataType::Int64 => self.array::<Int64Type>(indices, rng, |value| value as i64),
            DataType::UInt8 => self.array::<UInt8Type>(indices, rng, |value| value as u8),
            DataType::UInt16 => self.array::<UInt16Type>(indices, rng, |value| value as u16),
            DataType::UInt32 => self.array::<UInt32Type>(indices, rng, |value| value as u32),
            DataType::UInt64 => self.array::<UInt64Type>(indices, rng, |value| value as u64),
            DataType::Date32 => self.array::<Date32Type>(indices, rng, |value| value as i32),
            DataType::Time64(_) => {
                self.array::<Time64NanosecondType>(indices, rng, |value| value as i64)
            }
            DataType::Decimal128(precision, scale) => {
                let values = self.primitive::<Decimal128Type>(indices, rng, |value| value);
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            _ => self.array::<TimestampMicrosecondType>(indices, rng, |value| value as i64),
        })
    }

    /// `convert` loses nothing: `new` made sure that all values fit.
    fn primitive<T: ArrowPrimitiveType>(
        &self,
        indices: &[u64],
        rng: &mut ChaCha8Rng,
        convert: impl Fn(i128) -> T::Native,
    ) -> PrimitiveArray<T> {
        let value = |index: &u64| {
            convert(self.base + i128::from(self.picker.pick(*index, rng)) * self.step)
        };
        PrimitiveArray::from_iter_values(indices.iter().map(value))
    }

    fn array<T: ArrowPrimitiveType>(
        &self,
        indices: &[u64],
        rng: &mut ChaCha8Rng,
        convert: impl Fn(i128) -> T::Native,
    ) -> ArrayRef {
        Arc::new(self.primitive::<T>(indices, rng, convert))
    }
}

/// A bound of a range: a number in the plan's unit, or the type's text.
fn bound(bound: &Value, data_type: &DataType, unit: i128) -> Result<i128, ConfigError> {
    let malformed = |reason: &str| ConfigError::new(format!("`range`: {bound}: {reason}"));
    let text = |parsed: Result<i128, crate::error::ValueError>| {
        parsed.map_err(|error| malformed(&error.reason))
    };
    match (data_type, bound) {
        (DataType::Decimal128(_, scale), Value::Number(number)) => {
            text(value::decimal(&number.to_string(), 38, *scale))
        }
        (DataType::Decimal128(_, scale), Value::String(digits)) => {
            text(value::decimal(digits, 38, *scale))
        }
        (DataType::Date32, Value::String(date)) => text(value::date(date).map(i128::from)),
        (DataType::Time64(_), Value::String(time)) => text(value::time(time).map(i128::from)),
        (DataType::Timestamp(..), Value::String(timestamp)) => {
            text(value::timestamp(timestamp).map(i128::from))
        }
        (_, Value::Number(number)) => {
            let whole = number
                .as_i64()
                .map(i128::from)
                .or(number.as_u64().map(i128::from));
            whole
                .map(|whole| whole * unit)
                .ok_or_else(|| malformed("not a whole number"))
        }
        _ => Err(malformed("not a value of the column's type")),
    }
}

fn scaled(value: i128, scale: f64) -> Result<i128, ConfigError> {
    // Exact for the scales that people write, and without floats for 1.
    if scale.fract() == 0.0 && scale.abs() < 1e15 {
        let scaled = value.checked_mul(scale as i128);
        return scaled.ok_or_else(|| ConfigError::new("`scale` is too large"));
    }
    let scaled = value as f64 * scale;
    let rounded = scaled.round();
    if !scaled.is_finite() || (scaled - rounded).abs() > 1e-6 || rounded.abs() > 1e30 {
        return Err(ConfigError::new(
            "`scale` does not lead to whole values of the column's type",
        ));
    }
    Ok(rounded as i128)
}

/// Floating point numbers.
pub(super) struct Floats {
    single: bool,
    from: f64,
    /// Width of the range, for the uniform strategy.
    width: f64,
    scale: f64,
    /// Whole steps from `from`, for the others.
    picker: Option<Picker>,
}

impl Floats {
    pub(super) fn new(plan: &FieldPlan, data_type: &DataType) -> Result<Self, ConfigError> {
        let uniform = plan.strategy == Strategy::Uniform;
        let (from, to) = match &plan.range {
            Some((from, to)) => from
                .as_f64()
                .zip(to.as_f64())
                .filter(|(from, to)| from < to)
                .ok_or_else(|| ConfigError::new("`range` must be two numbers, the first less"))?,
            None if uniform => (0.0, 1.0),
            // Up to here every whole number is a double.
            None => (0.0, 9_007_199_254_740_992.0),
        };
        let count = (to - from).ceil() as u128;
        let picker = if uniform {
            None
        } else {
            Some(Picker::new(plan, count)?)
        };
        let single = *data_type == DataType::Float32;
        Ok(Self {
            single,
            from,
            width: to - from,
            scale: plan.scale,
            picker,
        })
    }

    pub(super) fn generate(&self, indices: &[u64], rng: &mut ChaCha8Rng) -> ArrayRef {
        let value = |index: &u64| {
            let distance = match &self.picker {
                Some(picker) => picker.pick(*index, rng) as f64,
                None => rng.random::<f64>() * self.width,
            };
            (self.from + distance) * self.scale
        };
        let values = indices.iter().map(value);
        if self.single {
            Arc::new(PrimitiveArray::<Float32Type>::from_iter_values(
                values.map(|v| v as f32),
            ))
        } else {
            Arc::new(PrimitiveArray::<Float64Type>::from_iter_values(values))
        }
    }
}
