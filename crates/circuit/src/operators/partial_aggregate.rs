//! Linear aggregates of one delta, without state: what is left to exchange is one row per group.
//!
//! It runs on every worker before the exchange, so a hot group costs one row per step and worker.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::concat;
use arrow::datatypes::SchemaRef;
use highwater_zset::{Delta, Grouping};

use super::aggregate::linear::{
    LinearError, LinearState, WeightedRows, clear_unless_zero, masked_weights,
};
use super::{BuildContext, Flow, Operator, OperatorError, StepContext, format_row, record_batch};
use crate::plan::LinearCall;

pub(super) struct PartialAggregate {
    group: Vec<usize>,
    calls: Vec<Call>,
    schema: SchemaRef,
}

struct Call {
    name: &'static str,
    state: Box<dyn LinearState>,
    argument: Option<usize>,
}

/// The columns that matter, of all pieces of a delta.
struct Input {
    rows: usize,
    weights: ScalarBuffer<i64>,
    /// By position in the input; absent if nobody asks for it.
    columns: Vec<Option<ArrayRef>>,
}

impl PartialAggregate {
    pub(super) fn new(group: &[usize], calls: &[LinearCall], context: &BuildContext<'_>) -> Self {
        let call = |call: &LinearCall| Call {
            name: call.function.name(),
            state: call.function.state(),
            argument: call.argument,
        };
        Self {
            group: group.to_vec(),
            calls: calls.iter().map(call).collect(),
            schema: context.node.schema.clone(),
        }
    }

    fn gather(&self, deltas: &[Delta]) -> Result<Input, OperatorError> {
        let width = deltas[0].rows().num_columns();
        let mut columns: Vec<Option<ArrayRef>> = vec![None; width];
        let arguments = self.calls.iter().filter_map(|call| call.argument);
        for column in self.group.iter().copied().chain(arguments) {
            if columns[column].is_none() {
                columns[column] = Some(gather_column(deltas, column)?);
            }
        }
        let weights = match deltas {
            [only] => only.weights().clone(),
            _ => deltas
                .iter()
                .flat_map(|delta| delta.weights().iter().copied())
                .collect(),
        };
        Ok(Input {
            rows: weights.len(),
            weights,
            columns,
        })
    }

    /// Row counts and states of each group: the output without its group columns, `keys`.
    fn states(
        &self,
        input: &Input,
        groups: &Grouping,
        keys: &[ArrayRef],
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let failed = |name| move |error| linear_error(name, &error, keys);
        let weigh = |weights| {
            WeightedRows::new(weights, &groups.groups, groups.len()).map_err(failed("COUNT"))
        };
        let all_rows = weigh(&input.weights)?;
        // NULL arguments weigh nothing; calls on one column share the weights.
        let mut masked: Vec<Option<Vec<i64>>> = vec![None; input.columns.len()];
        for argument in self.calls.iter().filter_map(|call| call.argument) {
            if let (Some(column), None) = (&input.columns[argument], &masked[argument]) {
                masked[argument] = masked_weights(&input.weights, column.logical_nulls().as_ref());
            }
        }
        let not_null = masked
            .iter()
            .map(|weights| weights.as_deref().map(weigh).transpose())
            .collect::<Result<Vec<_>, _>>()?;
        let mut columns = vec![all_rows.counts.clone()];
        for call in &self.calls {
            let argument = call
                .argument
                .and_then(|column| input.columns[column].as_ref());
            let rows = call.argument.and_then(|column| not_null[column].as_ref());
            let states = call.state.accumulate(argument, rows.unwrap_or(&all_rows));
            columns.extend(states.map_err(failed(call.name))?);
        }
        Ok(columns)
    }
}

/// An error of one group of a linear aggregate.
pub(super) fn linear_error(name: &str, error: &LinearError, keys: &[ArrayRef]) -> OperatorError {
    OperatorError {
        expression: name.to_owned(),
        row: format_row(keys, error.group),
        message: error.message.clone(),
    }
}

fn gather_column(deltas: &[Delta], column: usize) -> Result<ArrayRef, OperatorError> {
    if let [only] = deltas {
        return Ok(only.rows().column(column).clone());
    }
    let pieces: Vec<&dyn Array> = deltas
        .iter()
        .map(|delta| delta.rows().column(column).as_ref())
        .collect();
    Ok(concat(&pieces)?)
}

impl Operator for PartialAggregate {
    fn step(&mut self, inputs: &[&Flow], context: &StepContext) -> Result<Flow, OperatorError> {
        let deltas = inputs[0].deltas();
        if deltas.is_empty() {
            return Ok(Flow::UNCHANGED);
        }
        let input = self.gather(&deltas)?;
        let group_columns: Vec<ArrayRef> = self
            .group
            .iter()
            .filter_map(|&column| input.columns[column].clone())
            .collect();
        let groups = Grouping::new(context.hasher, &group_columns, input.rows)?;
        let mut columns = groups.key_columns()?;
        let states = self.states(&input, &groups, &columns)?;
        // Groups in which all cancels need not travel.
        let mut is_zero = vec![true; groups.len()];
        states
            .iter()
            .for_each(|column| clear_unless_zero(column, &mut is_zero));
        columns.extend(states);
        let rows = record_batch(&self.schema, columns, groups.len())?;
        let delta = Delta::insertions(rows);
        if !is_zero.contains(&true) {
            return Ok(Flow::of(delta));
        }
        let keep: BooleanArray = is_zero.iter().map(|is_zero| Some(!is_zero)).collect();
        Ok(Flow::of(delta.filter(&keep)?))
    }
}

#[cfg(test)]
mod tests;
