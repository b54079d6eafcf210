//! Copying rows of several tables into new columns.
//!
//! A row is named by `(source, row)`. [`gather_column`] copies once; a [`ColumnBuilder`] grows by
//! many gathers, which is how a merge writes its output: into buffers of known size, chunk by chunk,
//! and without sharing memory with its inputs.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, BooleanBufferBuilder, FixedSizeBinaryArray, GenericByteArray,
    NullBufferBuilder, PrimitiveArray, UInt32Array, downcast_primitive,
};
use arrow::array::{AsArray, BinaryViewArray, StringViewArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{concat, interleave, take};
use arrow::datatypes::{
    ArrowNativeType, BinaryType, ByteArrayType, DataType, LargeBinaryType, LargeUtf8Type, Utf8Type,
};

use crate::delta::columns_bytes;
use crate::error::{Error, Result};
use crate::kernels::column::{Bytes, Column, Values};

/// Names rows: row `i` is row `rows[i]` of source `sources[i]`.
#[derive(Clone, Copy)]
pub(crate) struct RowNames<'a> {
    pub(crate) sources: &'a [u32],
    pub(crate) rows: &'a [u32],
}

/// The named rows of a column that has one array per source.
pub(crate) fn gather_column(arrays: &[&dyn Array], names: RowNames<'_>) -> Result<ArrayRef> {
    let data_type = arrays[0].data_type();
    if let Some(source) = only_source(names.sources) {
        let rows = UInt32Array::new(names.rows.to_vec().into(), None);
        return Ok(take(arrays[source], &rows, None)?);
    }
    if !data_type.is_primitive() && *data_type != DataType::Boolean {
        let indices: Vec<_> = names
            .sources
            .iter()
            .zip(names.rows)
            .map(|(s, r)| (*s as usize, *r as usize))
            .collect();
        return Ok(interleave(arrays, &indices)?);
    }
    let mut builder = ColumnBuilder::new(data_type, names.rows.len(), 0);
    builder.append(arrays, names)?;
    builder.finish()
}

fn only_source(sources: &[u32]) -> Option<usize> {
    let first = *sources.first()?;
    sources
        .iter()
        .all(|source| *source == first)
        .then_some(first as usize)
}

/// A column under construction.
pub(crate) struct ColumnBuilder {
    data_type: DataType,
    values: ValuesBuilder,
    /// Made when the first null comes.
    nulls: Option<NullBufferBuilder>,
    rows: usize,
    capacity: usize,
}

enum ValuesBuilder {
    Width1(Vec<u8>),
    Width2(Vec<u16>),
    Width4(Vec<u32>),
    Width8(Vec<u64>),
    Width16(Vec<i128>),
    Boolean(BooleanBufferBuilder),
    Bytes(Vec<i32>, Vec<u8>),
    LargeBytes(Vec<i64>, Vec<u8>),
    FixedBytes(i32, Vec<u8>),
    /// Arrow's kernels, one array per append, and their bytes.
    Pieces(Vec<ArrayRef>, usize),
}

impl ColumnBuilder {
    /// `bytes` is the room for the data of strings and binaries.
    pub(crate) fn new(data_type: &DataType, rows: usize, bytes: usize) -> Self {
        let values = match data_type {
            DataType::Boolean => ValuesBuilder::Boolean(BooleanBufferBuilder::new(rows)),
            DataType::Utf8 | DataType::Binary => {
                ValuesBuilder::Bytes(offsets(rows), Vec::with_capacity(bytes))
            }
            DataType::LargeUtf8 | DataType::LargeBinary => {
                ValuesBuilder::LargeBytes(offsets(rows), Vec::with_capacity(bytes))
            }
            DataType::FixedSizeBinary(width) => ValuesBuilder::FixedBytes(
                *width,
                Vec::with_capacity(rows * usize::try_from(*width).unwrap_or(0)),
            ),
            // Other widths are read as `Values::Other`.
            DataType::Decimal256(_, _) | DataType::Interval(_) => {
                ValuesBuilder::Pieces(Vec::new(), 0)
            }
            _ => match data_type.primitive_width() {
                Some(1) => ValuesBuilder::Width1(Vec::with_capacity(rows)),
                Some(2) => ValuesBuilder::Width2(Vec::with_capacity(rows)),
                Some(4) => ValuesBuilder::Width4(Vec::with_capacity(rows)),
                Some(8) => ValuesBuilder::Width8(Vec::with_capacity(rows)),
                Some(16) => ValuesBuilder::Width16(Vec::with_capacity(rows)),
                _ => ValuesBuilder::Pieces(Vec::new(), 0),
            },
        };
        Self {
            data_type: data_type.clone(),
            values,
            nulls: None,
            rows: 0,
            capacity: rows,
        }
    }

