//! Typed columns that grow value by value and can be cut back, which Arrow's builders cannot.
//!
//! A record is taken or left as a whole, so every column must be able to forget the values of a
//! record whose later column is bad.
//!
//! Invariants
//! - I1: a push either appends exactly one value or fails; after a failure the column may hold
//!   leftovers in its children, which the next [`Column::truncate`] drops.
//! - I2: `validity` has as many entries as the column has values.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, NullArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Field, FieldRef, Fields, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow::error::ArrowError;
use highwater_types::relation::{ColumnType, SqlType};

use super::validity::Validity;
use crate::error::{ConfigError, ValueError};
use crate::table::NameLookup;

/// A growing column.
pub(crate) struct Column {
    /// For messages, and for what Arrow does not tell apart.
    pub(super) sql_type: SqlType,
    nullable: bool,
    pub(super) validity: Validity,
    pub(super) values: Values,
}

/// The values; where the validity says NULL, a placeholder.
pub(super) enum Values {
    Null,
    Boolean(Vec<bool>),
    Int8(Vec<i8>),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    UInt8(Vec<u8>),
    UInt16(Vec<u16>),
    UInt32(Vec<u32>),
    UInt64(Vec<u64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Text(Bytes),
    Binary(Bytes),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Interval(Vec<<IntervalMonthDayNanoType as ArrowPrimitiveType>::Native>),
    List {
        offsets: Vec<i32>,
        item: FieldRef,
        element: Box<Column>,
    },
    Map {
        offsets: Vec<i32>,
        entries: FieldRef,
        key: Box<Column>,
        value: Box<Column>,
    },
    Struct {
        fields: Fields,
        columns: Vec<Column>,
        names: Arc<NameLookup>,
    },
}

/// Strings of bytes, end to end.
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    pub(super) offsets: Vec<i32>,
}

impl Bytes {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }

    pub(super) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.end_value();
    }

    /// Makes the bytes since the last value one value.
    pub(super) fn end_value(&mut self) {
        self.offsets.push(offset(self.bytes.len()));
    }

    fn truncate(&mut self, length: usize) {
        self.offsets.truncate(length + 1);
        self.bytes.truncate(self.offsets[length] as usize);
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let taken = std::mem::replace(self, Self::new());
        (
            OffsetBuffer::new(taken.offsets.into()),
            Buffer::from_vec(taken.bytes),
        )
    }
}

/// Decoders bound the bytes of a piece (`PIECE_BYTES_MAX` and one record of `RECORD_BYTES_MAX`) far
/// below 2 GiB, and no column has more elements or bytes than its text.
pub(super) fn offset(length: usize) -> i32 {
    i32::try_from(length).expect("a piece is bounded in bytes")
}

/// Does the same with the vector of any variant of fixed width.
macro_rules! fixed_width {
    ($values:expr, $vector:ident => $fixed:expr, { $($others:tt)* }) => {
        match $values {
            Values::Boolean($vector) => $fixed,
            Values::Int8($vector) => $fixed,
            Values::Int16($vector) => $fixed,
            Values::Int32($vector) | Values::Date($vector) => $fixed,
            Values::Int64($vector) | Values::Time($vector) | Values::Timestamp($vector) => $fixed,
            Values::UInt8($vector) => $fixed,
            Values::UInt16($vector) => $fixed,
            Values::UInt32($vector) => $fixed,
            Values::UInt64($vector) => $fixed,
            Values::Float32($vector) => $fixed,
            Values::Float64($vector) => $fixed,
            Values::Decimal { values: $vector, .. } => $fixed,
            Values::Interval($vector) => $fixed,
            $($others)*
        }
    };
}

