//! Values of a column as text and as JSON.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time64NanosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use serde::Serialize;

use crate::error::EncodeError;

/// Writes the values of one array.
pub(super) struct ValueWriter {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    Int8(PrimitiveArray<Int8Type>),
    Int16(PrimitiveArray<Int16Type>),
    Int32(PrimitiveArray<Int32Type>),
    Int64(PrimitiveArray<Int64Type>),
    UInt8(PrimitiveArray<UInt8Type>),
    UInt16(PrimitiveArray<UInt16Type>),
    UInt32(PrimitiveArray<UInt32Type>),
    UInt64(PrimitiveArray<UInt64Type>),
    Float32(PrimitiveArray<Float32Type>),
    Float64(PrimitiveArray<Float64Type>),
    Decimal(PrimitiveArray<Decimal128Type>),
    Text(StringArray),
    Binary(BinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64NanosecondType>),
    Timestamp(PrimitiveArray<TimestampMicrosecondType>),
    List {
        lists: ListArray,
        elements: Box<ValueWriter>,
    },
    Map {
        maps: MapArray,
        keys: Box<ValueWriter>,
        values: Box<ValueWriter>,
    },
    Struct(Vec<(Vec<u8>, ValueWriter)>),
}

impl ValueWriter {
    pub(super) fn new(array: &ArrayRef) -> Result<Self, EncodeError> {
        let array = canonical(array)?;
        let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
        Ok(Self {
            nulls,
            values: Values::new(&array)?,
        })
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match &self.nulls {
            Some(nulls) => nulls.is_null(row),
            None => matches!(self.values, Values::Null),
        }
    }

    /// Appends a value as JSON.
    pub(super) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return out.extend_from_slice(b"null");
        }
        match &self.values {
            Values::Text(array) => write_json_value(out, array.value(row)),
            Values::Float32(array) if !array.value(row).is_finite() => self.write_quoted(row, out),
            Values::Float64(array) if !array.value(row).is_finite() => self.write_quoted(row, out),
            Values::Decimal(_) | Values::Date(_) | Values::Time(_) | Values::Timestamp(_) => {
                self.write_quoted(row, out);
            }
            _ => self.write_text(row, out),
        }
    }

    /// The text of types whose text needs no escapes, in quotes.
    fn write_quoted(&self, row: usize, out: &mut Vec<u8>) {
        out.push(b'"');
        self.write_text(row, out);
        out.push(b'"');
    }

    /// Appends a value that is not NULL as plain text; nested values and bytes are JSON.
    pub(super) fn write_text(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Null => {}
            Values::Boolean(array) => write_json_value(out, &array.value(row)),
            Values::Int8(array) => write_json_value(out, &array.value(row)),
            Values::Int16(array) => write_json_value(out, &array.value(row)),
            Values::Int32(array) => write_json_value(out, &array.value(row)),
            Values::Int64(array) => write_json_value(out, &array.value(row)),
            Values::UInt8(array) => write_json_value(out, &array.value(row)),
            Values::UInt16(array) => write_json_value(out, &array.value(row)),
            Values::UInt32(array) => write_json_value(out, &array.value(row)),
            Values::UInt64(array) => write_json_value(out, &array.value(row)),
            Values::Float32(array) => match array.value(row) {
                finite if finite.is_finite() => write_json_value(out, &finite),
                other => write_not_finite(out, f64::from(other)),
            },
            Values::Float64(array) => match array.value(row) {
                finite if finite.is_finite() => write_json_value(out, &finite),
                other => write_not_finite(out, other),
            },
            Values::Decimal(array) => write_decimal(out, array.value(row), array.scale()),
            Values::Text(array) => out.extend_from_slice(array.value(row).as_bytes()),
            Values::Binary(array) => write_json_value(out, array.value(row)),
            Values::Date(array) => write_date(out, i64::from(array.value(row))),
            Values::Time(array) => write_time(out, array.value(row)),
            Values::Timestamp(array) => write_timestamp(out, array.value(row)),
            Values::List { lists, elements } => write_list(out, lists, elements, row),
            Values::Map { maps, keys, values } => write_map(out, maps, keys, values, row),
            Values::Struct(fields) => {
                for (i, (name, field)) in fields.iter().enumerate() {
                    out.push(if i == 0 { b'{' } else { b',' });
                    out.extend_from_slice(name);
                    field.write_json(row, out);
                }
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
        }
    }
}

