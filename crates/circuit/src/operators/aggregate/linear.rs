//! The linear aggregates: what their states are and how they add up.
//!
//! A state is one row of state columns per group. States form a group under addition: the state of
//! a delta is the sum over its rows of weight times the row's own state, the state of no rows is
//! zero, and a state is stored in one form only, so that taking away all that was added gives the
//! same columns as before. Zero is the number 0 or the empty byte string in every column.
//!
//! One file per family; [`LinearFunction::state`] is the registry.

use std::cell::OnceCell;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Decimal256Type, Field, Int64Type, i256,
};

use super::boolean::{BooleanCount, Wanted};
use super::count::Count;
use super::decimal_sum::DecimalSum;
use super::float_sum::FloatSum;
use super::integer_sum::IntegerSum;
use super::variance::Variance;
use super::xor::Xor;
use crate::plan::LinearFunction;

/// What is done with a sum at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Sum,
    Average,
}

/// A state or result that cannot be represented, and whose group it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LinearError {
    pub group: usize,
    pub message: String,
}

impl From<arrow::error::ArrowError> for LinearError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self {
            group: 0,
            message: error.to_string(),
        }
    }
}

pub(super) type LinearResult<T> = Result<T, LinearError>;

/// One linear aggregate function.
pub(crate) trait LinearState: Debug + Send + Sync {
    /// Types of the state columns.
    fn state_types(&self) -> Vec<DataType>;

    /// The states of the rows of a delta, one per group. Rows whose argument is NULL have weight 0.
    /// `argument` is missing for `COUNT(*)` only.
    ///
    /// # Errors
    /// If a state leaves the range of its column.
    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>>;

    /// Adds up states, each times its row's weight, per group.
    ///
    /// # Errors
    /// If a state leaves the range of its column.
    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>>;

    /// One result per state, NULL for those of no rows if the function says so.
    ///
    /// # Errors
    /// If a result does not fit its type.
    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef>;
}

/// Which rows belong to which group, and how often they count.
#[derive(Debug)]
pub(crate) struct WeightedRows<'a> {
    pub weights: &'a [i64],
    /// Per row, below `group_count`.
    pub groups: &'a [u32],
    pub group_count: usize,
    /// The greatest `|weight|`.
    pub largest_weight: u64,
    /// Total weight per group.
    pub counts: ArrayRef,
    by_group: OnceCell<RowsByGroup>,
}

/// Row numbers sorted by group.
#[derive(Debug)]
struct RowsByGroup {
    rows: Vec<u32>,
    /// `group_count + 1` positions in `rows`.
    offsets: Vec<u32>,
}

impl<'a> WeightedRows<'a> {
    /// # Errors
    /// If the total weight of a group overflows.
    pub(crate) fn new(
        weights: &'a [i64],
        groups: &'a [u32],
        group_count: usize,
    ) -> LinearResult<Self> {
        let largest_weight = weights
            .iter()
            .map(|weight| weight.unsigned_abs())
            .max()
            .unwrap_or(0);
        let counts = sum_weights(weights, groups, group_count, largest_weight)?;
        Ok(Self {
            weights,
            groups,
            group_count,
            largest_weight,
            counts: Arc::new(Int64Array::from(counts)),
            by_group: OnceCell::new(),
        })
    }

    /// Calls `visit` with each group's rows, for functions that work on one group at a time.
    pub(super) fn for_each_group(&self, mut visit: impl FnMut(&[u32])) {
        let sorted = self
            .by_group
            .get_or_init(|| RowsByGroup::new(self.groups, self.group_count));
        for bounds in sorted.offsets.windows(2) {
            visit(&sorted.rows[bounds[0] as usize..bounds[1] as usize]);
        }
    }

    /// True if a sum of products of the weights with values below `2^value_bits` stays below `2^127`.
    pub(super) fn fits_i128(&self, value_bits: u32) -> bool {
        let bits = |number: u64| u64::BITS - number.leading_zeros();
        value_bits + bits(self.largest_weight) + bits(self.weights.len() as u64) <= 127
    }
}

