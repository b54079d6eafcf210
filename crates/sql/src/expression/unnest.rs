//! `UNNEST`: one row per list element, one column per field of a ROW.
//!
//! Several lists of a row are walked side by side, the shorter ones padded with NULL.

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StructArray,
    UInt32Array, UInt32Builder,
};
use arrow::compute::{nullif, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use highwater_circuit::expression::{EvaluationError, FlatMapFunction};

/// What becomes of each input column, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnnestColumn {
    /// Repeated for each row that its row gives.
    Keep,
    /// Replaced by its elements, one per row.
    List,
    /// Replaced by its fields, one column each.
    Struct,
}

/// The rows that a list without elements gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EmptyLists {
    /// A NULL list gives one row with a NULL.
    pub(crate) keep_null: bool,
    /// An empty list gives one row with a NULL.
    pub(crate) keep_empty: bool,
}

/// The function from rows with lists to rows with elements.
#[derive(Debug)]
pub(crate) struct Unnest {
    columns: Vec<UnnestColumn>,
    empty_lists: EmptyLists,
    schema: SchemaRef,
    fingerprint: String,
}

impl Unnest {
    /// `schema` is that of the output.
    pub(crate) fn new(
        columns: Vec<UnnestColumn>,
        empty_lists: EmptyLists,
        schema: SchemaRef,
    ) -> Self {
        Self {
            fingerprint: format!("unnest {columns:?} {empty_lists:?}"),
            columns,
            empty_lists,
            schema,
        }
    }

    fn expand(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), ArrowError> {
        let ranges = self.list_ranges(rows)?;
        let parents = self.parents(&ranges, rows.num_rows());
        let repeat = UInt32Array::from(parents.clone());
        let mut ranges = ranges.into_iter();
        let mut output = Vec::with_capacity(self.schema.fields().len());
        for (column, kind) in rows.columns().iter().zip(&self.columns) {
            match kind {
                UnnestColumn::Keep => output.push(take(column, &repeat, None)?),
                UnnestColumn::List => {
                    let list = ranges.next().ok_or_else(list_expected)?;
                    output.push(take(&list.elements, &list.elements_of(&parents), None)?);
                }
                UnnestColumn::Struct => {
                    let column = take(column, &repeat, None)?;
                    output.extend(fields(column.as_struct())?);
                }
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(parents.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), output, &options)?;
        Ok((rows, parents))
    }

    fn list_ranges(&self, rows: &RecordBatch) -> Result<Vec<ListRanges>, ArrowError> {
        rows.columns()
            .iter()
            .zip(&self.columns)
            .filter(|(_, kind)| **kind == UnnestColumn::List)
            .map(|(column, _)| ListRanges::new(column))
            .collect()
    }

    /// The input row of each output row.
    fn parents(&self, lists: &[ListRanges], rows: usize) -> Vec<u32> {
        let mut parents = Vec::new();
        for row in 0..rows {
            let length = |list: &ListRanges| match list.lengths[row] {
                None => u32::from(self.empty_lists.keep_null),
                Some(0) => u32::from(self.empty_lists.keep_empty),
                Some(length) => length,
            };
            let count = lists.iter().map(length).max().unwrap_or(1);
            parents.extend(std::iter::repeat_n(row as u32, count as usize));
        }
        parents
    }
}

fn list_expected() -> ArrowError {
    ArrowError::InvalidArgumentError("a list column was expected".to_owned())
}

/// The lists of a column: where the elements of each row begin, and how many they are.
struct ListRanges {
    elements: ArrayRef,
    starts: Vec<u32>,
    /// `None` for a NULL list.
    lengths: Vec<Option<u32>>,
}

impl ListRanges {
    fn new(column: &ArrayRef) -> Result<Self, ArrowError> {
        let (elements, bounds): (ArrayRef, Vec<(u32, u32)>) = match column.data_type() {
            DataType::List(_) => {
                let list = column.as_list::<i32>();
                let bounds = list.value_offsets().windows(2);
                let bounds = bounds.map(|bound| (bound[0] as u32, (bound[1] - bound[0]) as u32));
                (list.values().clone(), bounds.collect())
            }
            DataType::LargeList(_) => {
                let list = column.as_list::<i64>();
                let bounds = list.value_offsets().windows(2);
                let bounds = bounds.map(|bound| (bound[0] as u32, (bound[1] - bound[0]) as u32));
                (list.values().clone(), bounds.collect())
            }
            DataType::FixedSizeList(_, size) => {
                let list = column.as_fixed_size_list();
                let size = *size as u32;
                let bounds = (0..list.len() as u32).map(|row| (row * size, size));
                (list.values().clone(), bounds.collect())
            }
            _ => return Err(list_expected()),
        };
        let is_null = |row: usize| column.is_null(row);
        Ok(Self {
            elements,
            starts: bounds.iter().map(|&(start, _)| start).collect(),
            lengths: bounds
                .iter()
                .enumerate()
                .map(|(row, &(_, length))| (!is_null(row)).then_some(length))
                .collect(),
        })
    }

    /// Per output row, the position of its element; NULL behind the list's end.
    fn elements_of(&self, parents: &[u32]) -> UInt32Array {
        let mut indices = UInt32Builder::with_capacity(parents.len());
        let (mut previous, mut ordinal) = (None, 0);
        for &parent in parents {
            ordinal = if previous == Some(parent) {
                ordinal + 1
            } else {
                0
            };
            previous = Some(parent);
            let row = parent as usize;
            let has_element = self.lengths[row].is_some_and(|length| ordinal < length);
            indices.append_option(has_element.then(|| self.starts[row] + ordinal));
        }
        indices.finish()
    }
}

/// A NULL ROW has NULL fields.
fn fields(column: &StructArray) -> Result<Vec<ArrayRef>, ArrowError> {
    let Some(nulls) = column.nulls() else {
        return Ok(column.columns().to_vec());
    };
    let is_null = BooleanArray::new(!nulls.inner(), None);
    column
        .columns()
        .iter()
        .map(|field| nullif(field, &is_null))
        .collect()
}

impl FlatMapFunction for Unnest {
    fn evaluate(&self, rows: &RecordBatch) -> Result<(RecordBatch, Vec<u32>), EvaluationError> {
        self.expand(rows).map_err(|error| EvaluationError {
            message: super::plain_arrow_message(&error),
        })
    }

    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}