    /// Appends the named rows; `arrays` has one array per source.
    pub(crate) fn append(&mut self, arrays: &[&dyn Array], names: RowNames<'_>) -> Result<()> {
        if names.rows.is_empty() {
            return Ok(());
        }
        if let ValuesBuilder::Pieces(pieces, bytes) = &mut self.values {
            let rows = names.sources.iter().zip(names.rows);
            let indices: Vec<_> = rows
                .map(|(source, row)| (*source as usize, *row as usize))
                .collect();
            let piece = unshared(interleave(arrays, &indices)?);
            *bytes += columns_bytes(std::slice::from_ref(&piece));
            pieces.push(piece);
            return Ok(());
        }
        let columns: Vec<Column<'_>> = arrays.iter().map(|array| Column::new(*array)).collect();
        match &mut self.values {
            ValuesBuilder::Width1(values) => {
                append_fixed(values, &columns, names, |values| match values {
                    Values::Width1(values) => Some(*values),
                    _ => None,
                })?
            }
            ValuesBuilder::Width2(values) => {
                append_fixed(values, &columns, names, |values| match values {
                    Values::Width2(values) => Some(*values),
                    _ => None,
                })?
            }
            ValuesBuilder::Width4(values) => {
                append_fixed(values, &columns, names, |values| match values {
                    Values::Width4(values) => Some(*values),
                    _ => None,
                })?
            }
            ValuesBuilder::Width8(values) => {
                append_fixed(values, &columns, names, |values| match values {
                    Values::Width8(values) => Some(*values),
                    _ => None,
                })?
            }
            ValuesBuilder::Width16(values) => {
                append_fixed(values, &columns, names, |values| match values {
                    Values::Width16(values) => Some(*values),
                    _ => None,
                })?
            }
            ValuesBuilder::Boolean(values) => append_booleans(values, &columns, names)?,
            ValuesBuilder::Bytes(offsets, data) => append_bytes(offsets, data, &columns, names)?,
            ValuesBuilder::LargeBytes(offsets, data) => {
                append_large_bytes(offsets, data, &columns, names)?
            }
            ValuesBuilder::FixedBytes(_, data) => append_fixed_bytes(data, &columns, names)?,
            ValuesBuilder::Pieces(..) => {}
        }
        self.append_nulls(&columns, names);
        self.rows += names.rows.len();
        Ok(())
    }

