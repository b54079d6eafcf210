//! Sums of floats without rounding, so that adding and taking away in any order gives the same.
//!
//! A float is an integer times a power of two. [`ExactSum`] holds the sum as one long fixed-point
//! number that reaches from the square of the least to the square of the greatest `f64` (a Kulisch
//! accumulator), in digits of 32 bits kept in 64, so that carries are propagated once per many
//! additions (Neal, "Fast exact summation using small and large superaccumulators", 2015).
//! NaN and infinities are counted apart: taking them away heals the sum.
//!
//! Encoded form, for states: empty if all is zero. Else a byte of flags (1: negative, 2: specials
//! follow); if flagged, the counts of NaN, +∞ and −∞ as `i64`; and, unless the finite part is zero,
//! the position of the lowest digit (one byte) and the digits of the magnitude, lowest first, `u32`
//! each, without zero digits at either end. All little-endian. Equal sums have equal encodings.

/// Weight of bit 0 of digit 0: below the square of the least subnormal, 2^-2148.
const LOWEST_EXPONENT: i32 = -2176;
/// Up to 2^2304: `count * sum of squares` and the square of a sum of 2^95 greatest floats fit.
const DIGITS: usize = 140;
const DIGIT_BITS: usize = 32;
const DIGIT_MASK: i64 = 0xffff_ffff;
/// An addition changes a digit by less than 2^32, so 2^30 of them stay below 2^62.
const ADDITIONS_MAX: u32 = 1 << 30;

const NEGATIVE: u8 = 1;
const SPECIALS: u8 = 2;

/// How often the values that are no numbers occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Specials {
    nan: i64,
    positive_infinity: i64,
    negative_infinity: i64,
}

/// A sum in progress.
#[derive(Clone, Debug)]
pub(super) struct ExactSum {
    digits: Box<[i64; DIGITS]>,
    /// Digits outside `lowest..end` are zero.
    lowest: usize,
    end: usize,
    additions: u32,
    specials: Specials,
}

/// The leading 128 bits of a sum: `(-1)^negative * top * 2^exponent`, top bit set unless zero.
/// `inexact` says that lower bits follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leading {
    negative: bool,
    top: u128,
    exponent: i32,
    inexact: bool,
}

impl ExactSum {
    pub(super) fn new() -> Self {
        Self {
            digits: Box::new([0; DIGITS]),
            lowest: DIGITS,
            end: 0,
            additions: 0,
            specials: Specials::default(),
        }
    }

    /// Back to zero; costs only what was used.
    pub(super) fn clear(&mut self) {
        if self.lowest < self.end {
            self.digits[self.lowest..self.end].fill(0);
        }
        self.lowest = DIGITS;
        self.end = 0;
        self.additions = 0;
        self.specials = Specials::default();
    }

    /// Adds `value * weight`.
    #[inline]
    pub(super) fn add(&mut self, value: f64, weight: i64) {
        let Some((mantissa, exponent)) = decompose(value) else {
            return self.add_special(value, weight);
        };
        self.add_product(mantissa, weight, exponent);
    }

    /// Adds `value * value * weight`. NaN and infinities are left to the plain sum.
    #[inline]
    pub(super) fn add_square(&mut self, value: f64, weight: i64) {
        let Some((mantissa, exponent)) = decompose(value) else {
            return;
        };
        let square = i128::from(mantissa) * i128::from(mantissa);
        let low = (square & i128::from(u64::MAX >> 1)) as i64;
        let high = (square >> 63) as i64;
        self.add_product(low, weight, 2 * exponent);
        self.add_product(high, weight, 2 * exponent + 63);
    }

    #[inline]
    fn add_product(&mut self, mantissa: i64, weight: i64, exponent: i32) {
        let mantissa = i128::from(mantissa);
        if i64::from(weight as i32) == weight {
            self.add_scaled(mantissa * i128::from(weight), exponent);
        } else {
            let low = weight & DIGIT_MASK;
            self.add_scaled(mantissa * i128::from(low), exponent);
            self.add_scaled(mantissa * i128::from(weight >> DIGIT_BITS), exponent + 32);
        }
    }

    /// Adds `value * 2^exponent`; `|value|` is below 2^96.
    #[inline]
    fn add_scaled(&mut self, value: i128, exponent: i32) {
        let position = (exponent - LOWEST_EXPONENT) as usize;
        let first = position / DIGIT_BITS;
        let shifted = value << (position % DIGIT_BITS);
        let mask = i128::from(DIGIT_MASK);
        let window = &mut self.digits[first..first + 4];
        window[0] += (shifted & mask) as i64;
        window[1] += ((shifted >> 32) & mask) as i64;
        window[2] += ((shifted >> 64) & mask) as i64;
        window[3] += (shifted >> 96) as i64;
        self.lowest = self.lowest.min(first);
        self.end = self.end.max(first + 4);
        self.additions += 1;
        if self.additions == ADDITIONS_MAX {
            self.carry();
        }
    }