impl Column {
    /// A column for the SQL type in its Arrow type.
    pub(crate) fn new(sql: &ColumnType, data_type: &DataType) -> Result<Self, ConfigError> {
        Ok(Self {
            sql_type: sql.sql_type,
            nullable: sql.nullable,
            validity: Validity::default(),
            values: Values::new(sql, data_type)?,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.validity.len()
    }

    pub(crate) fn is_nullable(&self) -> bool {
        self.nullable
    }

    /// True if the last value is NULL.
    pub(crate) fn ends_with_null(&self) -> bool {
        self.validity.ends_with_null()
    }

    /// Keeps the first `length` values, and drops leftovers of a failed push.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.validity.truncate(length);
        fixed_width!(&mut self.values, vector => vector.truncate(length), {
            Values::Null => {}
            Values::Text(bytes) | Values::Binary(bytes) => bytes.truncate(length),
            Values::List { offsets, element, .. } => {
                offsets.truncate(length + 1);
                element.truncate(offsets[length] as usize);
            }
            Values::Map { offsets, key, value, .. } => {
                offsets.truncate(length + 1);
                key.truncate(offsets[length] as usize);
                value.truncate(offsets[length] as usize);
            }
            Values::Struct { columns, .. } => {
                columns.iter_mut().for_each(|column| column.truncate(length));
            }
        });
    }

    /// Appends NULL, whether the column allows it or not: the caller checks whole rows.
    pub(crate) fn push_null(&mut self) {
        fixed_width!(&mut self.values, vector => vector.push(Default::default()), {
            Values::Null => {}
            Values::Text(bytes) | Values::Binary(bytes) => bytes.end_value(),
            Values::List { offsets, element, .. } => offsets.push(offset(element.len())),
            Values::Map { offsets, key, .. } => offsets.push(offset(key.len())),
            Values::Struct { columns, .. } => columns.iter_mut().for_each(Column::push_null),
        });
        self.validity.push_null();
    }

    /// Appends NULL inside a nested value, where nobody else checks.
    pub(super) fn push_nested_null(&mut self) -> Result<(), ValueError> {
        if !self.nullable {
            return Err(ValueError::new(
                "NULL inside a value where the type is NOT NULL",
            ));
        }
        self.push_null();
        Ok(())
    }

    /// The values as an array; the column is empty afterwards.
    pub(crate) fn take(&mut self) -> Result<ArrayRef, ArrowError> {
        let length = self.len();
        let nulls = self.validity.take();
        Ok(match &mut self.values {
            Values::Null => Arc::new(NullArray::new(length)),
            Values::Boolean(vector) => {
                Arc::new(BooleanArray::new(std::mem::take(vector).into(), nulls))
            }
            Values::Int8(vector) => primitive::<Int8Type>(vector, nulls),
            Values::Int16(vector) => primitive::<Int16Type>(vector, nulls),
            Values::Int32(vector) => primitive::<Int32Type>(vector, nulls),
            Values::Int64(vector) => primitive::<Int64Type>(vector, nulls),
            Values::UInt8(vector) => primitive::<UInt8Type>(vector, nulls),
            Values::UInt16(vector) => primitive::<UInt16Type>(vector, nulls),
            Values::UInt32(vector) => primitive::<UInt32Type>(vector, nulls),
            Values::UInt64(vector) => primitive::<UInt64Type>(vector, nulls),
            Values::Float32(vector) => primitive::<Float32Type>(vector, nulls),
            Values::Float64(vector) => primitive::<Float64Type>(vector, nulls),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                let array = primitive_array::<Decimal128Type>(values, nulls);
                Arc::new(array.with_precision_and_scale(*precision, *scale)?)
            }
            Values::Date(vector) => primitive::<Date32Type>(vector, nulls),
            Values::Time(vector) => primitive::<Time64NanosecondType>(vector, nulls),
            Values::Timestamp(vector) => primitive::<TimestampMicrosecondType>(vector, nulls),
            Values::Interval(vector) => primitive::<IntervalMonthDayNanoType>(vector, nulls),
            nested => return nested.take_variable(nulls, length),
        })
    }
}

fn take_offsets(offsets: &mut Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])))
}

fn primitive<T: ArrowPrimitiveType>(
    vector: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    Arc::new(primitive_array::<T>(vector, nulls))
}

