//! Filter and projection in one pass: `SELECT expressions WHERE condition`.
//!
//! A linear operator: it maps deltas to deltas and keeps nothing. When all columns are copies it
//! projects before it filters, so that dropped columns are never copied.

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use highwater_zset::Delta;

use super::{Flow, Operator, OperatorError, StepContext, evaluate, record_batch};
use crate::expression::{EvaluationError, Expr};

/// Keeps the rows for which the filter is true, and computes the columns of them.
pub(crate) struct Map {
    filter: Option<Expr>,
    columns: Vec<Expr>,
    /// The input positions, if every column is a copy.
    copied: Option<Vec<usize>>,
    schema: SchemaRef,
}

impl Map {
    pub(crate) fn new(filter: Option<Expr>, columns: Vec<Expr>, schema: SchemaRef) -> Self {
        let copied = columns.iter().map(|column| column.as_column()).collect();
        Self {
            filter,
            columns,
            copied,
            schema,
        }
    }

    fn apply(&self, delta: &Delta) -> Result<Delta, OperatorError> {
        let keep = self.keep(delta.rows())?;
        if let Some(copied) = &self.copied {
            let columns = copied
                .iter()
                .map(|&column| delta.rows().column(column).clone());
            let rows = record_batch(&self.schema, columns.collect(), delta.len())?;
            let projected = Delta::new(rows, delta.weights().clone());
            return Ok(match keep {
                Some(keep) => projected.filter(&keep)?,
                None => projected,
            });
        }
        let filtered;
        let input = match keep {
            Some(keep) => {
                filtered = delta.filter(&keep)?;
                &filtered
            }
            None => delta,
        };
        if input.is_empty() {
            return Ok(Delta::empty(self.schema.clone()));
        }
        let rows = self.compute(input.rows())?;
        Ok(Delta::new(rows, input.weights().clone()))
    }

    /// Which rows pass; `None` if all do.
    fn keep(&self, rows: &RecordBatch) -> Result<Option<BooleanArray>, OperatorError> {
        let Some(filter) = &self.filter else {
            return Ok(None);
        };
        let keep = evaluate(filter.fingerprint(), rows, |rows| is_true(filter, rows))?;
        Ok((keep.true_count() < keep.len()).then_some(keep))
    }

    fn compute(&self, rows: &RecordBatch) -> Result<RecordBatch, OperatorError> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push(match column.as_column() {
                Some(index) => rows.column(index).clone(),
                None => evaluate(column.fingerprint(), rows, |rows| column.evaluate(rows))?,
            });
        }
        record_batch(&self.schema, columns, rows.num_rows())
    }
}

impl Operator for Map {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let mut deltas = Vec::new();
        for delta in inputs[0].deltas() {
            let mapped = self.apply(&delta)?;
            if !mapped.is_empty() {
                deltas.push(mapped);
            }
        }
        Ok(Flow::Delta(deltas))
    }
}

/// Where a condition is true; where it is NULL it is not.
pub(crate) fn is_true(filter: &Expr, rows: &RecordBatch) -> Result<BooleanArray, EvaluationError> {
    let result = filter.evaluate(rows)?;
    let Some(values) = result.as_any().downcast_ref::<BooleanArray>() else {
        let message = format!("a condition must be boolean, not {}", result.data_type());
        return Err(EvaluationError { message });
    };
    Ok(match values.nulls() {
        Some(nulls) if nulls.null_count() > 0 => {
            BooleanArray::new(values.values() & nulls.inner(), None)
        }
        _ => BooleanArray::new(values.values().clone(), None),
    })
}
