//! Highwater as an engine of the orders workload: from SQL text, through the compiler, to a dataflow.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, Schema};
use highwater_bench::measure::Engine;
use highwater_bench::options::Options;
use highwater_bench::workload::{Answers, Customers, OrderChanges};
use highwater_circuit::dataflow::{CircuitState, Dataflow, DataflowConfig};
use highwater_circuit::table_input::TableInput;
use highwater_sql::{CompileOptions, Program, compile};
use highwater_zset::{Delta, RowHasher, StateFiles};

/// The program, up to the columns of orders and from there on; tables and views are used by position.
const PROGRAM: [&str; 2] = [
    "CREATE TABLE orders (
        id BIGINT NOT NULL PRIMARY KEY, customer BIGINT NOT NULL, amount BIGINT NOT NULL",
    ");
    CREATE TABLE customers (id BIGINT NOT NULL PRIMARY KEY, region BIGINT NOT NULL);
    CREATE VIEW totals AS
        SELECT region, COUNT(*) AS orders, SUM(amount) AS amount
        FROM orders JOIN customers ON orders.customer = customers.id GROUP BY region;
    CREATE VIEW buyers AS
        SELECT region, COUNT(DISTINCT customer) AS customers
        FROM orders JOIN customers ON orders.customer = customers.id GROUP BY region;",
];
const ORDERS: usize = 0;
const CUSTOMERS: usize = 1;
const TOTALS: usize = 0;

/// A running dataflow and what its views' changes add up to.
pub(crate) struct Highwater {
    dataflow: Dataflow,
    orders_schema: Arc<Schema>,
    customers_schema: Arc<Schema>,
    note_bytes: usize,
    answers: Answers,
}

/// The program, compiled.
pub(crate) fn compiled(options: &Options) -> Result<Program, String> {
    let hasher = RowHasher::new(options.seed);
    let note = match options.note_bytes {
        0 => "",
        _ => ", note VARCHAR NOT NULL",
    };
    compile(&PROGRAM.join(note), &CompileOptions { hasher }).map_err(|errors| {
        let messages: Vec<String> = errors.iter().map(|error| format!("{error:?}")).collect();
        messages.join("\n")
    })
}

impl Highwater {
    /// Compiles the program and starts the workers.
    pub(crate) fn start(options: &Options) -> Result<Self, String> {
        Self::start_on(options, None)
    }

    /// As [`Self::start`], with files for the state.
    pub(crate) fn start_on(
        options: &Options,
        state_files: Option<StateFiles>,
    ) -> Result<Self, String> {
        let program = compiled(options)?;
        let config = config(options, state_files);
        let dataflow = Dataflow::start(program.plan.clone(), config);
        Ok(Self::new(
            options,
            &program,
            dataflow.map_err(|error| error.to_string())?,
        ))
    }

    /// Goes on from a state.
    pub(crate) fn restore(
        options: &Options,
        program: &Program,
        state_files: StateFiles,
        state: CircuitState,
    ) -> Result<Self, String> {
        let config = config(options, Some(state_files));
        let dataflow = Dataflow::restore(program.plan.clone(), config, state);
        Ok(Self::new(
            options,
            program,
            dataflow.map_err(|error| error.to_string())?,
        ))
    }

    fn new(options: &Options, program: &Program, dataflow: Dataflow) -> Self {
        Self {
            dataflow,
            orders_schema: program.tables[ORDERS].schema.clone(),
            customers_schema: program.tables[CUSTOMERS].schema.clone(),
            note_bytes: options.note_bytes,
            answers: Answers::default(),
        }
    }

    /// Everything the circuit remembers.
    pub(crate) fn state(&self) -> Result<CircuitState, String> {
        self.dataflow.state().map_err(|error| error.to_string())
    }

    /// A new row replaces that of its region; no region ever becomes empty in this workload.
    fn take_over(&mut self, view: usize, delta: &Delta) {
        let integers = |column: usize| {
            let array: &Int64Array = delta.rows().column(column).as_primitive::<Int64Type>();
            array.values()
        };
        for (row, &weight) in delta.weights().iter().enumerate() {
            if weight <= 0 {
                continue;
            }
            let region = integers(0)[row];
            if view == TOTALS {
                let count_and_sum = (integers(1)[row], integers(2)[row]);
                self.answers.totals.insert(region, count_and_sum);
            } else {
                self.answers.buyers.insert(region, integers(1)[row]);
            }
        }
    }
}

fn config(options: &Options, state_files: Option<StateFiles>) -> DataflowConfig {
    DataflowConfig {
        workers: options.workers,
        hasher: RowHasher::new(options.seed),
        state_files,
    }
}

impl Engine for Highwater {
    type Input = (usize, TableInput);
    type Error = String;

    fn customers_input(&self, customers: &Customers) -> Self::Input {
        let rows = batch(
            &self.customers_schema,
            integers(&[&customers.ids, &customers.regions]),
        );
        (CUSTOMERS, TableInput::insertions(rows))
    }

    fn orders_input(&self, changes: &OrderChanges) -> Self::Input {
        let mut columns = integers(&[&changes.ids, &changes.customers, &changes.amounts]);
        if self.note_bytes > 0 {
            let notes = changes.notes(self.note_bytes);
            columns.push(Arc::new(StringArray::from(notes)));
        }
        let weight = |&is_deletion: &bool| if is_deletion { -1 } else { 1 };
        let input = TableInput {
            rows: batch(&self.orders_schema, columns),
            weights: changes.is_deletion.iter().map(weight).collect(),
            partial: None,
        };
        (ORDERS, input)
    }

    fn step(&mut self, input: Self::Input) -> Result<(), String> {
        let output = self.dataflow.step(vec![input]);
        for (view, deltas) in output.map_err(|error| error.to_string())?.changes {
            for delta in &deltas {
                self.take_over(view, delta);
            }
        }
        Ok(())
    }

    fn answers(&self) -> Answers {
        self.answers.clone()
    }
}

fn integers(columns: &[&Vec<i64>]) -> Vec<ArrayRef> {
    let column = |values: &&Vec<i64>| Arc::new(Int64Array::from((*values).clone())) as ArrayRef;
    columns.iter().map(column).collect()
}

fn batch(schema: &Arc<Schema>, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(schema.clone(), columns).expect("the columns are those of the table")
}
