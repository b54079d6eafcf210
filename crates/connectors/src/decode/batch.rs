//! Arrow batches to a table's rows: columns by name, types by lossless casts, row by row checks.
//!
//! What Parquet and Arrow IPC have in common. A value that its column cannot hold makes its row bad,
//! not the batch; a column whose type can only be converted by losing something (a float to an
//! integer) makes the stream unusable.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use highwater_types::relation::SqlType;
use serde::Deserialize;

use super::{UnknownColumns, value};
use crate::changes::ParsedChanges;
use crate::encode::WEIGHT_COLUMN;
use crate::error::{DecodeError, RowError, RowErrors, shorten};
use crate::table::InputTable;

/// `format.config` of the binary formats.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BatchConfig {
    pub(super) unknown_columns: UnknownColumns,
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            unknown_columns: UnknownColumns::Error,
        }
    }
}

/// How batches of one schema become rows of the table.
pub(super) struct Mapping {
    table: Arc<InputTable>,
    /// Per column of the table the column of the batch; none is the default or NULL.
    sources: Vec<Option<usize>>,
    /// The column of the batch that holds weights.
    weight: Option<usize>,
}

impl Mapping {
    pub(super) fn new(
        table: &Arc<InputTable>,
        schema: &Schema,
        unknown_columns: UnknownColumns,
    ) -> Result<Self, DecodeError> {
        let mut sources = vec![None; table.columns()];
        let mut weight = None;
        for (index, field) in schema.fields().iter().enumerate() {
            if field.name() == WEIGHT_COLUMN && *field.data_type() == DataType::Int64 {
                weight = Some(index);
                continue;
            }
            match table.names().find(field.name()) {
                Some(column) => {
                    check_types(field.data_type(), table, column)?;
                    if sources[column].replace(index).is_some() {
                        let name = field.name();
                        return Err(DecodeError::Columns(format!("two columns are `{name}`")));
                    }
                }
                None if unknown_columns == UnknownColumns::Ignore => {}
                None => {
                    return Err(DecodeError::Columns(format!(
                        "table `{}` has no column `{}`; set \"unknown_columns\": \"ignore\" \
                         to pass over such columns",
                        table.relation().name,
                        field.name()
                    )));
                }
            }
        }
        let mapping = Self {
            table: Arc::clone(table),
            sources,
            weight,
        };
        mapping.check_missing()?;
        Ok(mapping)
    }

    fn check_missing(&self) -> Result<(), DecodeError> {
        for (column, source) in self.sources.iter().enumerate() {
            let may_be_missing = !self.is_required(column) || self.table.default(column).is_some();
            if source.is_none() && !may_be_missing {
                return Err(DecodeError::Columns(format!(
                    "column `{}` is missing, but NOT NULL",
                    self.table.column_name(column)
                )));
            }
        }
        Ok(())
    }

    fn is_required(&self, column: usize) -> bool {
        !self.table.column_type(column).nullable || self.table.is_key_column(column)
    }

