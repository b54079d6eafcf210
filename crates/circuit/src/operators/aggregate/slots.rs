//! Where everything is: which columns of which input make up which columns of the state, and which
//! of those make up the output.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_empty_array, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};

use super::linear::{LinearError, LinearState, WeightedRows};
use crate::expression::GroupFunction;
use crate::operators::OperatorError;
use crate::plan::{AggregateCall, AggregateSpec, LinearFunction};

/// A linear call. Positions of state columns count from `row_count`, which is 0.
pub(super) struct Slot {
    pub call: usize,
    pub name: &'static str,
    pub state: Box<dyn LinearState>,
    /// In the input's delta.
    pub input_columns: Range<usize>,
    pub state_columns: Range<usize>,
}

/// A call that is read from an arranged input.
pub(super) struct Value {
    pub input: usize,
    pub kind: ValueKind,
    pub input_schema: SchemaRef,
    pub data_type: DataType,
    pub state_column: usize,
}

pub(super) enum ValueKind {
    First { column: usize },
    Group { function: Arc<dyn GroupFunction> },
}

/// An output column.
pub(super) enum Output {
    Linear {
        name: &'static str,
        state: Box<dyn LinearState>,
        state_columns: Range<usize>,
    },
    Value {
        state_column: usize,
    },
}

pub(super) struct Slots {
    /// Per input its linear calls in order; `None` if the input is not linear.
    pub linear: Vec<Option<Vec<Slot>>>,
    pub values: Vec<Value>,
    pub outputs: Vec<Output>,
}

impl Slots {
    /// # Panics
    /// If a call of a partial aggregate is not used by any output: then nobody says what its state
    /// columns are.
    pub(super) fn new(spec: &AggregateSpec, inputs: &[SchemaRef]) -> Self {
        let mut next_column = 1;
        let mut linear: Vec<Option<Vec<Slot>>> = Vec::with_capacity(inputs.len());
        for input in 0..inputs.len() {
            let calls = linear_calls(spec, input);
            let is_linear = input == 0 || !calls.is_empty();
            linear.push(is_linear.then(|| slots(spec, &calls, &mut next_column)));
        }
        let mut values = Vec::new();
        let mut outputs = Vec::with_capacity(spec.calls.len());
        for call in &spec.calls {
            let (input, kind, data_type) = match call {
                AggregateCall::Linear {
                    input,
                    call,
                    function,
                } => {
                    outputs.push(linear_output(&linear, *input, *call, function));
                    continue;
                }
                AggregateCall::First { input, column } => {
                    let data_type = inputs[*input].field(*column).data_type().clone();
                    (*input, ValueKind::First { column: *column }, data_type)
                }
                AggregateCall::Group { input, function } => {
                    let data_type = function.data_type();
                    (
                        *input,
                        ValueKind::Group {
                            function: function.clone(),
                        },
                        data_type,
                    )
                }
            };
            let state_column = next_column;
            next_column += 1;
            outputs.push(Output::Value { state_column });
            let input_schema = inputs[input].clone();
            values.push(Value {
                input,
                kind,
                input_schema,
                data_type,
                state_column,
            });
        }
        Self {
            linear,
            values,
            outputs,
        }
    }

    /// The linear calls of all inputs.
    pub(super) fn all_linear(&self) -> impl Iterator<Item = &Slot> {
        self.linear.iter().flatten().flatten()
    }

    /// The columns of the spine that follow the group columns.
    pub(super) fn fields(&self) -> Vec<Field> {
        let states = self.all_linear().flat_map(|slot| slot.state.state_types());
        let values = self.values.iter().map(|value| value.data_type.clone());
        let named = states.chain(values).enumerate();
        let row_count = Field::new("row_count", DataType::Int64, true);
        std::iter::once(row_count)
            .chain(named.map(|(index, kind)| Field::new(format!("state_{index}"), kind, true)))
            .collect()
    }

    /// The state of a group without rows.
    pub(super) fn zero(&self) -> Result<Vec<ArrayRef>, OperatorError> {
        let rows = WeightedRows::new(&[], &[], 1).map_err(unexpected)?;
        let mut columns = vec![rows.counts.clone()];
        for slot in self.all_linear() {
            let none: Vec<_> = slot
                .state
                .state_types()
                .iter()
                .map(new_empty_array)
                .collect();
            columns.extend(slot.state.add(&none, &rows).map_err(unexpected)?);
        }
        for value in &self.values {
            columns.push(value.of_no_rows()?);
        }
        Ok(columns)
    }
}

impl Value {
    /// What a group has that is not in the arranged input: one value.
    pub(super) fn of_no_rows(&self) -> Result<ArrayRef, OperatorError> {
        match &self.kind {
            ValueKind::First { .. } => Ok(new_null_array(&self.data_type, 1)),
            ValueKind::Group { function } => {
                let rows = RecordBatch::new_empty(self.input_schema.clone());
                function.evaluate(&rows).map_err(|error| OperatorError {
                    expression: function.fingerprint().to_owned(),
                    row: String::new(),
                    message: error.message,
                })
            }
        }
    }
}

fn unexpected(error: LinearError) -> OperatorError {
    OperatorError {
        expression: "zero".to_owned(),
        row: String::new(),
        message: error.message,
    }
}

/// The distinct linear calls of one input, by number.
fn linear_calls(spec: &AggregateSpec, input: usize) -> Vec<(usize, &LinearFunction)> {
    let of_input = spec.calls.iter().filter_map(|call| match call {
        AggregateCall::Linear {
            input: of,
            call,
            function,
        } if *of == input => Some((*call, function)),
        _ => None,
    });
    let mut calls: Vec<_> = of_input.collect();
    calls.sort_by_key(|(call, _)| *call);
    calls.dedup_by_key(|(call, _)| *call);
    calls
}

fn slots(
    spec: &AggregateSpec,
    calls: &[(usize, &LinearFunction)],
    next_column: &mut usize,
) -> Vec<Slot> {
    let mut next_input_column = spec.group_columns + 1;
    let slot = |(position, (call, function)): (usize, &(usize, &LinearFunction))| {
        assert_eq!(position, *call, "every call of a partial aggregate is used");
        let state = function.state();
        let width = state.state_types().len();
        let input_columns = next_input_column..next_input_column + width;
        let state_columns = *next_column..*next_column + width;
        next_input_column += width;
        *next_column += width;
        Slot {
            call: *call,
            name: function.name(),
            state,
            input_columns,
            state_columns,
        }
    };
    calls.iter().enumerate().map(slot).collect()
}

fn linear_output(
    linear: &[Option<Vec<Slot>>],
    input: usize,
    call: usize,
    function: &LinearFunction,
) -> Output {
    let slot = linear[input]
        .iter()
        .flatten()
        .find(|slot| slot.call == call);
    let state_columns = slot.map_or(0..0, |slot| slot.state_columns.clone());
    Output::Linear {
        name: function.name(),
        state: function.state(),
        state_columns,
    }
}