/// Brings arrays of other layouts into the project's Arrow types; what has no such type (durations,
/// intervals, …) becomes text.
fn canonical(array: &ArrayRef) -> Result<ArrayRef, EncodeError> {
    use DataType::{
        Binary, BinaryView, Date32, Date64, Decimal32, Decimal64, Decimal128, Dictionary,
        FixedSizeBinary, FixedSizeList, Float16, Float32, LargeBinary, LargeList, LargeUtf8, List,
        Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    let target = match array.data_type() {
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Dictionary(_, values) => (**values).clone(),
        LargeList(item) | FixedSizeList(item, _) => List(item.clone()),
        Float16 => Float32,
        Date64 => Date32,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        Time32(_) | Time64(TimeUnit::Microsecond) => Time64(TimeUnit::Nanosecond),
        Timestamp(TimeUnit::Microsecond, None) => return Ok(array.clone()),
        Timestamp(..) => Timestamp(TimeUnit::Microsecond, None),
        data_type if is_written(data_type) => return Ok(array.clone()),
        _ => return formatted(array),
    };
    canonical(&cast(array, &target)?)
}

fn is_written(data_type: &DataType) -> bool {
    use DataType::{
        Binary, Boolean, Date32, Decimal128, Float32, Float64, List, Map, Null, Struct, Time64,
        Utf8,
    };
    let listed = matches!(
        data_type,
        Null | Boolean
            | Float32
            | Float64
            | Decimal128(..)
            | Utf8
            | Binary
            | Date32
            | Time64(TimeUnit::Nanosecond)
            | List(_)
            | Map(..)
            | Struct(_)
    );
    listed || data_type.is_integer()
}

fn formatted(array: &ArrayRef) -> Result<ArrayRef, EncodeError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options)?;
    let text = |row| {
        array
            .is_valid(row)
            .then(|| formatter.value(row).to_string())
    };
    Ok(std::sync::Arc::new(
        (0..array.len()).map(text).collect::<StringArray>(),
    ))
}

impl Values {
    fn new(array: &ArrayRef) -> Result<Self, EncodeError> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 => Self::Int8(array.as_primitive().clone()),
            DataType::Int16 => Self::Int16(array.as_primitive().clone()),
            DataType::Int32 => Self::Int32(array.as_primitive().clone()),
            DataType::Int64 => Self::Int64(array.as_primitive().clone()),
            DataType::UInt8 => Self::UInt8(array.as_primitive().clone()),
            DataType::UInt16 => Self::UInt16(array.as_primitive().clone()),
            DataType::UInt32 => Self::UInt32(array.as_primitive().clone()),
            DataType::UInt64 => Self::UInt64(array.as_primitive().clone()),
            DataType::Float32 => Self::Float32(array.as_primitive().clone()),
            DataType::Float64 => Self::Float64(array.as_primitive().clone()),
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive().clone()),
            DataType::Binary => Self::Binary(array.as_binary().clone()),
            DataType::Date32 => Self::Date(array.as_primitive().clone()),
            DataType::Time64(_) => Self::Time(array.as_primitive().clone()),
            DataType::Timestamp(..) => Self::Timestamp(array.as_primitive().clone()),
            DataType::List(_) => {
                let lists = array.as_list().clone();
                let elements = Box::new(ValueWriter::new(lists.values())?);
                Self::List { lists, elements }
            }
            DataType::Map(..) => {
                let maps = array.as_map().clone();
                let keys = Box::new(ValueWriter::new(maps.keys())?);
                let values = Box::new(ValueWriter::new(maps.values())?);
                Self::Map { maps, keys, values }
            }
            DataType::Struct(_) => Self::Struct(struct_writers(array.as_struct())?),
            _ => Self::Text(array.as_string().clone()),
        })
    }
}

fn struct_writers(structs: &StructArray) -> Result<Vec<(Vec<u8>, ValueWriter)>, EncodeError> {
    let parts = structs.fields().iter().zip(structs.columns());
    parts
        .map(|(field, column)| Ok((object_key(field), ValueWriter::new(column)?)))
        .collect()
}

/// `"name":`
pub(super) fn object_key(field: &Field) -> Vec<u8> {
    let mut key = Vec::new();
    write_json_value(&mut key, field.name());
    key.push(b':');
    key
}

fn write_json_value<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("writing to memory cannot fail");
}