    #[cold]
    fn add_special(&mut self, value: f64, weight: i64) {
        let count = if value.is_nan() {
            &mut self.specials.nan
        } else if value > 0.0 {
            &mut self.specials.positive_infinity
        } else {
            &mut self.specials.negative_infinity
        };
        *count = count.wrapping_add(weight);
    }

    /// Adds `weight` times an encoded sum.
    pub(super) fn add_encoded(&mut self, encoded: &[u8], weight: i64) {
        let Encoded {
            negative,
            specials,
            first,
            digits,
        } = Encoded::parse(encoded);
        let add = |count: &mut i64, more: i64| {
            *count = count.wrapping_add(more.wrapping_mul(weight));
        };
        add(&mut self.specials.nan, specials.nan);
        add(
            &mut self.specials.positive_infinity,
            specials.positive_infinity,
        );
        add(
            &mut self.specials.negative_infinity,
            specials.negative_infinity,
        );
        let weight = if negative {
            -i128::from(weight)
        } else {
            i128::from(weight)
        };
        for (index, digit) in digits.enumerate() {
            self.add_scaled(i128::from(digit) * weight, exponent_of(first + index));
        }
    }

    /// Adds `count * squares - sum * sum` of two encoded sums: the variance times `count²`.
    pub(super) fn add_squared_deviations(&mut self, sum: &[u8], squares: &[u8], count: i64) {
        let squares = Encoded::parse(squares);
        let count = if squares.negative {
            -i128::from(count)
        } else {
            i128::from(count)
        };
        for (index, digit) in squares.digits.enumerate() {
            self.add_scaled(
                i128::from(digit) * count,
                exponent_of(squares.first + index),
            );
        }
        let sum = Encoded::parse(sum);
        let lowest = 2 * exponent_of(sum.first);
        for (row, left) in sum.digits.clone().enumerate() {
            for (column, right) in sum.digits.clone().enumerate() {
                let product = i128::from(left) * i128::from(right);
                self.add_scaled(-product, lowest + ((row + column) * DIGIT_BITS) as i32);
            }
        }
    }

