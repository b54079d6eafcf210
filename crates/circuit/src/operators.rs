//! What a node computes in one step, and the registry that builds an operator from its spec.
//!
//! An operator is called once per step, in topological order, with what its inputs did in that
//! step. It is skipped when no input changed (sources never are), so it must not rely on being
//! called: anything that has to happen without input happens in the first step.
//!
//! All state is spines, reported by [`Operator::spines`] in a fixed order: that is all that saving
//! and restoring needs to know, so an operator cannot forget to save something. What else an
//! operator holds must be derivable from its spec.

pub(crate) mod arrange;
pub(crate) mod consolidate;
pub(crate) mod constant;
pub(crate) mod join;
pub(crate) mod map;
pub(crate) mod negate;
pub(crate) mod semi_join;
pub(crate) mod set_operation;
pub(crate) mod table;
pub(crate) mod union;

mod aggregate;
mod flat_map;
mod partial_aggregate;
mod single_row;
#[cfg(test)]
mod test_support;
mod top_k;
mod window;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use highwater_zset::{Batch, Delta, MergeService, RowHasher, Snapshot, Spine};

use crate::expression::EvaluationError;
use crate::plan::{Node, OperatorSpec};

/// What a node did in one step.
#[derive(Clone, Debug)]
pub(crate) enum Flow {
    /// Rows with weights; none if nothing changed.
    Delta(Vec<Delta>),
    /// A spine's contents around the step.
    Arranged(Arranged),
}

/// A spine before and after a step, and the step's batch between: `after = before + delta`.
#[derive(Clone, Debug)]
pub(crate) struct Arranged {
    pub before: Snapshot,
    pub delta: Arc<Batch>,
    pub after: Snapshot,
}

impl Arranged {
    /// A spine in a step that does not change it.
    pub(crate) fn at_rest(spine: &Spine, empty: &Arc<Batch>) -> Self {
        let after = spine.snapshot();
        Self {
            before: after.clone(),
            delta: empty.clone(),
            after,
        }
    }

    /// Inserts the step's batch.
    pub(crate) fn insert(spine: &mut Spine, delta: Batch) -> Result<Self, OperatorError> {
        let before = spine.snapshot();
        let delta = Arc::new(delta);
        if delta.is_empty() {
            return Ok(Self {
                after: before.clone(),
                delta,
                before,
            });
        }
        spine.insert(delta.clone())?;
        Ok(Self {
            before,
            delta,
            after: spine.snapshot(),
        })
    }
}

impl Flow {
    /// No change, in a flow that is not arranged.
    pub(crate) const UNCHANGED: Flow = Flow::Delta(Vec::new());

    /// One delta, or none if it is empty.
    pub(crate) fn of(delta: Delta) -> Self {
        if delta.is_empty() {
            Self::UNCHANGED
        } else {
            Self::Delta(vec![delta])
        }
    }

    /// True if the node's relation is what it was before the step.
    pub(crate) fn is_unchanged(&self) -> bool {
        match self {
            Self::Delta(deltas) => deltas.iter().all(Delta::is_empty),
            Self::Arranged(arranged) => arranged.delta.is_empty(),
        }
    }

    /// The changes; no empty ones. Those of an arranged flow are consolidated.
    pub(crate) fn deltas(&self) -> Vec<Delta> {
        match self {
            Self::Delta(deltas) => deltas
                .iter()
                .filter(|delta| !delta.is_empty())
                .cloned()
                .collect(),
            Self::Arranged(arranged) if arranged.delta.is_empty() => Vec::new(),
            Self::Arranged(arranged) => vec![arranged.delta.to_delta()],
        }
    }

    /// # Panics
    /// If the flow is not arranged: [`crate::plan::Plan`]'s rule P3 is broken.
    pub(crate) fn arranged(&self) -> &Arranged {
        match self {
            Self::Arranged(arranged) => arranged,
            Self::Delta(_) => panic!("the input must be arranged (plan rule P3)"),
        }
    }

    /// Number of rows that changed.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Delta(deltas) => deltas.iter().map(Delta::len).sum(),
            Self::Arranged(arranged) => arranged.delta.len(),
        }
    }
}

/// Where and when a step runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepContext {
    /// The first step of the circuit's life (not of a restart).
    pub is_first: bool,
    pub worker: usize,
    pub workers: usize,
    pub hasher: RowHasher,
}

/// Why an operator could not do its step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OperatorError {
    /// Fingerprint of the expression, or what else failed.
    pub expression: String,
    /// The row or its key, as [`format_row`] prints it; empty if no row is to blame.
    pub row: String,
    pub message: String,
}

impl From<highwater_zset::Error> for OperatorError {
    fn from(error: highwater_zset::Error) -> Self {
        Self {
            expression: "rows".to_owned(),
            row: String::new(),
            message: error.to_string(),
        }
    }
}

