//! Inner join of two arrangements: `ΔA ⋈ B_before + A_after ⋈ ΔB`.
//!
//! Each side's delta probes the other side's snapshot, so a step costs what changed and what it
//! matches, not what is stored. The delta is in hash order, which is the order in which a probe is
//! fastest. Keys are compared as the arrangement compares them: NULL equals NULL (plan rule P4),
//! and no key columns is a cross join.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{filter, take};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_zset::{Batch, Delta, Matches, Snapshot};
use std::sync::Arc;

use super::map::is_true;
use super::{BuildContext, Flow, Operator, OperatorError, StepContext, evaluate, record_batch};
use crate::expression::Expr;

/// Changes that probe at once: bounds the size of one output delta where keys match few rows.
const PROBE_ROWS_MAX: usize = 1 << 17;

/// Joins on the keys of its inputs' layouts.
pub(crate) struct Join {
    residual: Option<Expr>,
    /// What the residual reads.
    residual_columns: Vec<usize>,
    output: Vec<usize>,
    /// Of the residual: all left columns, then all right ones. Those that it does not read are NULL.
    pairs_schema: SchemaRef,
    schema: SchemaRef,
    left_columns: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
}

impl Join {
    pub(crate) fn new(
        residual: Option<Expr>,
        output: Vec<usize>,
        context: &BuildContext<'_>,
    ) -> Self {
        let inputs = context.inputs.iter();
        let fields: Vec<_> = inputs
            .flat_map(|node| node.schema.fields())
            .map(|field| Arc::new(field.as_ref().clone().with_nullable(true)))
            .collect();
        let all = || (0..fields.len()).collect();
        let read = residual
            .as_ref()
            .map(|residual| residual.input_columns().unwrap_or_else(all));
        Self {
            residual_columns: read.unwrap_or_default(),
            residual,
            output,
            pairs_schema: Arc::new(Schema::new(fields)),
            schema: context.node.schema.clone(),
            left_columns: context.inputs[0].schema.fields().len(),
        }
    }

    /// Joins the changes of one side with the other side's contents.
    fn probe(
        &self,
        side: Side,
        changes: &Batch,
        contents: &Snapshot,
        output: &mut Vec<Delta>,
    ) -> Result<(), OperatorError> {
        if contents.is_empty() {
            return Ok(());
        }
        let hashes = changes.key_hashes();
        let keys = key_columns(changes);
        for start in (0..changes.len()).step_by(PROBE_ROWS_MAX) {
            let length = PROBE_ROWS_MAX.min(changes.len() - start);
            let matches = if length == changes.len() {
                contents.probe(hashes, &keys)?
            } else {
                let keys: Vec<_> = keys.iter().map(|key| key.slice(start, length)).collect();
                contents.probe(&hashes[start..start + length], &keys)?
            };
            if matches.probes.is_empty() {
                continue;
            }
            let mut matches = matches;
            let mut rows = std::mem::take(&mut matches.probes);
            if start > 0 {
                let start = u32::try_from(start).expect("a batch has fewer than 2^32 rows");
                rows.iter_mut().for_each(|row| *row += start);
            }
            let rows = UInt32Array::from(rows);
            let delta = self.pairs(Pairs {
                side,
                changes,
                contents,
                rows,
                matches,
            })?;
            if !delta.is_empty() {
                output.push(delta);
            }
        }
        Ok(())
    }

    /// The joined rows of these matches.
    fn pairs(&self, pairs: Pairs<'_>) -> Result<Delta, OperatorError> {
        let Some(residual) = &self.residual else {
            let columns = self.gather(&pairs, &self.output)?;
            return self.delta(&pairs, columns);
        };
        // What the condition reads is gathered for all pairs, the rest only for those that pass.
        let read = self.gather(&pairs, &self.residual_columns)?;
        let mut columns = vec![None; self.pairs_schema.fields().len()];
        for (&column, array) in self.residual_columns.iter().zip(read) {
            columns[column] = Some(array);
        }
        let fields = self.pairs_schema.fields().iter();
        let filled = columns
            .iter()
            .zip(fields)
            .map(|(column, field)| match column {
                Some(column) => column.clone(),
                None => new_null_array(field.data_type(), pairs.len()),
            });
        let rows = record_batch(&self.pairs_schema, filled.collect(), pairs.len())?;
        let keep = evaluate(residual.fingerprint(), &rows, |rows| {
            is_true(residual, rows)
        })?;
        if keep.true_count() == 0 {
            return Ok(Delta::empty(self.schema.clone()));
        }
        let pairs = pairs.filter(&keep);
        let missing: Vec<usize> = self
            .output
            .iter()
            .copied()
            .filter(|&column| columns[column].is_none())
            .collect();
        let mut gathered = self.gather(&pairs, &missing)?.into_iter();
        let mut output = Vec::with_capacity(self.output.len());
        for &column in &self.output {
            output.push(match &columns[column] {
                Some(column) => filter(column, &keep)?,
                None => gathered.next().expect("one array per missing column"),
            });
        }
        self.delta(&pairs, output)
    }

