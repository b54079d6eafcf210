//! Text to values of SQL types, exactly: no digit is lost silently but fractions beyond a type's
//! resolution (decimals are rounded half away from zero, as SQL's assignment does; times are cut).

use arrow::datatypes::IntervalMonthDayNano;
use base64::Engine;
use chrono::NaiveDate;

use super::flavor::BinaryText;
use crate::error::ValueError;

const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;
const NANOSECONDS_PER_SECOND: i64 = 1_000_000_000;

/// A decimal number as an integer scaled by 10^scale.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, ValueError> {
    let malformed = || ValueError::of(text, "not a decimal number");
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| malformed())?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes() {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let point = digits
        .iter()
        .position(|&byte| byte == b'.')
        .unwrap_or(digits.len());
    let fraction = digits.get(point + 1..).unwrap_or_default();
    let digits = digits[..point].iter().chain(fraction);
    if point + fraction.len() == 0 || !digits.clone().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    // How many of the digits, from the left, stand before the end of the scaled integer.
    let kept = point as i64 + i64::from(exponent) + i64::from(scale);
    let magnitude = scaled_magnitude(digits.map(|digit| digit - b'0'), kept, precision);
    let magnitude = magnitude.ok_or_else(|| {
        ValueError::of(
            text,
            format!("out of range of DECIMAL({precision}, {scale})"),
        )
    })?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// The integer of the first `kept` digits (zeros follow if there are fewer), rounded half up.
fn scaled_magnitude(digits: impl Iterator<Item = u8>, kept: i64, precision: u8) -> Option<i128> {
    let limit = 10_i128.checked_pow(u32::from(precision))?;
    let mut magnitude = 0_i128;
    let mut position = 0_i64;
    for digit in digits {
        if position < kept {
            magnitude = magnitude.checked_mul(10)?.checked_add(i128::from(digit))?;
            if magnitude >= limit {
                return None;
            }
        } else {
            magnitude += i128::from(position == kept && digit >= 5);
        }
        position += 1;
    }
    if magnitude != 0 {
        for _ in position..kept {
            magnitude = magnitude
                .checked_mul(10)
                .filter(|magnitude| *magnitude < limit)?;
        }
    }
    (magnitude < limit).then_some(magnitude)
}

/// Days since 1970.
pub(crate) fn date(text: &str) -> Result<i32, ValueError> {
    parse_date(text.as_bytes()).ok_or_else(|| ValueError::of(text, "not a date like 2024-12-31"))
}

fn parse_date(bytes: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *bytes else {
        return None;
    };
    let year = two_digits(y1, y2)? * 100 + two_digits(y3, y4)?;
    let date = NaiveDate::from_ymd_opt(year as i32, two_digits(m1, m2)?, two_digits(d1, d2)?)?;
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
    Some(digit(tens)? * 10 + digit(ones)?)
}

/// Nanoseconds since midnight.
pub(crate) fn time(text: &str) -> Result<i64, ValueError> {
    parse_time(text.as_bytes()).ok_or_else(|| ValueError::of(text, "not a time like 23:59:59.5"))
}

fn parse_time(bytes: &[u8]) -> Option<i64> {
    let (&[h1, h2, b':', m1, m2, b':', s1, s2], fraction) = bytes.split_first_chunk()? else {
        return None;
    };
    let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
    let seconds = two_digits(s1, s2)?;
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    let seconds = i64::from((hours * 60 + minutes) * 60 + seconds);
    Some(seconds * NANOSECONDS_PER_SECOND + parse_fraction(fraction)?)
}

/// Nothing, or a point and digits, as nanoseconds; more than nine digits are cut.
fn parse_fraction(bytes: &[u8]) -> Option<i64> {
    let digits = match bytes {
        [] => return Some(0),
        [b'.', digits @ ..] if !digits.is_empty() => digits,
        _ => return None,
    };
    let mut nanoseconds = 0;
    let mut unit = NANOSECONDS_PER_SECOND / 10;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        nanoseconds += i64::from(digit - b'0') * unit;
        unit /= 10;
    }
    Some(nanoseconds)
}

/// Microseconds since 1970. A zone offset is applied; without one the time is taken as it stands.
pub(crate) fn timestamp(text: &str) -> Result<i64, ValueError> {
    parse_timestamp(text.trim().as_bytes())
        .ok_or_else(|| ValueError::of(text, "not a timestamp like 2024-12-31 23:59:59.5"))
}

fn parse_timestamp(bytes: &[u8]) -> Option<i64> {
    let (date, rest) = bytes.split_at_checked(10)?;
    let days = i64::from(parse_date(date)?);
    let (time, zone) = match rest {
        [] => return Some(days * MICROSECONDS_PER_DAY),
        [b' ' | b'T' | b't', rest @ ..] => split_zone(rest)?,
        _ => return None,
    };
    let microseconds = parse_time(time)? / 1000;
    Some(days * MICROSECONDS_PER_DAY + microseconds - zone)
}

