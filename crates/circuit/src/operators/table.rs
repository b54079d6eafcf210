//! Where data enters: a table's ordered changes become deltas.
//!
//! A table without primary key is a bag: its changes are deltas as they come. With a primary key
//! it keeps its rows in a spine keyed by the primary key, and every change is an upsert: the rows
//! of the touched keys are retracted and the new ones inserted. Rows that do not change cancel
//! out when the step's batch is consolidated.
//!
//! Invariants
//! - I1: a key has at most one row in the spine, with weight 1 (checked in [`live`]).
//! - I2: of several changes of a key in one step the last wins; partial updates compose
//!   ([`resolve()`]).
//!
//! Loading is the case to be fast at: when a step only inserts and no key repeats, the step's
//! batch is made at once and its sorted hashes are the probe; the rest runs only for keys that
//! exist already.

mod live;
mod resolve;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{concat_batches, interleave, take_record_batch};
use arrow::datatypes::SchemaRef;
use highwater_zset::{Batch, Delta, Layout, MergeService, Merger, RowHasher, Spine};

use super::join::key_columns;
use super::{Arranged, Flow, OperatorError, record_batch};
use crate::plan::TableDefinition;
use crate::table_input::{PartialUpdates, TableInput};
use live::{LiveRows, live_rows};
use resolve::{Base, Outcome, key_runs, resolve};

/// Fewer changes are not worth a look for whether they only insert.
const INSERTIONS_MIN: usize = 128;

/// The source of one table, for the keys of one worker.
pub(crate) struct Table {
    schema: SchemaRef,
    /// Only with a primary key.
    contents: Option<Contents>,
}

struct Contents {
    spine: Spine,
    empty: Arc<Batch>,
}

impl Table {
    pub(crate) fn new(table: &TableDefinition, hasher: RowHasher, merges: &MergeService) -> Self {
        let schema = table.schema.clone();
        let contents = (!table.primary_key.is_empty()).then(|| {
            let key = table.primary_key.clone();
            let layout = Arc::new(Layout::hashed(schema.clone(), key, hasher));
            let empty = Arc::new(Batch::empty(layout.clone()));
            Contents {
                spine: Spine::new(layout, merges.clone()),
                empty,
            }
        });
        Self { schema, contents }
    }

    /// Applies one step's changes, in arrival order.
    pub(crate) fn step(&mut self, inputs: &[TableInput]) -> Result<Flow, OperatorError> {
        let Some(contents) = &mut self.contents else {
            return bag(&self.schema, inputs);
        };
        let Some(input) = concat(&self.schema, inputs)? else {
            return Ok(self.at_rest());
        };
        let batch = match contents.insertions(&input)? {
            Some(batch) => contents.upsert(batch)?,
            None => contents.apply(&input)?,
        };
        Ok(Flow::Arranged(Arranged::insert(
            &mut contents.spine,
            batch,
        )?))
    }

    pub(crate) fn at_rest(&self) -> Flow {
        match &self.contents {
            None => Flow::UNCHANGED,
            Some(contents) => Flow::Arranged(Arranged::at_rest(&contents.spine, &contents.empty)),
        }
    }

    pub(crate) fn spines(&self) -> Vec<&Spine> {
        self.contents
            .iter()
            .map(|contents| &contents.spine)
            .collect()
    }

    pub(crate) fn spines_mut(&mut self) -> Vec<&mut Spine> {
        self.contents
            .iter_mut()
            .map(|contents| &mut contents.spine)
            .collect()
    }
}

impl Contents {
    /// The batch of these changes, if they all insert and no key repeats.
    fn insertions(&self, input: &TableInput) -> Result<Option<Batch>, OperatorError> {
        let is_small = input.len() < INSERTIONS_MIN;
        if is_small || input.partial.is_some() || input.weights.iter().any(|&w| w <= 0) {
            return Ok(None);
        }
        let weights = vec![1; input.len()].into();
        let delta = Delta::new(input.rows.clone(), weights);
        let batch = Batch::from_delta(self.spine.layout(), &delta)?;
        let is_distinct = batch.key_hashes().is_sorted_by(|left, right| left < right)
            && batch.weights().iter().all(|&weight| weight == 1);
        Ok(is_distinct.then_some(batch))
    }

    /// Adds the retractions of the rows that these distinct new rows replace.
    fn upsert(&self, batch: Batch) -> Result<Batch, OperatorError> {
        let snapshot = self.spine.snapshot();
        let live = live_rows(&snapshot, batch.key_hashes(), &key_columns(&batch))?;
        if live.rows.num_rows() == 0 {
            return Ok(batch);
        }
        let weights = vec![-1; live.rows.num_rows()].into();
        let layout = self.spine.layout();
        let replaced = Batch::from_delta(layout, &Delta::new(live.rows, weights))?;
        let inputs = vec![replaced.into(), batch.into()];
        Ok(Merger::new(layout.clone(), inputs).run()?)
    }

