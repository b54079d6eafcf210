//! The hash that orders everything: one `u64` per row over some columns.
//!
//! It decides which worker owns a row and where the row stands in a batch, and it is written to disk
//! with the rows. So this is a format, stable across machines and versions:
//!
//! - A value of fixed width is hashed as its little-endian bytes with XXH3-64 and the seed; booleans
//!   as one byte, 0 or 1. Floats are made canonical first: `-0.0` is `0.0`, every NaN is the quiet
//!   one with zero payload. Strings and binaries are hashed as their bytes.
//! - NULL is [`NULL_HASH`] whatever the type.
//! - A list (map, fixed size list) is the combination of XXH3-64 of its length (u64) and its
//!   elements' hashes; a struct is the combination of its fields' hashes.
//! - Combining is order-dependent: `combine(state, h) = (rotate_left(state, 23) ^ h) * COMBINE_PRIME`.
//! - A row of one column has that column's hash; further columns are combined from left to right.
//!   A row of no columns is [`NO_COLUMNS_HASH`].
//! - Types without a scheme here (unions, run-end encoding, list views) hash to a constant: slow, but
//!   right, because every match by hash is verified on the columns.
//!
//! The seed is drawn per pipeline, so that input cannot be crafted against it.

use std::ops::RangeInclusive;

use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, ToByteSlice};
use arrow::datatypes::{Decimal256Type, IntervalDayTimeType, IntervalMonthDayNanoType};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::kernels::canonical::{canonical_bits_16, canonical_bits_32, canonical_bits_64};
use crate::kernels::column::{Column, Values};

/// Hash of NULL: digits of the golden ratio.
const NULL_HASH: u64 = 0x9E37_79B9_7F4A_7C15;
/// Hash of a row without columns.
const NO_COLUMNS_HASH: u64 = 0x6A09_E667_F3BC_C908;
/// A prime with well spread bits (the first one of XXH64).
const COMBINE_PRIME: u64 = 0x9E37_79B1_85EB_CA87;

/// Hashes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowHasher {
    seed: u64,
    mask: u64,
}

impl RowHasher {
    /// Equal seeds give equal hashes, on every machine.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            mask: u64::MAX,
        }
    }

    /// For tests: only the top `bits` bits of each hash survive, so that hashes collide.
    pub fn weakened(seed: u64, bits: u32) -> Self {
        let mask = if bits == 0 {
            0
        } else {
            u64::MAX << (64 - bits.min(64))
        };
        Self { seed, mask }
    }

    /// One hash per row over `columns`, each of `rows` rows. Without columns all rows hash alike.
    pub fn hash(&self, columns: &[ArrayRef], rows: usize) -> Vec<u64> {
        let mut hashes = match columns.split_first() {
            None => vec![NO_COLUMNS_HASH; rows],
            Some((first, others)) => {
                let mut hashes = hash_values(first.as_ref(), self.seed);
                for column in others {
                    combine_values(column.as_ref(), self.seed, &mut hashes);
                }
                hashes
            }
        };
        debug_assert_eq!(
            hashes.len(),
            rows,
            "columns have as many values as there are rows"
        );
        if self.mask != u64::MAX {
            hashes.iter_mut().for_each(|hash| *hash &= self.mask);
        }
        hashes
    }

    /// The worker (of `workers`) that owns a hash: each owns a contiguous range.
    pub fn owner(hash: u64, workers: usize) -> usize {
        ((u128::from(hash) * workers as u128) >> 64) as usize
    }

    /// The hashes that a worker (of `workers`) owns.
    pub fn owned(worker: usize, workers: usize) -> RangeInclusive<u64> {
        // The first hash of which `hash * workers / 2^64` is `worker`, and the last.
        let start = |worker: usize| ((worker as u128) << 64).div_ceil(workers as u128);
        start(worker) as u64..=(start(worker + 1) - 1) as u64
    }
}

#[inline(always)]
fn combine(state: u64, hash: u64) -> u64 {
    (state.rotate_left(23) ^ hash).wrapping_mul(COMBINE_PRIME)
}

/// Where the hashes of a column go: the same typed loops fill a fresh vector or combine into one.
trait Sink {
    fn values(&mut self, rows: usize, nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> u64);
}

struct Fresh(Vec<u64>);

impl Sink for Fresh {
    #[inline(always)]
    fn values(&mut self, rows: usize, nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> u64) {
        match nulls {
            None => self.0.extend((0..rows).map(hash)),
            Some(nulls) => {
                self.0.extend((0..rows).map(|row| {
                    if nulls.is_null(row) {
                        NULL_HASH
                    } else {
                        hash(row)
                    }
                }));
            }
        }
    }
}

struct Combined<'a>(&'a mut [u64]);

impl Sink for Combined<'_> {
    #[inline(always)]
    fn values(&mut self, rows: usize, nulls: Option<&NullBuffer>, hash: impl Fn(usize) -> u64) {
        debug_assert_eq!(rows, self.0.len());
        match nulls {
            None => {
                for (row, state) in self.0.iter_mut().enumerate() {
                    *state = combine(*state, hash(row));
                }
            }
            Some(nulls) => {
                for (row, state) in self.0.iter_mut().enumerate() {
                    let value = if nulls.is_null(row) {
                        NULL_HASH
                    } else {
                        hash(row)
                    };
                    *state = combine(*state, value);
                }
            }
        }
    }
}

fn hash_values(array: &dyn Array, seed: u64) -> Vec<u64> {
    let mut sink = Fresh(Vec::with_capacity(array.len()));
    hash_array(array, seed, &mut sink);
    sink.0
}

