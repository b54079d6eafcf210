//! `VARIANCE` and `STDDEV`, from exact sums of values and of squares.
//!
//! `count * squares - sum²` is formed exactly, so nothing cancels; rounding starts at the division.

use arrow::array::{ArrayRef, AsArray, BinaryArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::exact_sum::ExactSum;
use super::float_sum::{accumulate_floats, add_encoded_sums};
use super::linear::{LinearResult, LinearState, WeightedRows, add_counts, results, values};

/// State: encoded sum, encoded sum of squares, how many rows are not NULL.
#[derive(Debug)]
pub(super) struct Variance {
    pub is_sample: bool,
    pub is_square_root: bool,
}

impl LinearState for Variance {
    fn state_types(&self) -> Vec<DataType> {
        vec![DataType::Binary, DataType::Binary, DataType::Int64]
    }

    fn accumulate(
        &self,
        argument: Option<&ArrayRef>,
        rows: &WeightedRows<'_>,
    ) -> LinearResult<Vec<ArrayRef>> {
        let sums = accumulate_floats(argument, rows, ExactSum::add)?;
        let squares = accumulate_floats(argument, rows, ExactSum::add_square)?;
        Ok(vec![sums, squares, rows.counts.clone()])
    }

    fn add(&self, states: &[ArrayRef], rows: &WeightedRows<'_>) -> LinearResult<Vec<ArrayRef>> {
        let sums = add_encoded_sums(&states[0], rows)?;
        let squares = add_encoded_sums(&states[1], rows)?;
        Ok(vec![sums, squares, add_counts(&states[2], rows)?])
    }

    fn finish(&self, states: &[ArrayRef]) -> LinearResult<ArrayRef> {
        let sums: &BinaryArray = states[0].as_binary();
        let squares: &BinaryArray = states[1].as_binary();
        let counts = values::<Int64Type>(&states[2]);
        let mut scratch = ExactSum::new();
        let mut variances = Vec::with_capacity(counts.len());
        for (index, &count) in counts.iter().enumerate() {
            variances.push(self.variance(
                &mut scratch,
                sums.value(index),
                squares.value(index),
                count,
            ));
        }
        // Degrees of freedom: none of them, no result.
        let freedom: Vec<i64> = counts.iter().map(|&count| self.divisor(count)).collect();
        Ok(results::<Float64Type>(
            &DataType::Float64,
            variances,
            &freedom,
        ))
    }
}

impl Variance {
    fn divisor(&self, count: i64) -> i64 {
        (count - i64::from(self.is_sample)).max(0)
    }

    fn variance(&self, scratch: &mut ExactSum, sum: &[u8], squares: &[u8], count: i64) -> f64 {
        let divisor = self.divisor(count);
        if divisor == 0 {
            return 0.0;
        }
        scratch.clear();
        scratch.add_encoded(sum, 1);
        if scratch.special().is_some() {
            return f64::NAN;
        }
        scratch.clear();
        scratch.add_squared_deviations(sum, squares, count);
        let deviations = scratch.drain_leading();
        let mean = deviations.divided_by(count.unsigned_abs());
        let variance = mean.divided_by(divisor.unsigned_abs()).to_f64();
        if self.is_square_root {
            variance.sqrt()
        } else {
            variance
        }
    }
}
