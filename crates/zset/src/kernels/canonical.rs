//! One bit pattern per value: where SQL says equal, stored bits are equal.
//!
//! Only floats need it: `-0.0` becomes `0.0` and every NaN the same NaN, also inside lists, structs
//! and maps. Hashes, equality, order and storage can then work on bits.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    PrimitiveArray, StructArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};

const NAN_16: u16 = 0x7E00;
const NAN_32: u32 = 0x7FC0_0000;
const NAN_64: u64 = 0x7FF8_0000_0000_0000;

#[inline(always)]
pub(crate) fn canonical_bits_16(bits: u16) -> u16 {
    match bits & 0x7FFF {
        0 => 0,
        magnitude if magnitude > 0x7C00 => NAN_16,
        _ => bits,
    }
}

#[inline(always)]
pub(crate) fn canonical_bits_32(bits: u32) -> u32 {
    match bits & 0x7FFF_FFFF {
        0 => 0,
        magnitude if magnitude > 0x7F80_0000 => NAN_32,
        _ => bits,
    }
}

#[inline(always)]
pub(crate) fn canonical_bits_64(bits: u64) -> u64 {
    match bits & 0x7FFF_FFFF_FFFF_FFFF {
        0 => 0,
        magnitude if magnitude > 0x7FF0_0000_0000_0000 => NAN_64,
        _ => bits,
    }
}

/// The columns with canonical floats; borrowed if there is nothing to change.
pub(crate) fn canonical_columns(columns: &[ArrayRef]) -> Cow<'_, [ArrayRef]> {
    let mut result = Cow::Borrowed(columns);
    for (position, column) in columns.iter().enumerate() {
        if let Some(changed) = canonical_array(column.as_ref()) {
            result.to_mut()[position] = changed;
        }
    }
    result
}

/// `None` if the array is canonical.
fn canonical_array(array: &dyn Array) -> Option<ArrayRef> {
    match array.data_type() {
        DataType::Float16 => canonical_floats(
            array.as_primitive::<Float16Type>(),
            |value| {
                <Float16Type as ArrowPrimitiveType>::Native::from_bits(canonical_bits_16(
                    value.to_bits(),
                ))
            },
            |value| value.to_bits().into(),
        ),
        DataType::Float32 => canonical_floats(
            array.as_primitive::<Float32Type>(),
            |value| f32::from_bits(canonical_bits_32(value.to_bits())),
            |value| value.to_bits().into(),
        ),
        DataType::Float64 => canonical_floats(
            array.as_primitive::<Float64Type>(),
            |value| f64::from_bits(canonical_bits_64(value.to_bits())),
            f64::to_bits,
        ),
        DataType::List(_) => canonical_list(array.as_list::<i32>()),
        DataType::LargeList(_) => canonical_list(array.as_list::<i64>()),
        DataType::FixedSizeList(field, width) => {
            let list = array.as_fixed_size_list();
            let values = canonical_array(list.values().as_ref())?;
            let list =
                FixedSizeListArray::new(Arc::clone(field), *width, values, list.nulls().cloned());
            Some(Arc::new(list))
        }
        DataType::Struct(_) => {
            canonical_struct(array.as_struct()).map(|array| Arc::new(array) as ArrayRef)
        }
        DataType::Map(field, is_sorted) => {
            let map = array.as_map();
            let entries = canonical_struct(map.entries())?;
            let (offsets, nulls) = (map.offsets().clone(), map.nulls().cloned());
            Some(Arc::new(MapArray::new(
                Arc::clone(field),
                offsets,
                entries,
                nulls,
                *is_sorted,
            )))
        }
        _ => None,
    }
}

fn canonical_floats<T: ArrowPrimitiveType>(
    array: &PrimitiveArray<T>,
    canonical: impl Fn(T::Native) -> T::Native,
    bits: impl Fn(T::Native) -> u64,
) -> Option<ArrayRef> {
    let changes = |value: &T::Native| bits(canonical(*value)) != bits(*value);
    if !array.values().iter().any(changes) {
        return None;
    }
    Some(Arc::new(array.unary::<_, T>(canonical)))
}

fn canonical_list<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Option<ArrayRef> {
    let values = canonical_array(list.values().as_ref())?;
    let (DataType::List(field) | DataType::LargeList(field)) = list.data_type() else {
        return None;
    };
    let list = GenericListArray::<O>::new(
        Arc::clone(field),
        list.offsets().clone(),
        values,
        list.nulls().cloned(),
    );
    Some(Arc::new(list))
}

fn canonical_struct(array: &StructArray) -> Option<StructArray> {
    match canonical_columns(array.columns()) {
        Cow::Borrowed(_) => None,
        Cow::Owned(columns) => Some(StructArray::new(
            array.fields().clone(),
            columns,
            array.nulls().cloned(),
        )),
    }
}