    fn append_nulls(&mut self, columns: &[Column<'_>], names: RowNames<'_>) {
        if columns.iter().all(|column| column.nulls.is_none()) {
            if let Some(nulls) = &mut self.nulls {
                nulls.append_n_non_nulls(names.rows.len());
            }
            return;
        }
        let nulls = self.nulls.get_or_insert_with(|| {
            let mut nulls = NullBufferBuilder::new(self.capacity);
            nulls.append_n_non_nulls(self.rows);
            nulls
        });
        for (source, row) in names.sources.iter().zip(names.rows) {
            nulls.append(!columns[*source as usize].is_null(*row as usize));
        }
    }

    /// Bytes of the values so far.
    pub(crate) fn bytes(&self) -> usize {
        match &self.values {
            ValuesBuilder::Width1(values) => values.len(),
            ValuesBuilder::Width2(values) => 2 * values.len(),
            ValuesBuilder::Width4(values) => 4 * values.len(),
            ValuesBuilder::Width8(values) => 8 * values.len(),
            ValuesBuilder::Width16(values) => 16 * values.len(),
            ValuesBuilder::Boolean(values) => values.len() / 8,
            ValuesBuilder::Bytes(offsets, data) => 4 * offsets.len() + data.len(),
            ValuesBuilder::LargeBytes(offsets, data) => 8 * offsets.len() + data.len(),
            ValuesBuilder::FixedBytes(_, data) => data.len(),
            ValuesBuilder::Pieces(_, bytes) => *bytes,
        }
    }

    pub(crate) fn finish(self) -> Result<ArrayRef> {
        let nulls = self.nulls.and_then(NullBufferBuilder::build);
        Ok(match self.values {
            ValuesBuilder::Width1(values) => {
                fixed_array(&self.data_type, buffer(values), self.rows, nulls)?
            }
            ValuesBuilder::Width2(values) => {
                fixed_array(&self.data_type, buffer(values), self.rows, nulls)?
            }
            ValuesBuilder::Width4(values) => {
                fixed_array(&self.data_type, buffer(values), self.rows, nulls)?
            }
            ValuesBuilder::Width8(values) => {
                fixed_array(&self.data_type, buffer(values), self.rows, nulls)?
            }
            ValuesBuilder::Width16(values) => {
                fixed_array(&self.data_type, buffer(values), self.rows, nulls)?
            }
            ValuesBuilder::Boolean(values) => Arc::new(BooleanArray::new(values.build(), nulls)),
            ValuesBuilder::Bytes(offsets, data) => match &self.data_type {
                DataType::Utf8 => bytes_array::<Utf8Type>(offsets, data, nulls)?,
                _ => bytes_array::<BinaryType>(offsets, data, nulls)?,
            },
            ValuesBuilder::LargeBytes(offsets, data) => match &self.data_type {
                DataType::LargeUtf8 => bytes_array::<LargeUtf8Type>(offsets, data, nulls)?,
                _ => bytes_array::<LargeBinaryType>(offsets, data, nulls)?,
            },
            ValuesBuilder::FixedBytes(width, data) => {
                Arc::new(FixedSizeBinaryArray::try_new(width, buffer(data), nulls)?)
            }
            ValuesBuilder::Pieces(pieces, _) => {
                let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
                match pieces.is_empty() {
                    true => arrow::array::new_empty_array(&self.data_type),
                    false => concat(&pieces)?,
                }
            }
        })
    }
}

fn offsets<O: ArrowNativeType>(rows: usize) -> Vec<O> {
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(O::default());
    offsets
}

fn buffer<T: ArrowNativeType>(values: Vec<T>) -> Buffer {
    Buffer::from_vec(trimmed(values))
}

/// Gives back what was reserved for rows that cancelled, if it is much.
pub(crate) fn trimmed<T>(mut values: Vec<T>) -> Vec<T> {
    if values.capacity() - values.len() > values.len() / 8 {
        values.shrink_to_fit();
    }
    values
}

fn fixed_array(
    data_type: &DataType,
    values: Buffer,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    macro_rules! primitive {
        ($type:ty, $data_type:expr) => {{
            let array =
                PrimitiveArray::<$type>::try_new(ScalarBuffer::new(values, 0, rows), nulls)?;
            Ok(Arc::new(array.with_data_type($data_type.clone())))
        }};
    }
    downcast_primitive! {
        data_type => (primitive, data_type),
        _ => Err(type_mismatch())
    }
}

fn bytes_array<T: ByteArrayType>(
    offsets: Vec<T::Offset>,
    data: Vec<u8>,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef> {
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    Ok(Arc::new(GenericByteArray::<T>::try_new(
        offsets,
        buffer(data),
        nulls,
    )?))
}

/// View arrays share the buffers that they were gathered from; copy what is used. (Views inside lists
/// and structs still share.)
pub(crate) fn unshared(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(StringViewArray::gc(array.as_string_view())),
        DataType::BinaryView => Arc::new(BinaryViewArray::gc(array.as_binary_view())),
        _ => array,
    }
}

fn type_mismatch() -> Error {
    Error::Invalid("batches of one layout differ in a column's type".to_owned())
}

fn append_fixed<'a, T: Copy + 'a>(
    output: &mut Vec<T>,
    columns: &[Column<'a>],
    names: RowNames<'_>,
    typed: impl Fn(&Values<'a>) -> Option<&'a [T]>,
) -> Result<()> {
    let slices: Vec<&[T]> = columns
        .iter()
        .map(|c| typed(&c.values).ok_or_else(type_mismatch))
        .collect::<Result<_>>()?;
    let names = names.sources.iter().zip(names.rows);
    output.extend(names.map(|(source, row)| slices[*source as usize][*row as usize]));
    Ok(())
}

fn append_booleans(
    output: &mut BooleanBufferBuilder,
    columns: &[Column<'_>],
    names: RowNames<'_>,
) -> Result<()> {
    for (source, row) in names.sources.iter().zip(names.rows) {
        let Values::Boolean(values) = &columns[*source as usize].values else {
            return Err(type_mismatch());
        };
        output.append(values.value(*row as usize));
    }
    Ok(())
}

fn append_bytes(
    offsets: &mut Vec<i32>,
    data: &mut Vec<u8>,
    columns: &[Column<'_>],
    names: RowNames<'_>,
) -> Result<()> {
    let slices: Vec<&Bytes<'_, i32>> = columns
        .iter()
        .map(|column| match &column.values {
            Values::Bytes(bytes) => Ok(bytes),
            _ => Err(type_mismatch()),
        })
        .collect::<Result<_>>()?;
    for (source, row) in names.sources.iter().zip(names.rows) {
        data.extend_from_slice(slices[*source as usize].value(*row as usize));
        offsets.push(data.len() as i32);
    }
    // Checked once per chunk: offsets only wrap if the end does not fit.
    match i32::try_from(data.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Invalid(
            "a batch has more than 2 GiB of strings in one column".to_owned(),
        )),
    }
}

fn append_large_bytes(
    offsets: &mut Vec<i64>,
    data: &mut Vec<u8>,
    columns: &[Column<'_>],
    names: RowNames<'_>,
) -> Result<()> {
    let slices: Vec<&Bytes<'_, i64>> = columns
        .iter()
        .map(|column| match &column.values {
            Values::LargeBytes(bytes) => Ok(bytes),
            _ => Err(type_mismatch()),
        })
        .collect::<Result<_>>()?;
    for (source, row) in names.sources.iter().zip(names.rows) {
        data.extend_from_slice(slices[*source as usize].value(*row as usize));
        offsets.push(data.len() as i64);
    }
    Ok(())
}

fn append_fixed_bytes(
    data: &mut Vec<u8>,
    columns: &[Column<'_>],
    names: RowNames<'_>,
) -> Result<()> {
    for (source, row) in names.sources.iter().zip(names.rows) {
        let Values::FixedBytes(values) = &columns[*source as usize].values else {
            return Err(type_mismatch());
        };
        data.extend_from_slice(values.value(*row as usize));
    }
    Ok(())
}
