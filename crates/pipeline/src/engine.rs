//! The thread that owns the dataflow: steps go in, what they did comes out as events.
//!
//! It takes up whatever steps are queued before it waits for the oldest one, so the controller alone
//! decides how many are in flight.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::time::Duration;

use arrow::buffer::BooleanBuffer;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use highwater_circuit::dataflow::Dataflow;
use highwater_circuit::error::Error as CircuitError;
use highwater_circuit::table_input::{PartialUpdates, TableInput};

use crate::event::Event;
use crate::moment::TimeSource;

/// What the engine is told.
pub(crate) enum Command {
    Step(Vec<(usize, TableInput)>),
    /// Tell the circuit's state behind all steps so far.
    Snapshot,
    Stop,
}

/// Small pieces of a table are put together up to this many rows.
const PIECE_ROWS_MAX: usize = 1_000_000;

/// Runs until it is told to stop. After a failed step it only waits for that.
pub(crate) fn run(
    dataflow: Dataflow,
    commands: &Receiver<Command>,
    events: &Sender<Event>,
    clock: &Arc<dyn TimeSource>,
) {
    let stepping = || step_until_stop(dataflow, commands, events, clock.as_ref());
    let result = catch_unwind(AssertUnwindSafe(stepping)).unwrap_or_else(|panic| {
        let message = format!("the engine panicked: {}", panic_message(panic.as_ref()));
        Err(CircuitError::Invalid(message))
    });
    if let Err(error) = result {
        // If the controller is gone too, there is nobody left to tell.
        let _ = events.send(Event::StepFailed(error));
        while let Ok(Command::Step(_) | Command::Snapshot) = commands.recv() {}
    }
}

fn step_until_stop(
    mut dataflow: Dataflow,
    commands: &Receiver<Command>,
    events: &Sender<Event>,
    clock: &dyn TimeSource,
) -> Result<(), CircuitError> {
    let mut busy_since = Duration::ZERO;
    loop {
        let command = if dataflow.steps_in_flight() == 0 {
            commands.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            commands.try_recv()
        };
        match command {
            Ok(Command::Step(inputs)) => {
                if dataflow.steps_in_flight() == 0 {
                    busy_since = clock.now();
                }
                dataflow.submit(coalesce(inputs))?;
            }
            Ok(Command::Snapshot) => {
                while dataflow.steps_in_flight() > 0 {
                    if receive(&mut dataflow, events, clock, &mut busy_since)?.is_break() {
                        return Ok(());
                    }
                }
                if events
                    .send(Event::SnapshotTaken(dataflow.state()?))
                    .is_err()
                {
                    return Ok(());
                }
            }
            Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Ok(()),
            Err(TryRecvError::Empty) => {
                if receive(&mut dataflow, events, clock, &mut busy_since)?.is_break() {
                    return Ok(());
                }
            }
        }
    }
}

/// Waits for the oldest step; breaks if nobody wants to know of it.
fn receive(
    dataflow: &mut Dataflow,
    events: &Sender<Event>,
    clock: &dyn TimeSource,
    busy_since: &mut Duration,
) -> Result<ControlFlow<()>, CircuitError> {
    let output = dataflow.receive()?;
    let now = clock.now();
    let busy = now.saturating_sub(*busy_since);
    *busy_since = now;
    Ok(match events.send(Event::StepDone { output, busy }) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    })
}

/// Puts the pieces of each table together, in order; order between tables means nothing.
fn coalesce(inputs: Vec<(usize, TableInput)>) -> Vec<(usize, TableInput)> {
    let mut by_table: BTreeMap<usize, Vec<TableInput>> = BTreeMap::new();
    for (table, input) in inputs {
        by_table.entry(table).or_default().push(input);
    }
    let mut coalesced = Vec::with_capacity(by_table.len());
    for (table, pieces) in by_table {
        let mut run: Vec<TableInput> = Vec::new();
        let mut rows = 0;
        for piece in pieces {
            if rows > 0 && rows + piece.len() > PIECE_ROWS_MAX {
                coalesced.extend(
                    concat(std::mem::take(&mut run))
                        .into_iter()
                        .map(|it| (table, it)),
                );
                rows = 0;
            }
            rows += piece.len();
            run.push(piece);
        }
        coalesced.extend(concat(run).into_iter().map(|it| (table, it)));
    }
    coalesced
}

