//! An Arrow array as a typed slice.

use arrow::array::{Array, AsArray, FixedSizeBinaryArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    BinaryType, ByteArrayType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type,
    Decimal128Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalUnit, IntervalYearMonthType, LargeBinaryType, LargeUtf8Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type, Utf8Type,
};

/// An array's values and nulls. Values of null rows exist and mean nothing.
pub(crate) struct Column<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) nulls: Option<&'a NullBuffer>,
}

/// Values by their width. Signs and units do not matter here: equal bits are equal values.
pub(crate) enum Values<'a> {
    Width1(&'a [u8]),
    Width2(&'a [u16]),
    Width4(&'a [u32]),
    Width8(&'a [u64]),
    Width16(&'a [i128]),
    Boolean(&'a BooleanBuffer),
    Bytes(Bytes<'a, i32>),
    LargeBytes(Bytes<'a, i64>),
    FixedBytes(&'a FixedSizeBinaryArray),
    Other(&'a dyn Array),
}

/// Strings or binaries.
pub(crate) struct Bytes<'a, O> {
    pub(crate) offsets: &'a [O],
    pub(crate) data: &'a [u8],
}

impl Bytes<'_, i32> {
    #[inline(always)]
    pub(crate) fn value(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl Bytes<'_, i64> {
    #[inline(always)]
    pub(crate) fn value(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

macro_rules! primitive {
    ($array:expr, $width:ident, $type:ty) => {
        Values::$width($array.as_primitive::<$type>().values().inner().typed_data())
    };
}

impl<'a> Column<'a> {
    pub(crate) fn new(array: &'a dyn Array) -> Self {
        Self {
            values: Values::new(array),
            nulls: array.nulls(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row))
    }
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Boolean => Self::Boolean(array.as_boolean().values()),
            DataType::Int8 => primitive!(array, Width1, Int8Type),
            DataType::UInt8 => primitive!(array, Width1, UInt8Type),
            DataType::Int16 => primitive!(array, Width2, Int16Type),
            DataType::UInt16 => primitive!(array, Width2, UInt16Type),
            DataType::Float16 => primitive!(array, Width2, Float16Type),
            DataType::Int32 => primitive!(array, Width4, Int32Type),
            DataType::UInt32 => primitive!(array, Width4, UInt32Type),
            DataType::Float32 => primitive!(array, Width4, Float32Type),
            DataType::Decimal32(_, _) => primitive!(array, Width4, Decimal32Type),
            DataType::Int64 => primitive!(array, Width8, Int64Type),
            DataType::UInt64 => primitive!(array, Width8, UInt64Type),
            DataType::Float64 => primitive!(array, Width8, Float64Type),
            DataType::Decimal64(_, _) => primitive!(array, Width8, Decimal64Type),
            DataType::Decimal128(_, _) => primitive!(array, Width16, Decimal128Type),
            DataType::Utf8 => Self::Bytes(bytes::<Utf8Type>(array)),
            DataType::Binary => Self::Bytes(bytes::<BinaryType>(array)),
            DataType::LargeUtf8 => Self::LargeBytes(bytes::<LargeUtf8Type>(array)),
            DataType::LargeBinary => Self::LargeBytes(bytes::<LargeBinaryType>(array)),
            DataType::FixedSizeBinary(_) => Self::FixedBytes(array.as_fixed_size_binary()),
            _ => Self::temporal(array),
        }
    }

    fn temporal(array: &'a dyn Array) -> Self {
        match array.data_type() {
            DataType::Date32 => primitive!(array, Width4, Date32Type),
            DataType::Date64 => primitive!(array, Width8, Date64Type),
            DataType::Time32(TimeUnit::Second) => primitive!(array, Width4, Time32SecondType),
            DataType::Time32(TimeUnit::Millisecond) => {
                primitive!(array, Width4, Time32MillisecondType)
            }
            DataType::Time64(TimeUnit::Microsecond) => {
                primitive!(array, Width8, Time64MicrosecondType)
            }
            DataType::Time64(TimeUnit::Nanosecond) => {
                primitive!(array, Width8, Time64NanosecondType)
            }
            DataType::Timestamp(TimeUnit::Second, _) => {
                primitive!(array, Width8, TimestampSecondType)
            }
            DataType::Timestamp(TimeUnit::Millisecond, _) => {
                primitive!(array, Width8, TimestampMillisecondType)
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                primitive!(array, Width8, TimestampMicrosecondType)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                primitive!(array, Width8, TimestampNanosecondType)
            }
            DataType::Duration(TimeUnit::Second) => primitive!(array, Width8, DurationSecondType),
            DataType::Duration(TimeUnit::Millisecond) => {
                primitive!(array, Width8, DurationMillisecondType)
            }
            DataType::Duration(TimeUnit::Microsecond) => {
                primitive!(array, Width8, DurationMicrosecondType)
            }
            DataType::Duration(TimeUnit::Nanosecond) => {
                primitive!(array, Width8, DurationNanosecondType)
            }
            DataType::Interval(IntervalUnit::YearMonth) => {
                primitive!(array, Width4, IntervalYearMonthType)
            }
            _ => Self::Other(array),
        }
    }
}

fn bytes<T: ByteArrayType>(array: &dyn Array) -> Bytes<'_, T::Offset> {
    let array = array.as_bytes::<T>();
    Bytes {
        offsets: array.value_offsets(),
        data: array.value_data(),
    }
}

/// Bytes of an array's strings or binaries, or of the buffers of a nested one; 0 for fixed widths.
pub(crate) fn bytes_in_use(array: &dyn Array) -> usize {
    match Values::new(array) {
        Values::Bytes(bytes) => (bytes.offsets[array.len()] - bytes.offsets[0]) as usize,
        Values::LargeBytes(bytes) => (bytes.offsets[array.len()] - bytes.offsets[0]) as usize,
        Values::Other(array) => array.get_buffer_memory_size(),
        _ => 0,
    }
}
