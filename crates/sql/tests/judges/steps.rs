//! Random steps: inserts, updates, deletes, duplicates, NULLs, NaN, nothing at all.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Int32Type, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use highwater_circuit::table_input::TableInput;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::batch::{ModelTable, batch_of};
use crate::generate::{Kind, Table};

/// A row put into or taken out of a table.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) table: usize,
    pub(crate) row: Vec<ScalarValue>,
    pub(crate) is_insertion: bool,
}

/// The changes of one step, in order.
pub(crate) type Step = Vec<Change>;

/// The model of a table without rows.
pub(crate) fn model(table: &Table) -> ModelTable {
    let fields: Vec<_> = table
        .columns
        .iter()
        .map(|column| Field::new(&column.name, arrow_type(column.kind), true))
        .collect();
    let primary_key = (0..table.key_columns).collect();
    ModelTable {
        name: table.name.clone(),
        schema: Arc::new(Schema::new(fields)),
        primary_key,
        rows: Vec::new(),
    }
}

fn arrow_type(kind: Kind) -> DataType {
    match kind {
        Kind::BigInt => DataType::Int64,
        Kind::Integer => DataType::Int32,
        Kind::Double => DataType::Float64,
        Kind::Decimal => DataType::Decimal128(10, 2),
        Kind::Text => DataType::Utf8,
        Kind::Boolean => DataType::Boolean,
        Kind::Date => DataType::Date32,
        Kind::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        Kind::IntegerArray => DataType::List(Arc::new(Field::new("item", DataType::Int32, true))),
    }
}

/// Draws the steps of a run, and applies them to copies of the models so that deletes find rows.
pub(crate) fn draw(random: &mut ChaCha8Rng, tables: &[Table], count: usize) -> Vec<Step> {
    let mut models: Vec<ModelTable> = tables.iter().map(model).collect();
    let mut steps = Vec::new();
    for _ in 0..count {
        let size = match random.random_range(0..10) {
            0 => 0,
            1..=4 => random.random_range(1..4),
            5..=7 => random.random_range(4..25),
            _ => random.random_range(25..150),
        };
        let mut step = Vec::new();
        for _ in 0..size {
            let table = random.random_range(0..tables.len());
            let change = draw_change(random, table, &tables[table], &models[table]);
            apply(&mut models, &change);
            step.push(change);
        }
        steps.push(step);
    }
    steps
}

fn draw_change(
    random: &mut ChaCha8Rng,
    table: usize,
    definition: &Table,
    model: &ModelTable,
) -> Change {
    let existing = (!model.rows.is_empty())
        .then(|| model.rows[random.random_range(0..model.rows.len())].clone());
    match (existing, random.random_range(0..10)) {
        (Some(row), 0..=3) => Change {
            table,
            row,
            is_insertion: false,
        },
        (Some(row), 4) => Change {
            table,
            row,
            is_insertion: true,
        },
        // An update: of a table with a key by one insertion, else as a change of one column of a new row.
        (Some(mut row), 5) => {
            let column = random.random_range(definition.key_columns..definition.columns.len());
            row[column] = value(random, definition.columns[column].kind, true);
            Change {
                table,
                row,
                is_insertion: true,
            }
        }
        _ => {
            let cell = |(index, column): (usize, &crate::generate::Column)| {
                value(random, column.kind, index >= definition.key_columns)
            };
            let row = definition.columns.iter().enumerate().map(cell).collect();
            Change {
                table,
                row,
                is_insertion: true,
            }
        }
    }
}

fn value(random: &mut ChaCha8Rng, kind: Kind, nullable: bool) -> ScalarValue {
    if nullable && random.random_bool(0.15) {
        return ScalarValue::try_from(&arrow_type(kind)).expect("a NULL of the type");
    }
    let small = random.random_range(-4_i64..9);
    match kind {
        Kind::BigInt => ScalarValue::Int64(Some(small)),
        Kind::Integer => ScalarValue::Int32(Some(i32::try_from(small).expect("small"))),
        Kind::Double => ScalarValue::Float64(Some(match random.random_range(0..40) {
            0 => -0.0,
            1 => f64::NAN,
            2 => f64::INFINITY,
            _ => f64::from(i32::try_from(small).expect("small")) / 4.0,
        })),
        Kind::Decimal => ScalarValue::Decimal128(Some(i128::from(small) * 125), 10, 2),
        Kind::Text => {
            let words = ["", "a", "b", "ab", "Ba", "x y", "ünï", "'"];
            ScalarValue::Utf8(Some(words[random.random_range(0..words.len())].to_owned()))
        }
        Kind::Boolean => ScalarValue::Boolean(Some(small > 2)),
        Kind::Date => ScalarValue::Date32(Some(19_770 + i32::try_from(small).expect("small") * 9)),
        Kind::Timestamp => {
            ScalarValue::TimestampMicrosecond(Some((19_770 + small) * 86_400_000_000 + small), None)
        }
        Kind::IntegerArray => {
            let items = (0..random.random_range(0..4)).map(|item| (item != 2).then_some(item));
            let list = arrow::array::ListArray::from_iter_primitive::<Int32Type, _, _>([Some(
                items.collect::<Vec<_>>(),
            )]);
            ScalarValue::List(Arc::new(list))
        }
    }
}

/// Applies a change as the table's definition says; false if it deletes a row that is not there.
pub(crate) fn apply(models: &mut [ModelTable], change: &Change) -> bool {
    let model = &mut models[change.table];
    let same = |row: &[ScalarValue]| match &model.primary_key[..] {
        [] => row == change.row,
        key => key.iter().all(|&column| row[column] == change.row[column]),
    };
    let position = model.rows.iter().position(|row| same(row));
    let replaces = !model.primary_key.is_empty();
    if let Some(position) = position
        && (replaces || !change.is_insertion)
    {
        model.rows.remove(position);
    }
    if change.is_insertion {
        model.rows.push(change.row.clone());
    }
    change.is_insertion || position.is_some()
}

/// Applies a step to the models and returns it as inputs of the engine, one per table.
///
/// A bag must not be asked to delete a row that it does not have (a shrunk case may); a table with
/// primary key ignores that itself.
pub(crate) fn run(models: &mut [ModelTable], step: &Step) -> Vec<(usize, TableInput)> {
    let mut changes: Vec<Vec<&Change>> = vec![Vec::new(); models.len()];
    for change in step {
        let is_effective = apply(models, change);
        if is_effective || !models[change.table].primary_key.is_empty() {
            changes[change.table].push(change);
        }
    }
    let mut inputs = Vec::new();
    for (table, changes) in changes.into_iter().enumerate() {
        if changes.is_empty() {
            continue;
        }
        let rows: Vec<_> = changes.iter().map(|change| change.row.clone()).collect();
        let weight = |change: &&Change| if change.is_insertion { 1 } else { -1 };
        let weights: Vec<i64> = changes.iter().map(weight).collect();
        let rows = batch_of(&models[table].schema, &rows);
        let input = TableInput {
            rows,
            weights: weights.into(),
            partial: None,
        };
        inputs.push((table, input));
    }
    inputs
}