    /// Converts a batch whose first row is record `first_record` of the stream.
    pub(super) fn changes(
        &self,
        batch: &RecordBatch,
        first_record: u64,
    ) -> Result<(ParsedChanges, RowErrors), DecodeError> {
        let mut columns = Vec::with_capacity(self.sources.len());
        let mut bad_rows = BadRows {
            reasons: Vec::new(),
            first_record,
        };
        let weights = match self.weight {
            Some(weight) => batch
                .column(weight)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec(),
            None => vec![1; batch.num_rows()],
        };
        for (column, source) in self.sources.iter().enumerate() {
            let array = match source {
                Some(source) => self.convert(batch.column(*source), column, &mut bad_rows)?,
                None => self.fill(column, batch.num_rows())?,
            };
            if self.is_required(column) {
                let by_key = self.table.has_key() && !self.table.is_key_column(column);
                let must_be_there = |row: usize| !(by_key && weights[row] < 0);
                bad_rows.add_nulls(&array, must_be_there, self.table.column_name(column));
            }
            columns.push(array);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(self.table.schema());
        let rows = RecordBatch::try_new_with_options(schema, columns, &options).map_err(failed)?;
        bad_rows.remove_from(ParsedChanges {
            rows,
            weights,
            partial: None,
        })
    }

    fn convert(
        &self,
        array: &ArrayRef,
        column: usize,
        bad_rows: &mut BadRows,
    ) -> Result<ArrayRef, DecodeError> {
        let wanted = self.table.schema().field(column).data_type();
        let name = self.table.column_name(column);
        let converted = if array.data_type() == wanted {
            Arc::clone(array)
        } else {
            let options = CastOptions {
                safe: true,
                ..CastOptions::default()
            };
            let converted = cast_with_options(array, wanted, &options).map_err(failed)?;
            bad_rows.add_unconvertible(array, &converted, name, wanted)?;
            converted
        };
        if self.table.column_type(column).sql_type == SqlType::Uuid {
            return Ok(bad_rows.canonical_uuids(&converted, name));
        }
        Ok(converted)
    }

    fn fill(&self, column: usize, rows: usize) -> Result<ArrayRef, DecodeError> {
        let data_type = self.table.schema().field(column).data_type();
        match self.table.default(column) {
            Some(default) => {
                let index = arrow::array::UInt32Array::from(vec![0; rows]);
                arrow::compute::take(default, &index, None).map_err(failed)
            }
            None => Ok(arrow::array::new_null_array(data_type, rows)),
        }
    }
}

/// Arrow's casts also cut floats to integers and read numbers as dates; those are refused.
fn check_types(given: &DataType, table: &InputTable, column: usize) -> Result<(), DecodeError> {
    let wanted = table.schema().field(column).data_type();
    if given == wanted || (keeps_values(given, wanted) && can_cast_types(given, wanted)) {
        return Ok(());
    }
    Err(DecodeError::Columns(format!(
        "column `{}` holds {given}, which does not convert to {wanted}",
        table.column_name(column)
    )))
}

fn keeps_values(given: &DataType, wanted: &DataType) -> bool {
    use DataType::{
        Date32, Date64, Dictionary, LargeList, LargeUtf8, List, Map, Null, RunEndEncoded, Struct,
        Time32, Time64, Timestamp, Utf8, Utf8View,
    };
    let is_decimal =
        |t: &DataType| matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..));
    match (given, wanted) {
        (Dictionary(_, values), _) => **values == *wanted || keeps_values(values, wanted),
        (RunEndEncoded(_, values), _) => keeps_values(values.data_type(), wanted),
        (Null | Utf8 | LargeUtf8 | Utf8View, _) => true,
        (given, wanted) if given.is_integer() => wanted.is_numeric(),
        (given, wanted) if given.is_floating() => wanted.is_floating() || is_decimal(wanted),
        (given, wanted) if is_decimal(given) => is_decimal(wanted) || wanted.is_floating(),
        (Date32 | Date64, Date32) | (Time32(_) | Time64(_), Time64(_)) => true,
        (Timestamp(..), Timestamp(..)) => true,
        (List(given) | LargeList(given), List(wanted)) => {
            given.data_type() == wanted.data_type()
                || keeps_values(given.data_type(), wanted.data_type())
        }
        (Map(given, _), Map(wanted, _)) => keeps_values(given.data_type(), wanted.data_type()),
        (Struct(given), Struct(wanted)) => {
            let same = |(g, w): (&Arc<_>, &Arc<_>)| {
                let (g, w): (&arrow::datatypes::Field, &arrow::datatypes::Field) = (g, w);
                g.data_type() == w.data_type() || keeps_values(g.data_type(), w.data_type())
            };
            given.len() == wanted.len() && given.iter().zip(wanted).all(same)
        }
        (given, wanted) => {
            let is_bytes = |t: &DataType| {
                use DataType::{Binary, BinaryView, FixedSizeBinary, LargeBinary};
                matches!(t, Binary | LargeBinary | BinaryView | FixedSizeBinary(_))
            };
            given == wanted || (is_bytes(given) && is_bytes(wanted))
        }
    }
}