impl RowsByGroup {
    /// A counting sort.
    fn new(groups: &[u32], group_count: usize) -> Self {
        let mut offsets = vec![0_u32; group_count + 1];
        for &group in groups {
            offsets[group as usize + 1] += 1;
        }
        for group in 0..group_count {
            offsets[group + 1] += offsets[group];
        }
        let mut next = offsets.clone();
        let mut rows = vec![0_u32; groups.len()];
        for (row, &group) in groups.iter().enumerate() {
            let position = &mut next[group as usize];
            rows[*position as usize] = row as u32;
            *position += 1;
        }
        Self { rows, offsets }
    }
}

fn sum_weights(
    weights: &[i64],
    groups: &[u32],
    group_count: usize,
    largest_weight: u64,
) -> LinearResult<Vec<i64>> {
    let mut sums = vec![0_i64; group_count];
    let is_safe = u128::from(largest_weight) * (weights.len() as u128) < 1 << 63;
    if is_safe {
        for (&weight, &group) in weights.iter().zip(groups) {
            sums[group as usize] += weight;
        }
        return Ok(sums);
    }
    for (&weight, &group) in weights.iter().zip(groups) {
        let sum = &mut sums[group as usize];
        *sum = sum
            .checked_add(weight)
            .ok_or_else(|| out_of_range(group as usize, "a count"))?;
    }
    Ok(sums)
}

/// The weights, with 0 where the argument is NULL; `None` if it never is.
pub(crate) fn masked_weights(weights: &[i64], nulls: Option<&NullBuffer>) -> Option<Vec<i64>> {
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0)?;
    let masked = weights.iter().zip(nulls.iter());
    Some(
        masked
            .map(|(&weight, is_valid)| if is_valid { weight } else { 0 })
            .collect(),
    )
}

/// Adds up one `Int64` state column.
pub(super) fn add_counts(counts: &ArrayRef, rows: &WeightedRows<'_>) -> LinearResult<ArrayRef> {
    let mut sums = vec![0_i64; rows.group_count];
    let counts = values::<Int64Type>(counts);
    for ((&count, &weight), &group) in counts.iter().zip(rows.weights).zip(rows.groups) {
        let sum = &mut sums[group as usize];
        let product = count.checked_mul(weight);
        *sum = product
            .and_then(|product| sum.checked_add(product))
            .ok_or_else(|| out_of_range(group as usize, "a count"))?;
    }
    Ok(Arc::new(Int64Array::from(sums)))
}

pub(super) fn values<T: ArrowPrimitiveType>(column: &ArrayRef) -> &[T::Native] {
    column.as_primitive::<T>().values()
}

/// A result column that is NULL where the count of rows is zero.
pub(super) fn results<T: ArrowPrimitiveType>(
    data_type: &DataType,
    values: Vec<T::Native>,
    counts: &[i64],
) -> ArrayRef {
    let nulls = NullBuffer::from_iter(counts.iter().map(|&count| count != 0));
    let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
    let array = PrimitiveArray::<T>::new(values.into(), nulls);
    Arc::new(array.with_data_type(data_type.clone()))
}

pub(super) fn out_of_range(group: usize, what: &str) -> LinearError {
    LinearError {
        group,
        message: format!("{what} is out of range"),
    }
}

/// Clears `is_zero` where a state column is not zero.
pub(crate) fn clear_unless_zero(column: &ArrayRef, is_zero: &mut [bool]) {
    fn clear<T: ArrowPrimitiveType>(column: &ArrayRef, is_zero: &mut [bool], zero: T::Native) {
        for (is_zero, &value) in is_zero.iter_mut().zip(values::<T>(column)) {
            *is_zero &= value == zero;
        }
    }
    match column.data_type() {
        DataType::Int64 => clear::<Int64Type>(column, is_zero, 0),
        DataType::Decimal128(..) => clear::<Decimal128Type>(column, is_zero, 0),
        DataType::Decimal256(..) => clear::<Decimal256Type>(column, is_zero, i256::ZERO),
        _ => {
            let column: &BinaryArray = column.as_binary();
            for (index, is_zero) in is_zero.iter_mut().enumerate() {
                *is_zero &= column.value_length(index) == 0;
            }
        }
    }
}