impl From<arrow::error::ArrowError> for OperatorError {
    fn from(error: arrow::error::ArrowError) -> Self {
        highwater_zset::Error::from(error).into()
    }
}

/// One node of a running circuit.
pub(crate) trait Operator: Send {
    /// What the node does in this step, given what its inputs do. One call per step in which any
    /// input changed, and in the first step.
    ///
    /// # Errors
    /// If a value cannot be computed. The circuit stops then.
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError>;

    /// All state, in a fixed order.
    fn spines(&self) -> Vec<&Spine> {
        Vec::new()
    }

    /// The same spines in the same order: a restart replaces them with those that were saved.
    fn spines_mut(&mut self) -> Vec<&mut Spine> {
        Vec::new()
    }

    /// What the node's flow is in a step in which it is skipped. Operators whose flow is arranged
    /// show their spine.
    fn at_rest(&self) -> Flow {
        Flow::UNCHANGED
    }
}

/// What an operator is built from.
pub(crate) struct BuildContext<'a> {
    pub node: &'a Node,
    /// The nodes of its inputs.
    pub inputs: Vec<&'a Node>,
    pub hasher: RowHasher,
    /// Where its spines merge.
    pub merges: MergeService,
}

/// Builds the operator of a node.
///
/// # Panics
/// For sources and exchanges: the worker runs them itself.
pub(crate) fn build(context: &BuildContext<'_>) -> Box<dyn Operator> {
    let node = context.node;
    let schema = node.schema.clone();
    match &node.operator {
        OperatorSpec::Table { .. } | OperatorSpec::Exchange { .. } => {
            unreachable!("sources and exchanges are no operators")
        }
        OperatorSpec::Constant { rows } => Box::new(constant::Constant::new(rows, schema)),
        OperatorSpec::Map { filter, columns } => {
            Box::new(map::Map::new(filter.clone(), columns.clone(), schema))
        }
        OperatorSpec::FlatMap { function } => {
            Box::new(flat_map::FlatMap::new(function.clone(), context))
        }
        OperatorSpec::Union => Box::new(union::Union::new(schema)),
        OperatorSpec::Negate => Box::new(negate::Negate),
        OperatorSpec::Consolidate => Box::new(consolidate::Consolidate::new(schema)),
        OperatorSpec::Arrange { layout } => Box::new(arrange::Arrange::new(layout, context)),
        OperatorSpec::Join { residual, output } => {
            Box::new(join::Join::new(residual.clone(), output.clone(), context))
        }
        OperatorSpec::SemiJoin { anti } => Box::new(semi_join::SemiJoin::new(*anti, schema)),
        OperatorSpec::SetOperation { kind } => {
            Box::new(set_operation::SetOperator::new(*kind, schema))
        }
        OperatorSpec::PartialAggregate { group, calls } => Box::new(
            partial_aggregate::PartialAggregate::new(group, calls, context),
        ),
        OperatorSpec::Aggregate { spec } => Box::new(aggregate::Aggregate::new(spec, context)),
        OperatorSpec::TopK { spec } => Box::new(top_k::TopK::new(spec, context)),
        OperatorSpec::Window { function } => {
            Box::new(window::Window::new(function.clone(), context))
        }
        OperatorSpec::SingleRow => Box::new(single_row::SingleRow::new(context)),
    }
}

/// `columns` under the names of `schema`; `rows` counts when there are no columns.
pub(crate) fn record_batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, OperatorError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &options,
    )?)
}

/// A row as `(value, value, …)`, for error messages.
pub(crate) fn format_row(columns: &[ArrayRef], row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let values: Vec<String> = columns
        .iter()
        .map(|column| match ArrayFormatter::try_new(column, &options) {
            Ok(formatter) => formatter.value(row).to_string(),
            Err(_) => "?".to_owned(),
        })
        .collect();
    format!("({})", values.join(", "))
}

/// Evaluates over `rows`; on an error finds the first row that fails, by halves, and reports it.
pub(crate) fn evaluate<T>(
    fingerprint: &str,
    rows: &RecordBatch,
    function: impl Fn(&RecordBatch) -> Result<T, EvaluationError>,
) -> Result<T, OperatorError> {
    let error = match function(rows) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let (mut offset, mut length, mut message) = (0, rows.num_rows(), error.message);
    while length > 1 {
        let half = length / 2;
        match function(&rows.slice(offset, half)) {
            Err(error) => {
                message = error.message;
                length = half;
            }
            Ok(_) => {
                offset += half;
                length -= half;
                if let Err(error) = function(&rows.slice(offset, length)) {
                    message = error.message;
                }
            }
        }
    }
    let row = if length == 1 {
        format_row(rows.columns(), offset)
    } else {
        String::new()
    };
    Err(OperatorError {
        expression: fingerprint.to_owned(),
        row,
        message,
    })
}
