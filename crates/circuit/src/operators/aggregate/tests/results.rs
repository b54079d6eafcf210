//! Results of single functions at the edges: overflow, rounding, cancellation.

use arrow::array::{
    Array, Float32Array, Int8Array, Int32Array, UInt8Array, UInt64Array, new_null_array,
};
use arrow::datatypes::i256;

use super::super::linear::{
    LinearError, LinearState, WeightedRows, clear_unless_zero, masked_weights,
};
use super::*;

fn weigh<'a>(weights: &'a [i64], groups: &'a [u32]) -> WeightedRows<'a> {
    WeightedRows::new(weights, groups, 1).unwrap()
}

fn state_of(
    state: &dyn LinearState,
    argument: &ArrayRef,
    weights: &[i64],
) -> Result<Vec<ArrayRef>, LinearError> {
    let masked = masked_weights(weights, argument.nulls());
    let groups = vec![0; argument.len()];
    state.accumulate(
        Some(argument),
        &weigh(masked.as_deref().unwrap_or(weights), &groups),
    )
}

/// The result over rows of weight 1, as text.
fn result(function: &LinearFunction, argument: ArrayRef) -> Result<String, String> {
    function.check()?;
    let state = function.state();
    let weights = vec![1; argument.len()];
    let states = state_of(state.as_ref(), &argument, &weights).map_err(|error| error.message)?;
    let types: Vec<_> = states
        .iter()
        .map(|column| column.data_type().clone())
        .collect();
    assert_eq!(types, state.state_types());
    // Twice the same, taken away, leaves zero; added to zero, itself.
    let both: Vec<ArrayRef> = states
        .iter()
        .map(|column| arrow::compute::concat(&[column.as_ref(), column.as_ref()]).unwrap())
        .collect();
    let zero = state
        .add(&both, &weigh(&[1, -1], &[0, 0]))
        .map_err(|error| error.message)?;
    let mut is_zero = [true];
    zero.iter()
        .for_each(|column| clear_unless_zero(column, &mut is_zero));
    assert!(is_zero[0], "{zero:?}");
    let same = state
        .add(&both, &weigh(&[3, -2], &[0, 0]))
        .map_err(|error| error.message)?;
    assert_eq!(&same, &states);
    let result = state.finish(&states).map_err(|error| error.message)?;
    assert_eq!(*result.data_type(), function.result_type());
    Ok(texts(&[result], 0).remove(0))
}

fn sum(argument: ArrayRef, to: DataType) -> Result<String, String> {
    result(
        &LinearFunction::Sum {
            argument: argument.data_type().clone(),
            result: to,
        },
        argument,
    )
}

fn average(argument: ArrayRef, to: DataType) -> Result<String, String> {
    result(
        &LinearFunction::Average {
            argument: argument.data_type().clone(),
            result: to,
        },
        argument,
    )
}

fn deviation(values: &[f64], sample: bool, square_root: bool) -> String {
    let argument: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    let function = LinearFunction::Variance {
        argument: DataType::Float64,
        sample,
        square_root,
    };
    result(&function, argument).unwrap()
}