fn primitive_array<T: ArrowPrimitiveType>(
    vector: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> PrimitiveArray<T> {
    PrimitiveArray::new(std::mem::take(vector).into(), nulls)
}

impl Values {
    fn new(sql: &ColumnType, data_type: &DataType) -> Result<Self, ConfigError> {
        Ok(match data_type {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(Vec::new()),
            DataType::Int8 => Self::Int8(Vec::new()),
            DataType::Int16 => Self::Int16(Vec::new()),
            DataType::Int32 => Self::Int32(Vec::new()),
            DataType::Int64 => Self::Int64(Vec::new()),
            DataType::UInt8 => Self::UInt8(Vec::new()),
            DataType::UInt16 => Self::UInt16(Vec::new()),
            DataType::UInt32 => Self::UInt32(Vec::new()),
            DataType::UInt64 => Self::UInt64(Vec::new()),
            DataType::Float32 => Self::Float32(Vec::new()),
            DataType::Float64 => Self::Float64(Vec::new()),
            &DataType::Decimal128(precision, scale) => Self::Decimal {
                values: Vec::new(),
                precision,
                scale,
            },
            DataType::Utf8 => Self::Text(Bytes::new()),
            DataType::Binary => Self::Binary(Bytes::new()),
            DataType::Date32 => Self::Date(Vec::new()),
            DataType::Time64(TimeUnit::Nanosecond) => Self::Time(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp(Vec::new()),
            DataType::Interval(IntervalUnit::MonthDayNano) => Self::Interval(Vec::new()),
            DataType::List(item) => {
                let element = sql
                    .component
                    .as_deref()
                    .ok_or_else(|| mismatch(sql, data_type))?;
                let element = Box::new(Column::new(element, item.data_type())?);
                Self::List {
                    offsets: vec![0],
                    item: Arc::clone(item),
                    element,
                }
            }
            DataType::Map(entries, _) => Self::new_map(sql, data_type, entries)?,
            DataType::Struct(fields) => Self::new_struct(sql, data_type, fields)?,
            _ => return Err(mismatch(sql, data_type)),
        })
    }

    fn new_map(
        sql: &ColumnType,
        data_type: &DataType,
        entries: &FieldRef,
    ) -> Result<Self, ConfigError> {
        match (
            entries.data_type(),
            sql.key.as_deref(),
            sql.value.as_deref(),
        ) {
            (DataType::Struct(fields), Some(key), Some(value)) if fields.len() == 2 => {
                Ok(Self::Map {
                    offsets: vec![0],
                    entries: Arc::clone(entries),
                    key: Box::new(Column::new(key, fields[0].data_type())?),
                    value: Box::new(Column::new(value, fields[1].data_type())?),
                })
            }
            _ => Err(mismatch(sql, data_type)),
        }
    }

    fn new_struct(
        sql: &ColumnType,
        data_type: &DataType,
        fields: &Fields,
    ) -> Result<Self, ConfigError> {
        let parts = sql
            .fields
            .as_deref()
            .filter(|parts| parts.len() == fields.len());
        let parts = parts.ok_or_else(|| mismatch(sql, data_type))?;
        let column = |(part, field): (&highwater_types::relation::Field, &Arc<Field>)| {
            Column::new(&part.columntype, field.data_type())
        };
        let columns = parts
            .iter()
            .zip(fields)
            .map(column)
            .collect::<Result<_, _>>()?;
        let names = Arc::new(NameLookup::new(parts));
        Ok(Self::Struct {
            fields: fields.clone(),
            columns,
            names,
        })
    }

    /// The array of a type whose values vary in size.
    fn take_variable(
        &mut self,
        nulls: Option<NullBuffer>,
        length: usize,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Text(bytes) => {
                let (offsets, bytes) = bytes.take();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Self::Binary(bytes) => {
                let (offsets, bytes) = bytes.take();
                Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?)
            }
            Self::List {
                offsets,
                item,
                element,
            } => {
                let offsets = take_offsets(offsets);
                Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    offsets,
                    element.take()?,
                    nulls,
                )?)
            }
            Self::Map {
                offsets,
                entries,
                key,
                value,
            } => {
                let DataType::Struct(fields) = entries.data_type() else {
                    unreachable!()
                };
                let columns = vec![key.take()?, value.take()?];
                let pairs = StructArray::try_new(fields.clone(), columns, None)?;
                let offsets = take_offsets(offsets);
                Arc::new(MapArray::try_new(
                    Arc::clone(entries),
                    offsets,
                    pairs,
                    nulls,
                    false,
                )?)
            }
            Self::Struct {
                fields, columns, ..
            } => {
                let columns = columns
                    .iter_mut()
                    .map(Column::take)
                    .collect::<Result<_, _>>()?;
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    columns,
                    nulls,
                    length,
                )?)
            }
            _ => unreachable!("taken by `Column::take`"),
        })
    }
}

fn mismatch(sql: &ColumnType, data_type: &DataType) -> ConfigError {
    ConfigError::new(format!(
        "cannot read values of SQL type {:?} as {data_type}",
        sql.sql_type
    ))
}
