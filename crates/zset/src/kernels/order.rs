//! Eight bytes of order: a `u64` per row that sorts as the order columns do, as far as it reaches.
//!
//! If `prefix(a) < prefix(b)` then row a comes before row b; equal prefixes say nothing. Most
//! comparisons of ordered batches are decided here, by one integer compare.
//!
//! A column of at most 32 bits takes one bit for NULL and its bits, exactly; the next column follows
//! in the bits that are left. A wider column ends the prefix: values of 64 bits keep all but the two
//! outermost values, which share a prefix with NULL's neighbours; strings give their first bytes.

use arrow::array::{Array, ArrayRef};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;

use crate::kernels::column::{Column, Values};
use crate::layout::OrderColumn;

/// One prefix per row.
pub(crate) fn order_prefixes(columns: &[ArrayRef], order: &[OrderColumn], rows: usize) -> Vec<u64> {
    let mut prefixes = vec![0_u64; rows];
    let mut used_bits = 0;
    for order in order {
        let (values, exact_bits) = column_prefixes(columns[order.column].as_ref(), order.options);
        for (prefix, value) in prefixes.iter_mut().zip(values) {
            *prefix |= value >> used_bits;
        }
        used_bits += exact_bits.unwrap_or(64);
        if used_bits >= 64 {
            break;
        }
    }
    prefixes
}

/// Left-aligned prefixes, and how many bits tell all values apart (`None`: not even 64 do).
fn column_prefixes(array: &dyn Array, options: SortOptions) -> (Vec<u64>, Option<u32>) {
    let column = Column::new(array);
    let kind = array.data_type();
    let is_unsigned = kind.is_unsigned_integer();
    let rows = array.len();
    macro_rules! narrow {
        ($values:expr, $width:expr) => {{
            let map = |bits: u64| match (kind.is_floating(), is_unsigned) {
                (true, _) => float(bits, $width),
                (_, true) => unsigned(bits, $width),
                _ => signed(bits, $width),
            };
            let prefix = |row: usize| map(u64::from($values[row]));
            (
                prefixes_with_nulls(&column, rows, options, $width, prefix),
                Some($width + 1),
            )
        }};
    }
    macro_rules! wide {
        ($prefix:expr) => {
            (
                prefixes_with_nulls(&column, rows, options, 64, $prefix),
                None,
            )
        };
    }
    match &column.values {
        Values::Width1(values) => narrow!(values, 8),
        Values::Width2(values) => narrow!(values, 16),
        Values::Width4(values) => narrow!(values, 32),
        Values::Boolean(values) => {
            let bit = |row: usize| u64::from(values.value(row)) << 63;
            (prefixes_with_nulls(&column, rows, options, 1, bit), Some(2))
        }
        Values::Width8(values) => {
            let is_float = *kind == DataType::Float64;
            let map = |bits: u64| match (is_float, is_unsigned) {
                (true, _) => float(bits, 64),
                (_, true) => bits,
                _ => signed(bits, 64),
            };
            wide!(|row: usize| map(values[row]))
        }
        Values::Width16(values) => {
            // A decimal's upper half is almost always 0 or -1: saturate to 64 bits instead.
            let map = |value: i128| {
                signed(
                    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64 as u64,
                    64,
                )
            };
            wide!(|row: usize| map(values[row]))
        }
        Values::Bytes(bytes) => wide!(|row: usize| first_bytes(bytes.value(row))),
        Values::LargeBytes(bytes) => wide!(|row: usize| first_bytes(bytes.value(row))),
        Values::FixedBytes(bytes) => wide!(|row: usize| first_bytes(bytes.value(row))),
        // No prefix: the comparator decides everything.
        Values::Other(_) => (vec![0; rows], None),
    }
}

/// Left-aligned bits that order as the signed integer of `width` bits does.
fn signed(bits: u64, width: u32) -> u64 {
    (bits ^ (1 << (width - 1))) << (64 - width)
}

fn unsigned(bits: u64, width: u32) -> u64 {
    bits << (64 - width)
}

/// As IEEE 754's total order, which is SQL's after canonicalisation.
fn float(bits: u64, width: u32) -> u64 {
    let sign = 1 << (width - 1);
    let ordered = if bits & sign == 0 { bits | sign } else { !bits };
    ordered << (64 - width)
}

fn first_bytes(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = bytes.len().min(8);
    first[..length].copy_from_slice(&bytes[..length]);
    u64::from_be_bytes(first)
}

/// Adds direction and NULLs to left-aligned values of `width` bits. Below 64 bits the top bit says
/// which side of NULL a value is; at 64 bits NULL shares its prefix with the outermost value.
#[inline(always)]
fn prefixes_with_nulls(
    column: &Column<'_>,
    rows: usize,
    options: SortOptions,
    width: u32,
    value: impl Fn(usize) -> u64,
) -> Vec<u64> {
    let flip = if options.descending {
        u64::MAX << (64 - width)
    } else {
        0
    };
    let (null, mark) = match (options.nulls_first, width) {
        (true, _) => (0, 1 << 63),
        (false, 64) => (u64::MAX, 0),
        (false, _) => (1 << 63, 0),
    };
    let prefix = |row: usize| {
        let directed = value(row) ^ flip;
        if width == 64 {
            directed
        } else {
            mark | directed >> 1
        }
    };
    (0..rows)
        .map(|row| {
            if column.is_null(row) {
                null
            } else {
                prefix(row)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