impl LinearFunction {
    /// The state columns, for the schema of a partial aggregate.
    pub fn state_fields(&self) -> Vec<Field> {
        let field = |(index, data_type)| {
            Field::new(
                format!("{}_state_{index}", self.name().to_lowercase()),
                data_type,
                true,
            )
        };
        self.state()
            .state_types()
            .into_iter()
            .enumerate()
            .map(field)
            .collect()
    }

    /// Type of the result column.
    pub fn result_type(&self) -> DataType {
        match self {
            Self::Count => DataType::Int64,
            Self::Sum { result, .. } | Self::Average { result, .. } => result.clone(),
            Self::Variance { .. } => DataType::Float64,
            Self::BoolAnd | Self::BoolOr => DataType::Boolean,
            Self::BitXor { argument } => argument.clone(),
        }
    }

    /// Whether the argument and result types go together, for the lowering to refuse a call early.
    ///
    /// # Errors
    /// A text that names the function and its types.
    pub fn check(&self) -> Result<(), String> {
        use DataType::Float64;
        let is_valid = match self {
            Self::Count | Self::BoolAnd | Self::BoolOr => true,
            Self::Sum { argument, result } => match argument {
                _ if argument.is_floating() => result.is_floating(),
                DataType::Duration(_) => result == argument,
                _ if argument.is_integer() => result.is_integer() || result.is_decimal(),
                _ => argument.is_decimal() && result.is_decimal(),
            },
            Self::Average { argument, result } => match argument {
                _ if argument.is_floating() => result.is_floating(),
                DataType::Duration(_) => result == argument,
                _ if argument.is_integer() => *result == Float64 || result.is_decimal(),
                _ => argument.is_decimal() && result.is_decimal(),
            },
            Self::Variance { argument, .. } => argument.is_numeric(),
            Self::BitXor { argument } => argument.is_integer(),
        };
        let types = match self {
            Self::Sum { argument, result } | Self::Average { argument, result } => {
                format!("{argument} to {result}")
            }
            Self::Variance { argument, .. } | Self::BitXor { argument } => argument.to_string(),
            Self::Count | Self::BoolAnd | Self::BoolOr => String::new(),
        };
        if is_valid {
            Ok(())
        } else {
            Err(format!("{} of {types} is not supported", self.name()))
        }
    }

    /// The SQL name.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::Sum { .. } => "SUM",
            Self::Average { .. } => "AVG",
            Self::Variance {
                sample: true,
                square_root: false,
                ..
            } => "VAR_SAMP",
            Self::Variance {
                sample: false,
                square_root: false,
                ..
            } => "VAR_POP",
            Self::Variance {
                sample: true,
                square_root: true,
                ..
            } => "STDDEV_SAMP",
            Self::Variance {
                sample: false,
                square_root: true,
                ..
            } => "STDDEV_POP",
            Self::BoolAnd => "BOOL_AND",
            Self::BoolOr => "BOOL_OR",
            Self::BitXor { .. } => "BIT_XOR",
        }
    }

    /// The registry.
    pub(crate) fn state(&self) -> Box<dyn LinearState> {
        match self {
            Self::Count => Box::new(Count),
            Self::Sum { argument, result } => sum(argument, result, Finish::Sum),
            Self::Average { argument, result } => sum(argument, result, Finish::Average),
            Self::Variance {
                sample,
                square_root,
                ..
            } => Box::new(Variance {
                is_sample: *sample,
                is_square_root: *square_root,
            }),
            Self::BoolAnd => Box::new(BooleanCount {
                wanted: Wanted::NoFalse,
            }),
            Self::BoolOr => Box::new(BooleanCount {
                wanted: Wanted::AnyTrue,
            }),
            Self::BitXor { argument } => Box::new(Xor {
                argument: argument.clone(),
            }),
        }
    }
}

fn sum(argument: &DataType, result: &DataType, finish: Finish) -> Box<dyn LinearState> {
    let result = result.clone();
    match argument {
        _ if argument.is_floating() => Box::new(FloatSum { result, finish }),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Box::new(DecimalSum {
            argument_scale: *scale,
            result,
            finish,
        }),
        _ => Box::new(IntegerSum { result, finish }),
    }
}
