//! JSON values to columns, straight from serde's events: no tree of values is built.
//!
//! Numbers of exact or floating point types are parsed from their own text, so that no digit is lost
//! on the way; integers arrive as integers.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::column::{Column, Values, offset};
use super::flavor::{Flavor, IntegerTime};
use crate::error::{ValueError, shorten};

/// Carries the reason of a failure past serde, whose errors are text.
pub(super) struct Failure {
    pub(super) column: Option<usize>,
    pub(super) error: ValueError,
}

/// What the seeds of one record share.
pub(super) struct Context<'a> {
    pub(super) flavor: &'a Flavor,
    /// The table's column whose value is being read.
    pub(super) column: Option<usize>,
    failure: Option<Failure>,
}

impl<'a> Context<'a> {
    pub(super) fn new(flavor: &'a Flavor) -> Self {
        Self {
            flavor,
            column: None,
            failure: None,
        }
    }

    /// Notes why parsing stops; the first reason counts.
    pub(super) fn fail<E: serde::de::Error>(&mut self, error: ValueError) -> E {
        let column = self.column;
        self.failure.get_or_insert(Failure { column, error });
        E::custom("")
    }

    /// The reason why parsing stopped, in words for people.
    pub(super) fn explain(self, error: &serde_json::Error, text: &[u8]) -> Failure {
        self.failure.unwrap_or_else(|| {
            let message = error.to_string();
            let (message, place) = match message.rfind(" at line ") {
                Some(end) if error.line() <= 1 => (
                    &message[..end],
                    format!(" at byte {} of it", error.column()),
                ),
                Some(end) => (&message[..end], format!("{} of it", &message[end..])),
                None => (message.as_str(), String::new()),
            };
            let kind = if error.is_data() {
                ""
            } else {
                "invalid JSON: "
            };
            let value = Some(shorten(&String::from_utf8_lossy(text)));
            let error = ValueError {
                value,
                reason: format!("{kind}{message}{place}"),
            };
            Failure {
                column: self.column,
                error,
            }
        })
    }
}

impl Column {
    /// Appends the value of a JSON text.
    pub(crate) fn push_json(&mut self, text: &str, flavor: &Flavor) -> Result<(), ValueError> {
        let mut context = Context::new(flavor);
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let seed = ValueSeed {
            column: self,
            context: &mut context,
        };
        let parsed = seed
            .deserialize(&mut deserializer)
            .and_then(|()| deserializer.end());
        parsed.map_err(|error| context.explain(&error, text.as_bytes()).error)
    }

    fn push_integer(&mut self, integer: i128, flavor: &Flavor) -> Result<(), ValueError> {
        match &mut self.values {
            Values::Int8(vector) => vector.push(narrow(integer)?),
            Values::Int16(vector) => vector.push(narrow(integer)?),
            Values::Int32(vector) => vector.push(narrow(integer)?),
            Values::Int64(vector) => vector.push(narrow(integer)?),
            Values::UInt8(vector) => vector.push(narrow(integer)?),
            Values::UInt16(vector) => vector.push(narrow(integer)?),
            Values::UInt32(vector) => vector.push(narrow(integer)?),
            Values::UInt64(vector) => vector.push(narrow(integer)?),
            Values::Boolean(vector) if flavor.boolean_integer && (0..=1).contains(&integer) => {
                vector.push(integer == 1);
            }
            Values::Date(vector) if flavor.date_days => vector.push(narrow(integer)?),
            Values::Time(vector) if flavor.time.is_some() => {
                vector.push(nanoseconds_of_day(integer, flavor.time)?);
            }
            Values::Timestamp(vector) if flavor.timestamp.is_some() => {
                vector.push(microseconds(integer, flavor.timestamp)?);
            }
            _ => return Err(self.unexpected("a number", &integer.to_string())),
        }
        self.validity.push_valid();
        Ok(())
    }

    fn push_boolean(&mut self, boolean: bool) -> Result<(), ValueError> {
        let Values::Boolean(vector) = &mut self.values else {
            return Err(self.unexpected("a boolean", &boolean.to_string()));
        };
        vector.push(boolean);
        self.validity.push_valid();
        Ok(())
    }