/// One piece if Arrow can make it, else the pieces as they are (text beyond 2 GiB).
fn concat(pieces: Vec<TableInput>) -> Vec<TableInput> {
    if pieces.len() <= 1 {
        return pieces;
    }
    match try_concat(&pieces) {
        Ok(one) => vec![one],
        Err(_) => pieces,
    }
}

fn try_concat(pieces: &[TableInput]) -> Result<TableInput, ArrowError> {
    let schema = pieces[0].rows.schema();
    let rows = concat_batches(&schema, pieces.iter().map(|piece| &piece.rows))?;
    let weights: Vec<i64> = pieces
        .iter()
        .flat_map(|piece| piece.weights.iter().copied())
        .collect();
    let has_partial = pieces.iter().any(|piece| piece.partial.is_some());
    Ok(TableInput {
        rows,
        weights: weights.into(),
        partial: has_partial.then(|| concat_partial(pieces, schema.fields().len())),
    })
}

fn concat_partial(pieces: &[TableInput], columns: usize) -> PartialUpdates {
    let concat = |pick: &dyn Fn(&PartialUpdates) -> &BooleanBuffer| -> BooleanBuffer {
        let bits = pieces.iter().flat_map(|piece| {
            let marks = piece.partial.as_ref().map(pick);
            (0..piece.len()).map(move |row| marks.is_some_and(|marks| marks.value(row)))
        });
        bits.collect()
    };
    PartialUpdates {
        is_update: concat(&|partial| &partial.is_update),
        is_set: (0..columns)
            .map(|column| concat(&|partial| &partial.is_set[column]))
            .collect(),
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    fn piece(values: &[i64], updates: Option<&[bool]>) -> TableInput {
        let schema = Schema::new(vec![Field::new("a", DataType::Int64, true)]);
        let column = Arc::new(Int64Array::from(values.to_vec()));
        let rows = RecordBatch::try_new(Arc::new(schema), vec![column]).unwrap();
        let mut input = TableInput::insertions(rows);
        input.partial = updates.map(|updates| PartialUpdates {
            is_update: updates.iter().copied().collect(),
            is_set: vec![updates.iter().copied().collect()],
        });
        input
    }

    fn values(input: &TableInput) -> Vec<i64> {
        let column = input.rows.column(0).as_any().downcast_ref::<Int64Array>();
        column.unwrap().values().to_vec()
    }

    #[test]
    fn pieces_of_a_table_become_one_in_order() {
        let inputs = vec![
            (1, piece(&[10], None)),
            (0, piece(&[1, 2], None)),
            (1, piece(&[11, 12], Some(&[true, false]))),
        ];
        let coalesced = coalesce(inputs);
        assert_eq!(coalesced.len(), 2);
        assert_eq!((coalesced[0].0, values(&coalesced[0].1)), (0, vec![1, 2]));
        assert!(coalesced[0].1.partial.is_none());
        assert_eq!(
            (coalesced[1].0, values(&coalesced[1].1)),
            (1, vec![10, 11, 12])
        );
        let partial = coalesced[1].1.partial.as_ref().unwrap();
        let marks: Vec<bool> = partial.is_update.iter().collect();
        assert_eq!(marks, [false, true, false]);
    }

    #[test]
    fn large_inputs_stay_in_pieces() {
        let large = vec![7; PIECE_ROWS_MAX];
        let coalesced = coalesce(vec![(0, piece(&large, None)), (0, piece(&[8], None))]);
        let lengths: Vec<usize> = coalesced.iter().map(|(_, input)| input.len()).collect();
        assert_eq!(lengths, [PIECE_ROWS_MAX, 1]);
    }
}