fn integers(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn decimals(values: &[i128], precision: u8, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(values.to_vec());
    Arc::new(array.with_data_type(DataType::Decimal128(precision, scale)))
}

#[test]
fn integer_sums_overflow_in_the_result_only() {
    assert_eq!(
        sum(integers(&[i64::MAX, i64::MAX, -i64::MAX]), DataType::Int64),
        Ok(i64::MAX.to_string())
    );
    let error = sum(integers(&[i64::MAX, 1]), DataType::Int64).unwrap_err();
    assert!(
        error.contains("integer overflow: 9223372036854775808"),
        "{error}"
    );
    let error = sum(
        Arc::new(UInt64Array::from(vec![u64::MAX, 1])),
        DataType::UInt64,
    )
    .unwrap_err();
    assert!(error.contains("integer overflow"), "{error}");
    assert!(sum(integers(&[-1]), DataType::UInt64).is_err());
    let small: ArrayRef = Arc::new(Int8Array::from(vec![100, 100]));
    assert_eq!(sum(small.clone(), DataType::Int64), Ok("200".to_owned()));
    assert!(sum(small.clone(), DataType::Int8).is_err());
    assert_eq!(
        sum(small, DataType::Decimal128(20, 0)),
        Ok("200".to_owned())
    );
}

#[test]
fn nulls_only_are_null() {
    for (function, kind) in linear_calls().into_iter().filter_map(|call| {
        let kind = [
            DataType::Int64,
            DataType::Int64,
            DECIMAL,
            DataType::Float64,
            DataType::Boolean,
        ];
        Some((call.function, kind[call.argument?].clone()))
    }) {
        let expected = if function == LinearFunction::Count {
            "0"
        } else {
            "NULL"
        };
        assert_eq!(
            result(&function, new_null_array(&kind, 3)),
            Ok(expected.to_owned())
        );
        assert_eq!(
            result(&function, new_null_array(&kind, 0)),
            Ok(expected.to_owned())
        );
    }
}

#[test]
fn decimals_are_exact_and_checked() {
    let big = 10_i128.pow(38) - 1;
    let wide = DataType::Decimal128(38, 2);
    assert_eq!(
        sum(decimals(&[big, big, -big], 38, 2), wide.clone()),
        Ok(format!("{}.99", big / 100))
    );
    let error = sum(decimals(&[big, 1], 38, 2), wide).unwrap_err();
    assert!(error.contains("decimal overflow"), "{error}");
    assert!(sum(decimals(&[99, 1], 2, 0), DataType::Decimal128(2, 0)).is_err());
    assert_eq!(
        average(decimals(&[100, 100, 101], 5, 2), DataType::Decimal128(9, 6)),
        Ok("1.003333".to_owned())
    );
    assert_eq!(
        average(
            decimals(&[-100, -100, -101], 5, 2),
            DataType::Decimal128(9, 6)
        ),
        Ok("-1.003333".to_owned())
    );
    assert_eq!(
        average(integers(&[1, 2]), DataType::Decimal128(9, 2)),
        Ok("1.50".to_owned())
    );
    assert_eq!(
        average(decimals(&[big, big], 38, 2), DataType::Decimal128(38, 2)),
        Ok(format!("{}.99", big / 100))
    );
    assert_eq!(
        average(decimals(&[157, 158], 5, 2), DataType::Decimal128(5, 1)),
        Ok("1.5".to_owned())
    );
    let largest = arrow::array::Decimal256Array::from(vec![i256::MAX, i256::MAX])
        .with_data_type(DataType::Decimal256(76, 0));
    assert!(
        sum(Arc::new(largest), DataType::Decimal256(76, 0))
            .unwrap_err()
            .contains("out of range")
    );
}

#[test]
fn floats_are_exact() {
    let floats = |values: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(values.to_vec())) };
    assert_eq!(
        sum(floats(&[1e300, 1.0, -1e300]), DataType::Float64),
        Ok("1.0".to_owned())
    );
    assert_eq!(
        sum(floats(&[0.1; 10]), DataType::Float64),
        Ok("1.0".to_owned())
    );
    assert_eq!(
        average(floats(&[f64::MAX, f64::MAX]), DataType::Float64),
        Ok("1.7976931348623157e308".to_owned())
    );
    assert_eq!(
        sum(floats(&[f64::MAX, f64::MAX]), DataType::Float64),
        Ok("inf".to_owned())
    );
    assert_eq!(
        sum(floats(&[-0.0, -0.0]), DataType::Float64),
        Ok("0.0".to_owned())
    );
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![16_777_216.0, 1.0, 1.0]));
    assert_eq!(
        sum(narrow.clone(), DataType::Float32),
        Ok("16777218.0".to_owned())
    );
    assert_eq!(sum(narrow, DataType::Float64), Ok("16777218.0".to_owned()));
    assert_eq!(
        average(integers(&[1, 2]), DataType::Float64),
        Ok("1.5".to_owned())
    );
}

#[test]
fn variances_do_not_cancel() {
    assert_eq!(
        deviation(&[1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0], true, false),
        "30.0"
    );
    assert_eq!(deviation(&[0.1, 0.1, 0.1], true, true), "0.0");
    assert_eq!(deviation(&[2.0], true, false), "NULL");
    assert_eq!(deviation(&[2.0], false, true), "0.0");
    assert_eq!(deviation(&[2.0, 6.0], false, true), "2.0");
    assert_eq!(deviation(&[1e300, -1e300], false, false), "inf");
    assert_eq!(deviation(&[1e-170, -1e-170], false, false), "0.0");
    assert_eq!(deviation(&[f64::INFINITY, 1.0], false, false), "NaN");
    assert_eq!(deviation(&[1e300, 1e300, 1e300], false, false), "0.0");
    let integers: ArrayRef = Arc::new(Int32Array::from(vec![1, 3]));
    let function = LinearFunction::Variance {
        argument: DataType::Int32,
        sample: true,
        square_root: false,
    };
    assert_eq!(result(&function, integers), Ok("2.0".to_owned()));
}

#[test]
fn bits_of_all_widths() {
    let xor = |argument: ArrayRef| {
        result(
            &LinearFunction::BitXor {
                argument: argument.data_type().clone(),
            },
            argument,
        )
    };
    assert_eq!(
        xor(Arc::new(UInt64Array::from(vec![u64::MAX, 1]))),
        Ok((u64::MAX - 1).to_string())
    );
    assert_eq!(
        xor(Arc::new(UInt8Array::from(vec![255, 1]))),
        Ok("254".to_owned())
    );
    assert_eq!(
        xor(Arc::new(Int8Array::from(vec![-1, 1, 1]))),
        Ok("-1".to_owned())
    );
}

#[test]
fn weights_may_be_huge() {
    let argument = integers(&[3, 3]);
    let function = LinearFunction::Sum {
        argument: DataType::Int64,
        result: DataType::Decimal128(38, 0),
    };
    let state = function.state();
    let weights = [i64::MAX, 1 - i64::MAX];
    let states = state_of(state.as_ref(), &argument, &weights).unwrap();
    assert_eq!(texts(&[state.finish(&states).unwrap()], 0), ["3"]);
    let error = WeightedRows::new(&[i64::MAX, 1], &[0, 0], 1).unwrap_err();
    assert_eq!(error.message, "a count is out of range");
}

#[test]
fn unsupported_types_are_refused() {
    let function = LinearFunction::Sum {
        argument: DataType::Utf8,
        result: DataType::Utf8,
    };
    assert_eq!(
        function.check(),
        Err("SUM of Utf8 to Utf8 is not supported".to_owned())
    );
    assert!(
        LinearFunction::BitXor {
            argument: DataType::Float64
        }
        .check()
        .is_err()
    );
}