    /// Any mix of insertions, deletions and partial updates, in order.
    fn apply(&self, input: &TableInput) -> Result<Batch, OperatorError> {
        let layout = self.spine.layout();
        let columns = input.rows.columns();
        let keys: Vec<ArrayRef> = layout.key.iter().map(|&key| columns[key].clone()).collect();
        let runs = key_runs(layout.hasher, &keys, input.len())?;
        let live = live_rows(
            &self.spine.snapshot(),
            runs.keys.hashes(),
            runs.keys.columns(),
        )?;
        let outcome = resolve(&runs, input, &live.row_of_key);
        let delta = outcome_delta(&layout.schema, input, live, &outcome)?;
        Ok(Batch::from_delta(layout, &delta)?)
    }
}

/// Retractions of the touched rows and insertions of their successors.
fn outcome_delta(
    schema: &SchemaRef,
    input: &TableInput,
    live: LiveRows,
    outcome: &Outcome,
) -> Result<Delta, OperatorError> {
    let inserted = inserted_rows(schema, input, &live, outcome)?;
    // Every live row belongs to one key, so as many rows are the same rows.
    let retracted = if outcome.retracted.len() == live.rows.num_rows() {
        live.rows
    } else {
        take_record_batch(&live.rows, &UInt32Array::from(outcome.retracted.clone()))?
    };
    let weights = vec![-1; retracted.num_rows()].into();
    let parts = [Delta::new(retracted, weights), Delta::insertions(inserted)];
    Ok(Delta::concat(schema, &parts)?)
}

fn inserted_rows(
    schema: &SchemaRef,
    input: &TableInput,
    live: &LiveRows,
    outcome: &Outcome,
) -> Result<RecordBatch, OperatorError> {
    if input.partial.is_none() {
        let rows = outcome.inserted.iter().filter_map(|base| match base {
            Base::New(row) => Some(*row),
            // Without partial updates a key that keeps its row is not in the outcome.
            Base::Live(_) => None,
        });
        let rows = UInt32Array::from_iter_values(rows);
        return Ok(take_record_batch(&input.rows, &rows)?);
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (position, new) in input.rows.columns().iter().enumerate() {
        let old = live.rows.column(position);
        let source = |(key, base): (usize, &Base)| match (outcome.patch(key, position), *base) {
            (Some(row), _) | (None, Base::New(row)) => (0, row as usize),
            (None, Base::Live(row)) => (1, row as usize),
        };
        let sources: Vec<_> = outcome.inserted.iter().enumerate().map(source).collect();
        columns.push(interleave(&[new.as_ref(), old.as_ref()], &sources)?);
    }
    record_batch(schema, columns, outcome.inserted.len())
}

fn bag(schema: &SchemaRef, inputs: &[TableInput]) -> Result<Flow, OperatorError> {
    let mut deltas = Vec::with_capacity(inputs.len());
    for input in inputs.iter().filter(|input| !input.is_empty()) {
        let rows = record_batch(schema, input.rows.columns().to_vec(), input.len())?;
        deltas.push(Delta::new(rows, input.weights.clone()));
    }
    Ok(Flow::Delta(deltas))
}

/// All changes as one input; `None` if there is none.
fn concat(schema: &SchemaRef, inputs: &[TableInput]) -> Result<Option<TableInput>, OperatorError> {
    let mut filled = inputs.iter().filter(|input| !input.is_empty());
    let (first, second) = (filled.next(), filled.next());
    let Some(first) = first else {
        return Ok(None);
    };
    let named =
        |input: &TableInput| record_batch(schema, input.rows.columns().to_vec(), input.len());
    if second.is_none() {
        return Ok(Some(TableInput {
            rows: named(first)?,
            ..first.clone()
        }));
    }
    let rows = inputs.iter().map(named).collect::<Result<Vec<_>, _>>()?;
    let weights = inputs
        .iter()
        .flat_map(|input| input.weights.iter().copied());
    let weights: ScalarBuffer<i64> = weights.collect();
    let partial = inputs
        .iter()
        .any(|input| input.partial.is_some())
        .then(|| concat_partial(schema.fields().len(), inputs));
    Ok(Some(TableInput {
        rows: concat_batches(schema, &rows)?,
        weights,
        partial,
    }))
}

fn concat_partial(columns: usize, inputs: &[TableInput]) -> PartialUpdates {
    let rows = inputs.iter().map(TableInput::len).sum();
    let mut is_update = BooleanBufferBuilder::new(rows);
    let mut is_set: Vec<_> = (0..columns)
        .map(|_| BooleanBufferBuilder::new(rows))
        .collect();
    for input in inputs {
        match &input.partial {
            Some(partial) => {
                is_update.append_buffer(&partial.is_update);
                for (builder, set) in is_set.iter_mut().zip(&partial.is_set) {
                    builder.append_buffer(set);
                }
            }
            None => {
                is_update.append_n(input.len(), false);
                for builder in &mut is_set {
                    builder.append_n(input.len(), false);
                }
            }
        }
    }
    PartialUpdates {
        is_update: is_update.finish(),
        is_set: is_set
            .iter_mut()
            .map(BooleanBufferBuilder::finish)
            .collect(),
    }
}
