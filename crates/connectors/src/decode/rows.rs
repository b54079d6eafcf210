//! The rows of a piece: columns that grow together, row by row, with their weights.
//!
//! Invariants
//! - I1: between rows every column has exactly as many values as there are weights.
//! - I2: a row that cannot be completed leaves no trace ([`RowBuilder::abandon`]).

use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::array::RecordBatch;

use super::column::Column;
use super::flavor;
use crate::changes::{ParsedChanges, PartialUpdates};
use crate::encode::json::value_text;
use crate::error::{ConfigError, ValueError};
use crate::table::InputTable;

/// What a row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Insert, or delete if negative.
    Weight(i64),
    /// Change the columns that are there, in the row with this key.
    Update,
}

/// Rows under construction.
pub(crate) struct RowBuilder {
    table: Arc<InputTable>,
    columns: Vec<Column>,
    /// The `DEFAULT`s as JSON.
    defaults: Vec<Option<String>>,
    weights: Vec<i64>,
    updates: Vec<Update>,
}

struct Update {
    row: usize,
    /// Per column: is it set?
    is_set: Vec<bool>,
}

/// A row that cannot be completed, by the column that is to blame.
pub(crate) type Incomplete = (usize, ValueError);

impl RowBuilder {
    pub(crate) fn new(table: &Arc<InputTable>) -> Result<Self, ConfigError> {
        let fields = table.schema().fields().iter().enumerate();
        let column = |(i, field): (usize, &Arc<arrow::datatypes::Field>)| {
            Column::new(table.column_type(i), field.data_type())
                .map_err(|error| error.within(format_args!("column `{}`", table.column_name(i))))
        };
        let columns = fields.map(column).collect::<Result<_, _>>()?;
        let default = |i| table.default(i).map(value_text).transpose();
        let defaults = (0..table.columns()).map(default).collect::<Result<_, _>>();
        Ok(Self {
            table: Arc::clone(table),
            columns,
            defaults: defaults.map_err(|error| ConfigError::new(error.to_string()))?,
            weights: Vec::new(),
            updates: Vec::new(),
        })
    }

    /// Complete rows.
    pub(crate) fn rows(&self) -> usize {
        self.weights.len()
    }

    pub(crate) fn table(&self) -> &InputTable {
        &self.table
    }

    /// The column, ready to take its value of the row under construction. If it has one already,
    /// the new one replaces it.
    pub(crate) fn column(&mut self, index: usize) -> &mut Column {
        let row = self.weights.len();
        let column = &mut self.columns[index];
        if column.len() > row {
            column.truncate(row);
        }
        column
    }

    /// Ends the row: fills in what is missing and checks what may not be NULL.
    pub(crate) fn complete(&mut self, change: Change) -> Result<(), Incomplete> {
        let weight = match change {
            Change::Weight(0) => {
                self.abandon();
                return Ok(());
            }
            Change::Weight(weight) if weight < 0 && self.table.has_key() => {
                self.fill_by_key()?;
                weight
            }
            Change::Weight(weight) => {
                self.fill_whole()?;
                weight
            }
            Change::Update => {
                let row = self.rows();
                let is_set = self
                    .columns
                    .iter()
                    .map(|column| column.len() > row)
                    .collect();
                self.fill_by_key()?;
                self.updates.push(Update { row, is_set });
                1
            }
        };
        self.weights.push(weight);
        Ok(())
    }

    /// Every column must have a value: given, the default, or NULL.
    fn fill_whole(&mut self) -> Result<(), Incomplete> {
        let row = self.weights.len();
        for (i, column) in self.columns.iter_mut().enumerate() {
            let is_missing = column.len() == row;
            if is_missing {
                match &self.defaults[i] {
                    Some(default) => column
                        .push_json(default, &flavor::DEFAULT)
                        .map_err(|error| (i, error))?,
                    None => column.push_null(),
                }
            }
            let required = !column.is_nullable() || self.table.is_key_column(i);
            if required && column.ends_with_null() {
                return Err((i, null_error(is_missing)));
            }
        }
        Ok(())
    }

    /// Only the key must be there.
    fn fill_by_key(&mut self) -> Result<(), Incomplete> {
        let row = self.weights.len();
        for (i, column) in self.columns.iter_mut().enumerate() {
            let is_missing = column.len() == row;
            if is_missing {
                column.push_null();
            }
            let is_key = self.table.is_key_column(i);
            let given_null = !is_missing && !column.is_nullable();
            if (is_key || given_null) && column.ends_with_null() {
                return Err((i, null_error(is_missing)));
            }
        }
        Ok(())
    }

    /// Forgets the row under construction.
    pub(crate) fn abandon(&mut self) {
        self.truncate(self.rows());
    }

    /// Keeps the first `rows` rows.
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.columns
            .iter_mut()
            .for_each(|column| column.truncate(rows));
        self.weights.truncate(rows);
        while self.updates.last().is_some_and(|update| update.row >= rows) {
            self.updates.pop();
        }
    }

    /// The complete rows; the builder is empty afterwards.
    pub(crate) fn take(&mut self) -> ParsedChanges {
        self.abandon();
        let schema = Arc::clone(self.table.schema());
        let weights = std::mem::take(&mut self.weights);
        let columns = self
            .columns
            .iter_mut()
            .map(Column::take)
            .collect::<Result<Vec<_>, _>>();
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(weights.len()));
        let rows = columns
            .and_then(|columns| RecordBatch::try_new_with_options(schema, columns, &options))
            .expect("columns were made from the schema, and pushes check every value");
        let updates = std::mem::take(&mut self.updates);
        let partial = (!updates.is_empty()).then(|| self.partial(&updates, weights.len()));
        ParsedChanges {
            rows,
            weights,
            partial,
        }
    }

    fn partial(&self, updates: &[Update], rows: usize) -> PartialUpdates {
        let marks = |is_marked: &dyn Fn(&Update) -> bool| {
            let mut bits = BooleanBufferBuilder::new(rows);
            bits.append_n(rows, false);
            for update in updates.iter().filter(|update| is_marked(update)) {
                bits.set_bit(update.row, true);
            }
            bits.finish()
        };
        let is_set = (0..self.columns.len()).map(|column| marks(&|update| update.is_set[column]));
        PartialUpdates {
            is_update: marks(&|_| true),
            is_set: is_set.collect(),
        }
    }
}

fn null_error(is_missing: bool) -> ValueError {
    ValueError::new(if is_missing {
        "missing, but NOT NULL"
    } else {
        "NULL, but NOT NULL"
    })
}