    /// The special value that the sum is, if any.
    pub(super) fn special(&self) -> Option<f64> {
        let Specials {
            nan,
            positive_infinity,
            negative_infinity,
        } = self.specials;
        match (nan != 0, positive_infinity != 0, negative_infinity != 0) {
            (false, false, false) => None,
            (false, true, false) => Some(f64::INFINITY),
            (false, false, true) => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// Makes all digits but the highest used one unsigned 32-bit numbers.
    fn carry(&mut self) {
        self.additions = 0;
        let mut index = self.lowest;
        while index < self.end {
            let carry = self.digits[index] >> DIGIT_BITS;
            if index + 1 == self.end {
                if carry == 0 || carry == -1 {
                    break;
                }
                self.end += 1;
            }
            self.digits[index] &= DIGIT_MASK;
            self.digits[index + 1] += carry;
            index += 1;
        }
    }

    /// Turns the digits into those of the magnitude, without zeros at the ends; true if negative.
    fn normalise(&mut self) -> bool {
        self.carry();
        let is_negative = self.lowest < self.end && self.digits[self.end - 1] < 0;
        if is_negative {
            for digit in &mut self.digits[self.lowest..self.end] {
                *digit = -*digit;
            }
            self.carry();
        }
        while self.lowest < self.end && self.digits[self.end - 1] == 0 {
            self.end -= 1;
        }
        while self.lowest < self.end && self.digits[self.lowest] == 0 {
            self.lowest += 1;
        }
        is_negative
    }

    /// Appends the encoded sum and clears.
    pub(super) fn drain_into(&mut self, output: &mut Vec<u8>) {
        let is_negative = self.normalise();
        let is_zero = self.lowest >= self.end;
        let has_specials = self.specials != Specials::default();
        if !is_zero || has_specials {
            let sign = if is_negative { NEGATIVE } else { 0 };
            output.push(sign | if has_specials { SPECIALS } else { 0 });
        }
        if has_specials {
            let Specials {
                nan,
                positive_infinity,
                negative_infinity,
            } = self.specials;
            for count in [nan, positive_infinity, negative_infinity] {
                output.extend_from_slice(&count.to_le_bytes());
            }
        }
        if !is_zero {
            output.push(self.lowest as u8);
            for &digit in &self.digits[self.lowest..self.end] {
                output.extend_from_slice(&(digit as u32).to_le_bytes());
            }
        }
        self.clear();
    }

    /// The leading bits of the finite part; clears.
    pub(super) fn drain_leading(&mut self) -> Leading {
        let negative = self.normalise();
        let used = self.lowest..self.end;
        let mut leading = Leading {
            negative,
            top: 0,
            exponent: 0,
            inexact: false,
        };
        if used.is_empty() {
            self.clear();
            return leading;
        }
        let highest = used.end - 1;
        let digit = |below: usize| match highest.checked_sub(below) {
            Some(index) if index >= used.start => self.digits[index] as u128,
            _ => 0,
        };
        let head = digit(0) << 96 | digit(1) << 64 | digit(2) << 32 | digit(3);
        // The highest digit is not zero, so the shift is below 32.
        let shift = head.leading_zeros();
        let tail = digit(4) << shift;
        leading.top = head << shift | tail >> DIGIT_BITS;
        leading.exponent = exponent_of(highest) - 96 - shift as i32;
        leading.inexact = tail as u32 != 0 || used.len() > 5;
        self.clear();
        leading
    }
}

impl Leading {
    /// Of an integer.
    pub(super) fn of(value: i128) -> Self {
        let magnitude = value.unsigned_abs();
        let shift = magnitude.leading_zeros();
        Self {
            negative: value < 0,
            top: magnitude.checked_shl(shift).unwrap_or(0),
            exponent: -(shift as i32),
            inexact: false,
        }
    }

    /// The quotient, for a positive divisor below 2^63: again its leading bits, at least 65.
    pub(super) fn divided_by(self, divisor: u64) -> Self {
        let divisor = u128::from(divisor);
        let quotient = self.top / divisor;
        let remainder = self.top % divisor;
        let shift = quotient.leading_zeros();
        Self {
            top: quotient.checked_shl(shift).unwrap_or(0),
            exponent: self.exponent - shift as i32,
            inexact: self.inexact || remainder != 0,
            ..self
        }
    }

    /// To the nearest `f64`, ties to even; infinite if too large.
    pub(super) fn to_f64(self) -> f64 {
        let magnitude = f64::from_bits(self.round(52, -1022));
        if self.negative {
            0.0 - magnitude
        } else {
            magnitude
        }
    }

    /// To the nearest `f32`, ties to even; infinite if too large.
    pub(super) fn to_f32(self) -> f32 {
        let magnitude = f32::from_bits(self.round(23, -126) as u32);
        if self.negative {
            0.0 - magnitude
        } else {
            magnitude
        }
    }

    /// Bits of the magnitude in an IEEE format of so many fraction bits and least normal exponent.
    fn round(self, fraction_bits: i32, least_exponent: i32) -> u64 {
        if self.top == 0 {
            return 0;
        }
        let exponent = self.exponent + 127;
        let infinity = ((3 - 2 * least_exponent) as u64) << fraction_bits;
        if exponent > 1 - least_exponent {
            return infinity;
        }
        let lowest_kept = exponent.max(least_exponent) - fraction_bits;
        let dropped_bits = (lowest_kept - self.exponent) as u32;
        if dropped_bits > 128 {
            return 0;
        }
        let kept = self.top.checked_shr(dropped_bits).unwrap_or(0) as u64;
        let dropped = self.top << (128 - dropped_bits);
        let half = 1 << 127;
        let is_up = match dropped.cmp(&half) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => self.inexact || kept & 1 == 1,
        };
        // A mantissa that rounds up to a power of two carries into the exponent, as it should.
        let biased = (exponent.max(least_exponent) - least_exponent) as u64;
        (biased << fraction_bits) + kept + u64::from(is_up)
    }
}

/// An encoded sum, taken apart.
struct Encoded<'a> {
    negative: bool,
    specials: Specials,
    first: usize,
    digits: Digits<'a>,
}

#[derive(Clone)]
struct Digits<'a>(std::slice::ChunksExact<'a, u8>);

impl Iterator for Digits<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bytes = self.0.next()?;
        Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

impl<'a> Encoded<'a> {
    fn parse(encoded: &'a [u8]) -> Self {
        let (flags, mut rest) = encoded
            .split_first()
            .map_or((0, encoded), |(&f, rest)| (f, rest));
        let mut specials = Specials::default();
        if flags & SPECIALS != 0 {
            let (counts, after) = rest.split_at(24);
            let mut counts = counts.chunks_exact(8).map(|bytes| {
                bytes
                    .iter()
                    .rev()
                    .fold(0_u64, |count, &byte| count << 8 | u64::from(byte)) as i64
            });
            specials.nan = counts.next().unwrap_or(0);
            specials.positive_infinity = counts.next().unwrap_or(0);
            specials.negative_infinity = counts.next().unwrap_or(0);
            rest = after;
        }
        let (first, digits) = rest.split_first().map_or((0, rest), |(&f, rest)| (f, rest));
        Self {
            negative: flags & NEGATIVE != 0,
            specials,
            first: usize::from(first),
            digits: Digits(digits.chunks_exact(4)),
        }
    }
}

fn exponent_of(digit: usize) -> i32 {
    LOWEST_EXPONENT + (digit * DIGIT_BITS) as i32
}

/// `value = mantissa * 2^exponent`; `None` for NaN and infinities.
#[inline]
fn decompose(value: f64) -> Option<(i64, i32)> {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    if biased == 0x7ff {
        return None;
    }
    // Subnormals have the exponent of the least normal numbers and no hidden bit.
    let hidden = i64::from(biased != 0) << 52;
    let magnitude = fraction | hidden;
    let mantissa = if bits >> 63 == 1 {
        -magnitude
    } else {
        magnitude
    };
    Some((mantissa, biased.max(1) - 1075))
}

#[cfg(test)]
mod tests;
