//! Text to a column's type: CSV fields, JSON strings, keys of JSON objects, and JSON numbers whose
//! digits matter.

use std::str::FromStr;

use highwater_types::relation::SqlType;

use super::column::{Column, Values};
use super::flavor::Flavor;
use super::value;
use crate::error::ValueError;

impl Column {
    /// Appends the value that the text stands for. Blanks around it are ignored unless the column
    /// holds text. ARRAY, MAP and ROW are JSON text.
    pub(crate) fn push_text(&mut self, text: &str, flavor: &Flavor) -> Result<(), ValueError> {
        let trimmed = text.trim_ascii();
        match &mut self.values {
            Values::Null => return Err(ValueError::of(text, "the column is always NULL")),
            Values::Boolean(vector) => vector.push(value::boolean(trimmed)?),
            Values::Int8(vector) => vector.push(integer(trimmed)?),
            Values::Int16(vector) => vector.push(integer(trimmed)?),
            Values::Int32(vector) => vector.push(integer(trimmed)?),
            Values::Int64(vector) => vector.push(integer(trimmed)?),
            Values::UInt8(vector) => vector.push(integer(trimmed)?),
            Values::UInt16(vector) => vector.push(integer(trimmed)?),
            Values::UInt32(vector) => vector.push(integer(trimmed)?),
            Values::UInt64(vector) => vector.push(integer(trimmed)?),
            Values::Float32(vector) => vector.push(value::float32(trimmed)?),
            Values::Float64(vector) => vector.push(value::float64(trimmed)?),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                values.push(value::decimal(trimmed, *precision, *scale)?);
            }
            Values::Text(bytes) if self.sql_type == SqlType::Uuid => {
                let mut canonical = uuid::Uuid::encode_buffer();
                let canonical = value::uuid(trimmed)?
                    .hyphenated()
                    .encode_lower(&mut canonical);
                bytes.push(canonical.as_bytes());
            }
            Values::Text(bytes) => bytes.push(text.as_bytes()),
            Values::Binary(bytes) if !trimmed.starts_with('[') => {
                bytes.push(&value::binary(trimmed, flavor.binary)?);
            }
            Values::Date(vector) => vector.push(value::date(trimmed)?),
            Values::Time(vector) => vector.push(value::time(trimmed)?),
            Values::Timestamp(vector) => vector.push(value::timestamp(trimmed)?),
            Values::Interval(vector) => vector.push(value::interval(trimmed)?),
            Values::Binary(_)
            | Values::List { .. }
            | Values::Map { .. }
            | Values::Struct { .. } => {
                return self.push_json(text, flavor);
            }
        }
        self.validity.push_valid();
        Ok(())
    }
}

fn integer<T: FromStr<Err = std::num::ParseIntError>>(text: &str) -> Result<T, ValueError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    text.parse().map_err(|error: std::num::ParseIntError| {
        let out_of_range = matches!(error.kind(), NegOverflow | PosOverflow)
            // "-1" of an unsigned type is an invalid digit to Rust.
            || (text.starts_with('-') && text.parse::<i128>().is_ok());
        let reason = if out_of_range {
            "out of range of the integer type"
        } else {
            "not an integer"
        };
        ValueError::of(text, reason)
    })
}