fn combine_values(array: &dyn Array, seed: u64, states: &mut [u64]) {
    hash_array(array, seed, &mut Combined(states));
}

fn hash_array<S: Sink>(array: &dyn Array, seed: u64, sink: &mut S) {
    let rows = array.len();
    let column = Column::new(array);
    let nulls = column.nulls;
    match (&column.values, array.data_type()) {
        (Values::Width2(bits), DataType::Float16) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&canonical_bits_16(bits[row]).to_le_bytes(), seed)
            });
        }
        (Values::Width4(bits), DataType::Float32) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&canonical_bits_32(bits[row]).to_le_bytes(), seed)
            });
        }
        (Values::Width8(bits), DataType::Float64) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&canonical_bits_64(bits[row]).to_le_bytes(), seed)
            });
        }
        (Values::Width1(values), _) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        (Values::Width2(values), _) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        (Values::Width4(values), _) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        (Values::Width8(values), _) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        (Values::Width16(values), _) => {
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        (Values::Boolean(values), _) => {
            let of_value = [of_bytes(&[0], seed), of_bytes(&[1], seed)];
            sink.values(rows, nulls, |row| of_value[usize::from(values.value(row))]);
        }
        (Values::Bytes(bytes), _) => {
            sink.values(rows, nulls, |row| of_bytes(bytes.value(row), seed));
        }
        (Values::LargeBytes(bytes), _) => {
            sink.values(rows, nulls, |row| of_bytes(bytes.value(row), seed));
        }
        (Values::FixedBytes(bytes), _) => {
            sink.values(rows, nulls, |row| of_bytes(bytes.value(row), seed));
        }
        (Values::Other(_), _) => hash_other(array, seed, sink),
    }
}

/// Types without a typed slice: wide natives, views, and nested ones by recursion.
fn hash_other<S: Sink>(array: &dyn Array, seed: u64, sink: &mut S) {
    let rows = array.len();
    let nulls = array.nulls();
    match array.data_type() {
        DataType::Interval(arrow::datatypes::IntervalUnit::DayTime) => {
            let values = array.as_primitive::<IntervalDayTimeType>().values();
            sink.values(rows, nulls, |row| {
                of_bytes(values[row].to_byte_slice(), seed)
            });
        }
        DataType::Interval(arrow::datatypes::IntervalUnit::MonthDayNano) => {
            let values = array.as_primitive::<IntervalMonthDayNanoType>().values();
            sink.values(rows, nulls, |row| {
                of_bytes(values[row].to_byte_slice(), seed)
            });
        }
        DataType::Decimal256(_, _) => {
            let values = array.as_primitive::<Decimal256Type>().values();
            sink.values(rows, nulls, |row| {
                of_bytes(&values[row].to_le_bytes(), seed)
            });
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            sink.values(rows, nulls, |row| {
                of_bytes(values.value(row).as_bytes(), seed)
            });
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            sink.values(rows, nulls, |row| of_bytes(values.value(row), seed));
        }
        DataType::List(_) => hash_list(array.as_list::<i32>(), seed, sink),
        DataType::LargeList(_) => hash_list(array.as_list::<i64>(), seed, sink),
        DataType::Map(_, _) => {
            let map = array.as_map();
            let offsets = map.value_offsets();
            hash_elements(
                rows,
                nulls,
                map.entries(),
                |row| (offsets[row] as usize, offsets[row + 1] as usize),
                seed,
                sink,
            );
        }
        DataType::FixedSizeList(_, _) => {
            let list = array.as_fixed_size_list();
            let width = list.value_length() as usize;
            let range = |row: usize| (row * width, (row + 1) * width);
            hash_elements(rows, nulls, list.values().as_ref(), range, seed, sink);
        }
        DataType::Struct(_) => {
            let fields = array.as_struct().columns();
            let hashes = RowHasher::new(seed).hash(fields, rows);
            sink.values(rows, nulls, |row| hashes[row]);
        }
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            if dictionary.values().is_empty() {
                return sink.values(rows, None, |_| NULL_HASH);
            }
            let values = hash_values(dictionary.values().as_ref(), seed);
            let keys = dictionary.normalized_keys();
            sink.values(rows, nulls, |row| values[keys[row]]);
        }
        DataType::Null => sink.values(rows, None, |_| NULL_HASH),
        _ => sink.values(rows, None, |_| NO_COLUMNS_HASH),
    }
}

fn hash_list<S: Sink, O: OffsetSizeTrait>(list: &GenericListArray<O>, seed: u64, sink: &mut S) {
    let offsets = list.value_offsets();
    let range = |row: usize| (offsets[row].as_usize(), offsets[row + 1].as_usize());
    hash_elements(
        list.len(),
        list.nulls(),
        list.values().as_ref(),
        range,
        seed,
        sink,
    );
}

fn hash_elements<S: Sink>(
    rows: usize,
    nulls: Option<&NullBuffer>,
    elements: &dyn Array,
    range: impl Fn(usize) -> (usize, usize),
    seed: u64,
    sink: &mut S,
) {
    if rows == 0 {
        return;
    }
    // A slice of a list shares all its elements: hash only those in reach.
    let (first, end) = (range(0).0, range(rows - 1).1);
    let hashes = hash_values(elements.slice(first, end - first).as_ref(), seed);
    sink.values(rows, nulls, |row| {
        let (from, to) = range(row);
        let length = of_bytes(&((to - from) as u64).to_le_bytes(), seed);
        hashes[from - first..to - first]
            .iter()
            .fold(length, |state, hash| combine(state, *hash))
    });
}

#[inline(always)]
fn of_bytes(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

#[cfg(test)]
mod tests;
