//! One operation of the hardware is correctly rounded, so it is the reference for what one or two
//! additions, products and quotients round to.

use proptest::prelude::*;

use super::*;

fn sum_of(values: &[(f64, i64)]) -> ExactSum {
    let mut sum = ExactSum::new();
    values
        .iter()
        .for_each(|&(value, weight)| sum.add(value, weight));
    sum
}

fn encoded(values: &[(f64, i64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    sum_of(values).drain_into(&mut bytes);
    bytes
}

fn rounded(values: &[(f64, i64)]) -> f64 {
    sum_of(values).drain_leading().to_f64()
}

/// The sum has one zero only.
fn same(actual: f64, expected: f64) -> bool {
    actual.to_bits() == (expected + 0.0).to_bits()
}

fn finite() -> impl Strategy<Value = f64> {
    any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("finite", |value| value.is_finite())
}

/// Of similar magnitude, so that sums interact.
fn moderate() -> impl Strategy<Value = f64> {
    (any::<i64>(), -80..80).prop_map(|(mantissa, exponent)| mantissa as f64 * 2_f64.powi(exponent))
}

#[test]
fn huge_and_small_values_cancel() {
    assert_eq!(rounded(&[(1e300, 1), (1.0, 1), (1e300, -1)]), 1.0);
    assert_eq!(rounded(&[(f64::MAX, 2), (f64::MAX, -1)]), f64::MAX);
    assert_eq!(rounded(&[(f64::MAX, 2)]), f64::INFINITY);
    assert_eq!(rounded(&[(-f64::MAX, 2)]), f64::NEG_INFINITY);
    assert_eq!(
        rounded(&[(f64::MAX, i64::MAX), (5e-324, 1), (f64::MAX, -i64::MAX)]),
        5e-324
    );
    assert!(encoded(&[(0.1, 3), (0.1, -1), (0.1, -2)]).is_empty());
    assert!(encoded(&[(0.0, 1), (-0.0, 1)]).is_empty());
}

#[test]
fn specials_are_counted_apart() {
    let all = [(f64::NAN, 1), (f64::INFINITY, 1), (1.5, 1)];
    assert!(sum_of(&all).special().unwrap().is_nan());
    let healed = [&all[..], &[(f64::NAN, -1)]].concat();
    assert_eq!(sum_of(&healed).special(), Some(f64::INFINITY));
    let healed = [&healed[..], &[(f64::INFINITY, -1)]].concat();
    assert_eq!(sum_of(&healed).special(), None);
    assert_eq!(encoded(&healed), encoded(&[(1.5, 1)]));
    let both = [(f64::INFINITY, 1), (f64::NEG_INFINITY, 1)];
    assert!(sum_of(&both).special().unwrap().is_nan());
    assert_eq!(sum_of(&both[1..]).special(), Some(f64::NEG_INFINITY));
}

#[test]
fn many_additions_carry() {
    let mut sum = ExactSum::new();
    sum.additions = ADDITIONS_MAX - 5;
    (0..10).for_each(|_| sum.add(-f64::MIN_POSITIVE, i64::from(i32::MAX)));
    let expected = -f64::MIN_POSITIVE * f64::from(i32::MAX) * 10.0;
    assert_eq!(sum.drain_leading().to_f64(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_value_is_itself(value in finite()) {
        prop_assert!(same(rounded(&[(value, 1)]), value));
        prop_assert!(same(rounded(&[(value, -1)]), -value));
        prop_assert_eq!(sum_of(&[(value, 1)]).drain_leading().to_f32(), value as f32 + 0.0);
    }

    #[test]
    fn narrow_rounding_is_the_casts(value in moderate()) {
        prop_assert_eq!(sum_of(&[(value, 1)]).drain_leading().to_f32(), value as f32);
    }

    #[test]
    fn two_values_add_up(left in prop_oneof![finite(), moderate()], right in prop_oneof![finite(), moderate()]) {
        prop_assert!(same(rounded(&[(left, 1), (right, 1)]), left + right));
        prop_assert!(same(rounded(&[(left, 1), (right, -1)]), left - right));
    }

    #[test]
    fn a_weight_multiplies(value in moderate(), weight in -(1_i64 << 53)..1 << 53, other in moderate()) {
        let expected = value.mul_add(weight as f64, other);
        prop_assert!(same(rounded(&[(value, weight), (other, 1)]), expected));
    }

    #[test]
    fn squares_are_exact(value in prop_oneof![finite(), moderate()], other in moderate()) {
        let mut sum = ExactSum::new();
        sum.add_square(value, 1);
        prop_assert!(same(sum.drain_leading().to_f64(), value * value));
        sum.add_square(value, 3);
        sum.add_square(value, -4);
        sum.add(other, 1);
        prop_assert!(same(sum.drain_leading().to_f64(), (-value).mul_add(value, other)));
    }

    #[test]
    fn huge_weights_of_squares_cancel(value in finite(), weight in any::<i64>()) {
        let mut sum = ExactSum::new();
        sum.add_square(value, weight);
        sum.add_square(value, -1);
        sum.add_square(value, -(weight / 2));
        sum.add_square(value, -(weight - weight / 2));
        prop_assert!(same(sum.drain_leading().to_f64(), -(value * value)));
    }

    #[test]
    fn quotients_are_rounded_once(dividend in -(1_i64 << 53)..1 << 53, divisor in 1_u64..1 << 53) {
        let quotient = Leading::of(dividend.into()).divided_by(divisor).to_f64();
        prop_assert!(same(quotient, dividend as f64 / divisor as f64));
        let through_sum = sum_of(&[(dividend as f64, 1)]).drain_leading().divided_by(divisor);
        prop_assert!(same(through_sum.to_f64(), dividend as f64 / divisor as f64));
    }

    #[test]
    fn integers_are_rounded_once(value in any::<i128>(), shift in 0..127) {
        let value = value >> shift;
        prop_assert!(same(Leading::of(value).to_f64(), value as f64));
    }

    #[test]
    fn encoding_depends_on_the_sum_only(
        values in prop::collection::vec((prop_oneof![finite(), moderate(), Just(f64::NAN), Just(f64::INFINITY)], -3_i64..4), 0..12),
        order in any::<prop::sample::Index>(),
        split in any::<prop::sample::Index>(),
        weight in -5_i64..5,
    ) {
        let whole = encoded(&values);
        let mut turned = values.clone();
        turned.rotate_left(order.index(values.len() + 1).min(values.len()));
        prop_assert_eq!(&encoded(&turned), &whole);
        let (left, right) = values.split_at(split.index(values.len() + 1));
        let mut sum = ExactSum::new();
        sum.add_encoded(&encoded(left), 1);
        sum.add_encoded(&encoded(right), 1);
        let mut bytes = Vec::new();
        sum.drain_into(&mut bytes);
        prop_assert_eq!(&bytes, &whole);
        let scaled: Vec<_> = values.iter().map(|&(value, times)| (value, times * weight)).collect();
        sum.add_encoded(&whole, weight);
        bytes.clear();
        sum.drain_into(&mut bytes);
        prop_assert_eq!(&bytes, &encoded(&scaled));
        sum.add_encoded(&whole, 1);
        sum.add_encoded(&whole, -1);
        bytes.clear();
        sum.drain_into(&mut bytes);
        prop_assert!(bytes.is_empty());
    }
}
