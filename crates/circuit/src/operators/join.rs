//! Inner join of two arrangements: `ΔA ⋈ B_before + A_after ⋈ ΔB`.
//!
//! Each side's delta probes the other side's snapshot, so a step costs what changed and what it
//! matches, not what is stored. The delta is in hash order, which is the order in which a probe is
//! fastest. Keys are compared as the arrangement compares them: NULL equals NULL (plan rule P4),
//! and no key columns is a cross join.

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::take;
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
    output: Vec<usize>,
    /// Of the residual: all left columns, then all right ones.
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
            .flat_map(|node| node.schema.fields().iter().cloned())
            .collect();
        Self {
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
        if contents.batches().is_empty() {
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
            if !matches.probes.is_empty() {
                let delta = self.pairs(side, changes, start, contents, &matches)?;
                if !delta.is_empty() {
                    output.push(delta);
                }
            }
        }
        Ok(())
    }

    /// The joined rows of these matches; probes count from row `start` of `changes`.
    fn pairs(
        &self,
        side: Side,
        changes: &Batch,
        start: usize,
        contents: &Snapshot,
        matches: &Matches,
    ) -> Result<Delta, OperatorError> {
        let offset = u32::try_from(start).expect("a batch has fewer than 2^32 rows");
        let probes: Vec<u32> = matches.probes.iter().map(|probe| probe + offset).collect();
        let change_weights = changes.weights();
        let weights = multiply(&matches.weights, &probes, change_weights)?;
        let probes = UInt32Array::from(probes);
        let all: Vec<usize> = (0..self.pairs_schema.fields().len()).collect();
        let wanted = if self.residual.is_some() {
            &all
        } else {
            &self.output
        };
        let columns = self.gather(side, changes, &probes, contents, matches, wanted)?;
        let Some(residual) = &self.residual else {
            let rows = record_batch(&self.schema, columns, probes.len())?;
            return Ok(Delta::new(rows, weights));
        };
        let pairs = record_batch(&self.pairs_schema, columns, probes.len())?;
        let keep = evaluate(residual.fingerprint(), &pairs, |rows| {
            is_true(residual, rows)
        })?;
        let columns = self
            .output
            .iter()
            .map(|&column| pairs.column(column).clone())
            .collect();
        let rows = record_batch(&self.schema, columns, pairs.num_rows())?;
        let joined = Delta::new(rows, weights);
        Ok(if keep.true_count() == keep.len() {
            joined
        } else {
            joined.filter(&keep)?
        })
    }

    /// Columns of the pairs by position among left, then right columns.
    fn gather(
        &self,
        side: Side,
        changes: &Batch,
        probes: &UInt32Array,
        contents: &Snapshot,
        matches: &Matches,
        wanted: &[usize],
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let local = |column: usize| match column.checked_sub(self.left_columns) {
            None => (Side::Left, column),
            Some(column) => (Side::Right, column),
        };
        let stored: Vec<usize> = wanted
            .iter()
            .map(|&column| local(column))
            .filter(|&(of, _)| of != side)
            .map(|(_, column)| column)
            .collect();
        let mut stored = contents.gather(matches, &stored)?.into_iter();
        let mut columns = Vec::with_capacity(wanted.len());
        for &column in wanted {
            let (of, column) = local(column);
            columns.push(if of == side {
                take(changes.rows().column(column), probes, None)?
            } else {
                stored.next().expect("one array per stored column")
            });
        }
        Ok(columns)
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

/// `stored[i] * changed[probes[i]]`.
fn multiply(
    stored: &[i64],
    probes: &[u32],
    changed: &[i64],
) -> Result<ScalarBuffer<i64>, OperatorError> {
    let mut overflow = false;
    let products = stored
        .iter()
        .zip(probes)
        .map(|(&weight, &probe)| {
            let (product, overflows) = weight.overflowing_mul(changed[probe as usize]);
            overflow |= overflows;
            product
        })
        .collect::<Vec<_>>();
    if overflow {
        return Err(highwater_zset::Error::WeightOverflow.into());
    }
    Ok(products.into())
}