    fn delta(&self, pairs: &Pairs<'_>, columns: Vec<ArrayRef>) -> Result<Delta, OperatorError> {
        let weights = multiply(&pairs.matches.weights, &pairs.rows, pairs.changes.weights())?;
        Ok(Delta::new(
            record_batch(&self.schema, columns, pairs.len())?,
            weights,
        ))
    }

    /// Columns of the pairs by position among left, then right columns.
    fn gather(&self, pairs: &Pairs<'_>, wanted: &[usize]) -> Result<Vec<ArrayRef>, OperatorError> {
        let local = |column: usize| match column.checked_sub(self.left_columns) {
            None => (Side::Left, column),
            Some(column) => (Side::Right, column),
        };
        let stored: Vec<usize> = wanted
            .iter()
            .map(|&column| local(column))
            .filter(|&(of, _)| of != pairs.side)
            .map(|(_, column)| column)
            .collect();
        let mut stored = pairs.contents.gather(&pairs.matches, &stored)?.into_iter();
        let mut columns = Vec::with_capacity(wanted.len());
        for &column in wanted {
            let (of, column) = local(column);
            columns.push(if of == pairs.side {
                take(pairs.changes.rows().column(column), &pairs.rows, None)?
            } else {
                stored.next().expect("one array per stored column")
            });
        }
        Ok(columns)
    }
}

/// Changed rows of one side with the stored rows of the other side that they match.
struct Pairs<'a> {
    /// Of the changes.
    side: Side,
    changes: &'a Batch,
    contents: &'a Snapshot,
    /// Per pair, the row of `changes`.
    rows: UInt32Array,
    /// Per pair, the row of `contents`; the probes are not used.
    matches: Matches,
}

impl Pairs<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    /// The pairs for which `keep` is true.
    fn filter(self, keep: &BooleanArray) -> Self {
        if keep.true_count() == keep.len() {
            return self;
        }
        let kept: Vec<usize> = keep.values().set_indices().collect();
        let matches = self.matches.pick(&kept);
        let rows = kept
            .iter()
            .map(|&pair| self.rows.value(pair))
            .collect::<Vec<u32>>()
            .into();
        Self {
            rows,
            matches,
            ..self
        }
    }
}

impl Operator for Join {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let (left, right) = (inputs[0].arranged(), inputs[1].arranged());
        let mut output = Vec::new();
        self.probe(Side::Left, &left.delta, &right.before, &mut output)?;
        self.probe(Side::Right, &right.delta, &left.after, &mut output)?;
        Ok(Flow::Delta(output))
    }
}

/// The key columns of a batch, in the layout's order.
pub(crate) fn key_columns(batch: &Batch) -> Vec<ArrayRef> {
    let key = &batch.layout().key;
    key.iter()
        .map(|&column| batch.rows().column(column).clone())
        .collect()
}

/// `stored[i] * changed[rows[i]]`.
fn multiply(
    stored: &[i64],
    rows: &UInt32Array,
    changed: &[i64],
) -> Result<ScalarBuffer<i64>, OperatorError> {
    let mut overflow = false;
    let products = stored
        .iter()
        .zip(rows.values())
        .map(|(&weight, &row)| {
            let (product, overflows) = weight.overflowing_mul(changed[row as usize]);
            overflow |= overflows;
            product
        })
        .collect::<Vec<_>>();
    if overflow {
        return Err(highwater_zset::Error::WeightOverflow.into());
    }
    Ok(products.into())
}