    /// A JSON string: only types that JSON has no values for are written so.
    fn push_string(&mut self, text: &str, flavor: &Flavor) -> Result<(), ValueError> {
        match &self.values {
            Values::Text(_)
            | Values::Binary(_)
            | Values::Date(_)
            | Values::Time(_)
            | Values::Timestamp(_)
            | Values::Interval(_) => self.push_text(text, flavor),
            _ => Err(self.unexpected("a string", text)),
        }
    }

    /// Types whose numbers are read from their text.
    fn reads_raw_numbers(&self) -> bool {
        matches!(
            self.values,
            Values::Float32(_) | Values::Float64(_) | Values::Decimal { .. }
        )
    }

    /// A number, or a string that holds one, or null.
    fn push_raw_number(&mut self, raw: &str, flavor: &Flavor) -> Result<(), ValueError> {
        match raw.as_bytes()[0] {
            b'n' => {
                self.push_null();
                Ok(())
            }
            b'"' => match serde_json::from_str::<String>(raw) {
                Ok(text) => self.push_text(&text, flavor),
                Err(error) => Err(ValueError::of(raw, error.to_string())),
            },
            b'-' | b'0'..=b'9' => self.push_text(raw, flavor),
            _ => Err(self.unexpected("no number", raw)),
        }
    }

    fn unexpected(&self, what: &str, value: &str) -> ValueError {
        ValueError::of(
            value,
            format!("{what}, where {} is expected", self.expectation()),
        )
    }

    fn expectation(&self) -> &'static str {
        match &self.values {
            Values::Null => "null",
            Values::Boolean(_) => "true or false",
            Values::Int8(_) | Values::Int16(_) | Values::Int32(_) | Values::Int64(_) => {
                "an integer"
            }
            Values::UInt8(_) | Values::UInt16(_) | Values::UInt32(_) | Values::UInt64(_) => {
                "an unsigned integer"
            }
            Values::Float32(_) | Values::Float64(_) => "a number",
            Values::Decimal { .. } => "a number or a string of digits",
            Values::Text(_) => "a string",
            Values::Binary(_) => "an array of bytes",
            Values::Date(_) => "a date string",
            Values::Time(_) => "a time string",
            Values::Timestamp(_) => "a timestamp string",
            Values::Interval(_) => "an interval string",
            Values::List { .. } => "an array",
            Values::Map { .. } | Values::Struct { .. } => "an object",
        }
    }
}

fn narrow<T: TryFrom<i128>>(integer: i128) -> Result<T, ValueError> {
    T::try_from(integer)
        .map_err(|_| ValueError::of(&integer.to_string(), "out of range of the integer type"))
}

fn microseconds(integer: i128, unit: Option<IntegerTime>) -> Result<i64, ValueError> {
    let factor = if unit == Some(IntegerTime::Milliseconds) {
        1000
    } else {
        1
    };
    narrow(integer * factor)
}

fn nanoseconds_of_day(integer: i128, unit: Option<IntegerTime>) -> Result<i64, ValueError> {
    let microseconds = microseconds(integer, unit)?;
    if (0..86_400_000_000).contains(&microseconds) {
        return Ok(microseconds * 1000);
    }
    Err(ValueError::of(&integer.to_string(), "not a time of day"))
}

/// Appends one JSON value to a column.
pub(super) struct ValueSeed<'a, 'c> {
    pub(super) column: &'a mut Column,
    pub(super) context: &'a mut Context<'c>,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if !self.column.reads_raw_numbers() {
            return deserializer.deserialize_any(self);
        }
        let raw: &RawValue = serde::Deserialize::deserialize(deserializer)?;
        let pushed = self.column.push_raw_number(raw.get(), self.context.flavor);
        pushed.map_err(|error| self.context.fail(error))
    }
}

impl ValueSeed<'_, '_> {
    fn check<E: serde::de::Error>(self, pushed: Result<(), ValueError>) -> Result<(), E> {
        pushed.map_err(|error| self.context.fail(error))
    }
}

/// Appends a value inside a nested one, where NULL must be looked at.
struct NestedSeed<'a, 'c>(ValueSeed<'a, 'c>);