fn write_not_finite(out: &mut Vec<u8>, value: f64) {
    let text = match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    };
    out.extend_from_slice(text.as_bytes());
}

/// All digits of the scale, as SQL shows them.
fn write_decimal(out: &mut Vec<u8>, value: i128, scale: i8) {
    let digits = value.unsigned_abs().to_string();
    if value < 0 {
        out.push(b'-');
    }
    let Ok(scale) = usize::try_from(scale) else {
        out.extend_from_slice(digits.as_bytes());
        return out.extend(std::iter::repeat_n(b'0', usize::from(scale.unsigned_abs())));
    };
    let whole = digits.len().saturating_sub(scale);
    out.extend_from_slice(if whole == 0 {
        b"0"
    } else {
        &digits.as_bytes()[..whole]
    });
    if scale > 0 {
        out.push(b'.');
        out.extend(std::iter::repeat_n(
            b'0',
            scale.saturating_sub(digits.len()),
        ));
        out.extend_from_slice(&digits.as_bytes()[whole..]);
    }
}

fn write_digits(out: &mut Vec<u8>, number: u32, width: usize) {
    let mut unit = 10_u32.pow(width as u32 - 1);
    while unit > 0 {
        out.push(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

fn write_calendar_date(out: &mut Vec<u8>, date: NaiveDate) {
    match u32::try_from(date.year()) {
        Ok(year @ 0..=9999) => {
            write_digits(out, year, 4);
            out.push(b'-');
            write_digits(out, date.month(), 2);
            out.push(b'-');
            write_digits(out, date.day(), 2);
        }
        // Chrono's own form: a sign and more digits.
        _ => out.extend_from_slice(date.to_string().as_bytes()),
    }
}

fn write_date(out: &mut Vec<u8>, days: i64) {
    match NaiveDate::default().checked_add_signed(chrono::TimeDelta::days(days)) {
        Some(date) => write_calendar_date(out, date),
        None => out.extend_from_slice(days.to_string().as_bytes()),
    }
}

fn write_clock(out: &mut Vec<u8>, seconds_of_day: u32) {
    write_digits(out, seconds_of_day / 3600, 2);
    out.push(b':');
    write_digits(out, seconds_of_day / 60 % 60, 2);
    out.push(b':');
    write_digits(out, seconds_of_day % 60, 2);
}

/// Nine digits of fraction, or none.
fn write_time(out: &mut Vec<u8>, nanoseconds: i64) {
    const PER_SECOND: i64 = 1_000_000_000;
    write_clock(out, (nanoseconds / PER_SECOND).rem_euclid(86_400) as u32);
    let fraction = nanoseconds.rem_euclid(PER_SECOND) as u32;
    if fraction != 0 {
        out.push(b'.');
        write_digits(out, fraction, 9);
    }
}

/// Six digits of fraction, or none.
fn write_timestamp(out: &mut Vec<u8>, microseconds: i64) {
    let Some(timestamp) = DateTime::from_timestamp_micros(microseconds) else {
        // Outside the calendar (a quarter of a million years): the number says what it is.
        return out.extend_from_slice(microseconds.to_string().as_bytes());
    };
    let timestamp = timestamp.naive_utc();
    write_calendar_date(out, timestamp.date());
    out.push(b' ');
    write_clock(out, timestamp.num_seconds_from_midnight());
    let fraction = timestamp.nanosecond() / 1000;
    if fraction != 0 {
        out.push(b'.');
        write_digits(out, fraction, 6);
    }
}

fn write_list(out: &mut Vec<u8>, lists: &ListArray, elements: &ValueWriter, row: usize) {
    let offsets = lists.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    out.push(b'[');
    for element in start..end {
        if element > start {
            out.push(b',');
        }
        elements.write_json(element, out);
    }
    out.push(b']');
}

fn write_map(
    out: &mut Vec<u8>,
    maps: &MapArray,
    keys: &ValueWriter,
    values: &ValueWriter,
    row: usize,
) {
    let offsets = maps.value_offsets();
    let (start, end) = (offsets[row] as usize, offsets[row + 1] as usize);
    let mut text = Vec::new();
    out.push(b'{');
    for entry in start..end {
        if entry > start {
            out.push(b',');
        }
        text.clear();
        keys.write_text(entry, &mut text);
        write_json_value(out, &*String::from_utf8_lossy(&text));
        out.push(b':');
        values.write_json(entry, out);
    }
    out.push(b'}');
}