/// Rows of a batch that are left out, in no order.
struct BadRows {
    reasons: Vec<(usize, RowError)>,
    first_record: u64,
}

impl BadRows {
    fn add(&mut self, row: usize, column: &str, value: Option<String>, reason: String) {
        let record = self.first_record + row as u64;
        let column = Some(column.to_owned());
        self.reasons.push((
            row,
            RowError {
                record,
                line: None,
                column,
                value,
                reason,
            },
        ));
    }

    fn add_nulls(&mut self, array: &ArrayRef, counts: impl Fn(usize) -> bool, column: &str) {
        let Some(nulls) = array.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
            return;
        };
        for row in (0..array.len()).filter(|&row| nulls.is_null(row) && counts(row)) {
            self.add(row, column, None, "NULL, but NOT NULL".to_owned());
        }
    }

    /// UUIDs as text are equal only if they are written alike.
    fn canonical_uuids(&mut self, texts: &ArrayRef, column: &str) -> ArrayRef {
        let mut canonical = |(row, text): (usize, Option<&str>)| match value::uuid(text?) {
            Ok(uuid) => Some(uuid.to_string()),
            Err(error) => {
                self.add(row, column, error.value, error.reason);
                None
            }
        };
        let texts = texts.as_string::<i32>().iter().enumerate();
        Arc::new(texts.map(&mut canonical).collect::<StringArray>())
    }

    /// Values that were there and are NULL now did not convert.
    fn add_unconvertible(
        &mut self,
        given: &ArrayRef,
        converted: &ArrayRef,
        column: &str,
        wanted: &DataType,
    ) -> Result<(), DecodeError> {
        let nulls_before = given.logical_null_count();
        if converted.logical_null_count() == nulls_before {
            return Ok(());
        }
        let (before, after) = (given.logical_nulls(), converted.logical_nulls());
        let is_null = |nulls: &Option<arrow::buffer::NullBuffer>, row| {
            nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
        };
        let formatter =
            ArrayFormatter::try_new(given, &FormatOptions::default()).map_err(failed)?;
        for row in 0..given.len() {
            if is_null(&after, row) && !is_null(&before, row) {
                let value = shorten(&formatter.value(row).to_string());
                self.add(row, column, Some(value), format!("does not fit {wanted}"));
            }
        }
        Ok(())
    }

    /// Keeps the good rows, and one reason for each bad one.
    fn remove_from(
        mut self,
        changes: ParsedChanges,
    ) -> Result<(ParsedChanges, RowErrors), DecodeError> {
        let mut errors = RowErrors::default();
        if self.reasons.is_empty() {
            return Ok((changes, errors));
        }
        self.reasons.sort_by_key(|(row, _)| *row);
        self.reasons.dedup_by_key(|(row, _)| *row);
        let mut good = vec![true; changes.len()];
        for (row, error) in self.reasons {
            good[row] = false;
            errors.push(error);
        }
        let keep = BooleanArray::new(BooleanBuffer::from(good.as_slice()), None);
        let rows = filter_record_batch(&changes.rows, &keep).map_err(failed)?;
        let kept = changes.weights.iter().zip(&good).filter(|(_, good)| **good);
        let weights = kept.map(|(weight, _)| *weight).collect();
        Ok((
            ParsedChanges {
                rows,
                weights,
                partial: None,
            },
            errors,
        ))
    }
}

fn failed(error: arrow::error::ArrowError) -> DecodeError {
    DecodeError::Corrupt {
        format: "Arrow",
        reason: error.to_string(),
    }
}

/// Arrow's and Parquet's readers may panic on damaged files: that is a damaged file, not a bug here.
pub(super) fn catch_panics<T>(
    format: &'static str,
    read: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(DecodeError::Corrupt {
            format,
            reason: "the reader gave up on damaged data".to_owned(),
        })
    })
}