/// A time and the microseconds that its zone is ahead of UTC.
fn split_zone(bytes: &[u8]) -> Option<(&[u8], i64)> {
    if let [time @ .., b'Z' | b'z'] = bytes {
        return Some((time, 0));
    }
    let Some(sign) = bytes.iter().position(|byte| matches!(byte, b'+' | b'-')) else {
        return Some((bytes, 0));
    };
    let (time, zone) = bytes.split_at(sign);
    let (h1, h2, m1, m2) = match *zone {
        [_, h1, h2, b':', m1, m2] | [_, h1, h2, m1, m2] => (h1, h2, m1, m2),
        [_, h1, h2] => (h1, h2, b'0', b'0'),
        _ => return None,
    };
    let (hours, minutes) = (two_digits(h1, h2)?, two_digits(m1, m2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let ahead = i64::from(hours * 60 + minutes) * 60_000_000;
    Some((time, if zone[0] == b'-' { -ahead } else { ahead }))
}

/// The lower-case form with hyphens.
pub(crate) fn uuid(text: &str) -> Result<uuid::Uuid, ValueError> {
    uuid::Uuid::parse_str(text).map_err(|_| ValueError::of(text, "not a UUID"))
}

pub(crate) fn boolean(text: &str) -> Result<bool, ValueError> {
    if text.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if text.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(ValueError::of(text, "neither true nor false"))
    }
}

pub(crate) fn float64(text: &str) -> Result<f64, ValueError> {
    let value: f64 = text
        .parse()
        .map_err(|_| ValueError::of(text, "not a number"))?;
    finite_if_digits(text, value.is_infinite()).map(|()| value)
}

pub(crate) fn float32(text: &str) -> Result<f32, ValueError> {
    let value: f32 = text
        .parse()
        .map_err(|_| ValueError::of(text, "not a number"))?;
    finite_if_digits(text, value.is_infinite()).map(|()| value)
}

/// "Infinity" is a value; digits that become infinite are a mistake.
fn finite_if_digits(text: &str, infinite: bool) -> Result<(), ValueError> {
    if infinite && text.bytes().any(|byte| byte.is_ascii_digit()) {
        return Err(ValueError::of(
            text,
            "out of range of the floating point type",
        ));
    }
    Ok(())
}

/// Numbers with units, as SQL writes them.
pub(crate) fn interval(text: &str) -> Result<IntervalMonthDayNano, ValueError> {
    use arrow::compute::kernels::cast_utils::parse_interval_month_day_nano;
    parse_interval_month_day_nano(text)
        .map_err(|_| ValueError::of(text, "not an interval like 1 month 2 days 3 hours"))
}

pub(crate) fn binary(text: &str, form: BinaryText) -> Result<Vec<u8>, ValueError> {
    match form {
        BinaryText::Base64 => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| ValueError::of(text, format!("not base64: {error}"))),
        BinaryText::Hexadecimal => hexadecimal(text)
            .ok_or_else(|| ValueError::of(text, "neither an array of bytes nor 0x and digits")),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("\\x"))?
        .as_bytes();
    if digits.len() % 2 != 0 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
    digits.chunks_exact(2).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        let parse = |text| decimal(text, 10, 2).ok();
        assert_eq!(parse("1"), Some(100));
        assert_eq!(parse("-1.5"), Some(-150));
        assert_eq!(parse("+.5"), Some(50));
        assert_eq!(parse("0.005"), Some(1));
        assert_eq!(parse("-0.005"), Some(-1));
        assert_eq!(parse("0.0049999"), Some(0));
        assert_eq!(parse("1.5e3"), Some(150_000));
        assert_eq!(parse("15e-1"), Some(150));
        assert_eq!(parse("1e-9"), Some(0));
        assert_eq!(parse("0e999999999"), Some(0));
        assert_eq!(parse("1e999999999"), None);
        assert_eq!(parse("5e-2147483648"), Some(0));
        assert_eq!(parse("99999999.99"), Some(9_999_999_999));
        assert_eq!(parse("99999999.995"), None);
        assert_eq!(parse("100000000"), None);
        for malformed in ["", ".", "-", "1.2.3", "1e", "e1", "1 ", "0x1", "NaN", "1_0"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
        let most = "9".repeat(38);
        assert_eq!(decimal(&most, 38, 0).unwrap(), 10_i128.pow(38) - 1);
        assert!(decimal(&format!("{most}9"), 38, 0).is_err());
    }

    #[test]
    fn dates_and_times() {
        assert_eq!(date("1970-01-02").unwrap(), 1);
        assert_eq!(date("1969-12-31").unwrap(), -1);
        assert!(date("2023-02-29").is_err() && date("2024-2-9").is_err());
        assert_eq!(time("00:00:01.000000001").unwrap(), 1_000_000_001);
        assert!(time("24:00:00").is_err() && time("00:00:00.").is_err());
        for same in [
            "1970-01-02 00:00:01.5",
            "  1970-01-02T00:00:01.500000Z ",
            "1970-01-02T02:00:01.5+02:00",
            "1970-01-01 22:00:01.5-0200",
            "1970-01-02 02:00:01.5+02",
        ] {
            assert_eq!(timestamp(same).unwrap(), 86_401_500_000, "{same}");
        }
        assert_eq!(timestamp("1970-01-02").unwrap(), MICROSECONDS_PER_DAY);
        for malformed in [
            "",
            "1970",
            "1970-01-02x00:00:00",
            "1970-01-02 00:00",
            "ü970-01-02",
        ] {
            assert!(timestamp(malformed).is_err(), "{malformed}");
        }
    }

    #[test]
    fn binary_forms() {
        assert_eq!(binary("0x00fF", BinaryText::Hexadecimal).unwrap(), [0, 255]);
        assert_eq!(binary("AP8=", BinaryText::Base64).unwrap(), [0, 255]);
        assert!(binary("00ff", BinaryText::Hexadecimal).is_err());
        assert!(binary("0x0", BinaryText::Hexadecimal).is_err());
        assert!(binary("0x+1", BinaryText::Hexadecimal).is_err());
    }
}