impl<'de> DeserializeSeed<'de> for NestedSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let ValueSeed { column, context } = self.0;
        ValueSeed {
            column: &mut *column,
            context: &mut *context,
        }
        .deserialize(deserializer)?;
        if column.ends_with_null() && !column.is_nullable() {
            return Err(context.fail(ValueError::new("NULL inside a value that cannot hold it")));
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.column.expectation())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.column.push_null();
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, boolean: bool) -> Result<(), E> {
        let pushed = self.column.push_boolean(boolean);
        self.check(pushed)
    }

    fn visit_i64<E: serde::de::Error>(self, integer: i64) -> Result<(), E> {
        let pushed = self
            .column
            .push_integer(i128::from(integer), self.context.flavor);
        self.check(pushed)
    }

    fn visit_u64<E: serde::de::Error>(self, integer: u64) -> Result<(), E> {
        let pushed = self
            .column
            .push_integer(i128::from(integer), self.context.flavor);
        self.check(pushed)
    }

    /// Producers that know only floats (pandas with gaps in a column) write integers as `1.0`.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        let exact = number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0;
        let pushed = if exact {
            self.column
                .push_integer(number as i128, self.context.flavor)
        } else {
            let shown = number.to_string();
            Err(self
                .column
                .unexpected("a number with a fraction or too many digits", &shown))
        };
        self.check(pushed)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let pushed = self.column.push_string(text, self.context.flavor);
        self.check(pushed)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let Self { column, context } = self;
        match &mut column.values {
            Values::List {
                offsets, element, ..
            } => {
                while sequence
                    .next_element_seed(NestedSeed(ValueSeed {
                        column: element,
                        context,
                    }))?
                    .is_some()
                {}
                offsets.push(offset(element.len()));
            }
            Values::Binary(bytes) => {
                while let Some(byte) = sequence.next_element::<u8>()? {
                    bytes.bytes.push(byte);
                }
                bytes.end_value();
            }
            Values::Struct { columns, .. } => {
                for column in columns.iter_mut() {
                    let seed = NestedSeed(ValueSeed { column, context });
                    if sequence.next_element_seed(seed)?.is_none() {
                        return Err(context.fail(ValueError::new("too few values for the ROW")));
                    }
                }
                if sequence.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    return Err(context.fail(ValueError::new("too many values for the ROW")));
                }
            }
            _ => {
                let error = column.unexpected("an array", "[…]");
                return Err(context.fail(error));
            }
        }
        column.validity.push_valid();
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Self { column, context } = self;
        match &mut column.values {
            Values::Map {
                offsets,
                key,
                value,
                ..
            } => {
                visit_map_entries(map, key, value, context)?;
                offsets.push(offset(key.len()));
            }
            Values::Struct { columns, names, .. } => {
                let start = column.validity.len();
                visit_struct_fields(map, columns, names, start, context)?;
            }
            _ => {
                let error = column.unexpected("an object", "{…}");
                return Err(context.fail(error));
            }
        }
        column.validity.push_valid();
        Ok(())
    }
}

/// A string, borrowed from the input if it has no escapes.
pub(super) struct TextSeed;

impl<'de> DeserializeSeed<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for TextSeed {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// Entries go in by key text, each key once (the last one counts): equal maps become equal values,
/// however they were written.
fn visit_map_entries<'de, A: MapAccess<'de>>(
    mut map: A,
    keys: &mut Column,
    values: &mut Column,
    context: &mut Context<'_>,
) -> Result<(), A::Error> {
    let mut entries: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
    while let Some(key) = map.next_key_seed(TextSeed)? {
        entries.push((key, map.next_value()?));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (i, (key, value)) in entries.iter().enumerate() {
        if entries.get(i + 1).is_some_and(|(next, _)| next == key) {
            continue;
        }
        keys.push_text(key, context.flavor)
            .map_err(|error| context.fail(error))?;
        let seed = NestedSeed(ValueSeed {
            column: values,
            context,
        });
        seed.deserialize(*value).map_err(A::Error::custom)?;
    }
    Ok(())
}

/// Fields that are not there become NULL.
fn visit_struct_fields<'de, A: MapAccess<'de>>(
    mut map: A,
    columns: &mut [Column],
    names: &crate::table::NameLookup,
    start: usize,
    context: &mut Context<'_>,
) -> Result<(), A::Error> {
    while let Some(name) = map.next_key_seed(TextSeed)? {
        let Some(index) = names.find(&name) else {
            return Err(context.fail(ValueError::of(&name, "the ROW has no such field")));
        };
        let column = &mut columns[index];
        column.truncate(start);
        map.next_value_seed(NestedSeed(ValueSeed { column, context }))?;
    }
    for column in columns.iter_mut().filter(|column| column.len() == start) {
        column
            .push_nested_null()
            .map_err(|error| context.fail(error))?;
    }
    Ok(())
}
