//! Key by key: what a table's spine holds after steps, with merges and without, and what it says.

use std::sync::Arc;

use arrow::array::{Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::pretty::pretty_format_batches;
use highwater_zset::{MergeService, RowHasher};

use super::Table;
use crate::operators::Flow;
use crate::plan::{NodeIndex, TableDefinition};
use crate::table_input::TableInput;

fn table() -> Table {
    let fields = vec![
        Field::new("key", DataType::Float64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("amount", DataType::Int64, true),
    ];
    let definition = TableDefinition {
        name: "t".to_owned(),
        schema: Arc::new(Schema::new(fields)),
        primary_key: vec![0],
        node: NodeIndex(0),
        contents: None,
    };
    Table::new(&definition, RowHasher::new(1), &MergeService::inline(1))
}

/// Rows `(key, name, amount, weight)`.
fn input(rows: &[(f64, &str, i64, i64)]) -> TableInput {
    let keys: Float64Array = rows.iter().map(|row| Some(row.0)).collect();
    let names: StringArray = rows.iter().map(|row| Some(row.1)).collect();
    let amounts: Int64Array = rows.iter().map(|row| Some(row.2)).collect();
    let fields = vec![
        Field::new("a", DataType::Float64, false),
        Field::new("b", DataType::Utf8, false),
        Field::new("c", DataType::Int64, false),
    ];
    let schema = Arc::new(Schema::new(fields));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(keys), Arc::new(names), Arc::new(amounts)];
    let rows_batch = RecordBatch::try_new(schema, columns).unwrap();
    let weights: Vec<i64> = rows.iter().map(|row| row.3).collect();
    TableInput {
        rows: rows_batch,
        weights: weights.into(),
        partial: None,
    }
}

/// What a step says, as sorted lines `weight | row`.
fn said(flow: &Flow) -> Vec<String> {
    let mut lines = Vec::new();
    for delta in flow.deltas() {
        let text = pretty_format_batches(&[delta.rows().clone()])
            .unwrap()
            .to_string();
        let rows = text.lines().filter(|line| line.starts_with('|')).skip(1);
        for (line, weight) in rows.zip(delta.weights().iter()) {
            let values: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            lines.push(format!("{weight:+} {}", values.join(" ")));
        }
    }
    lines.sort();
    lines
}

fn check(table: &mut Table, rows: &[(f64, &str, i64, i64)], expected: &[&str]) {
    let flow = table.step(&[input(rows)]).unwrap();
    assert_eq!(said(&flow), expected);
}

#[test]
fn upserts_and_deletions() {
    let mut table = table();
    check(
        &mut table,
        &[(1.0, "a", 1, 1), (2.0, "b", 2, 1)],
        &["+1 1.0 a 1", "+1 2.0 b 2"],
    );
    check(&mut table, &[(1.0, "a", 1, 1)], &[]);
    check(
        &mut table,
        &[(1.0, "a", 5, 1), (3.0, "c", 3, 1)],
        &["+1 1.0 a 5", "+1 3.0 c 3", "-1 1.0 a 1"],
    );
    check(
        &mut table,
        &[(2.0, "ignored", 0, -1), (9.0, "absent", 0, -1)],
        &["-1 2.0 b 2"],
    );
    check(
        &mut table,
        &[(1.0, "x", 0, -1), (1.0, "y", 1, 1), (1.0, "z", 2, 1)],
        &["+1 1.0 z 2", "-1 1.0 a 5"],
    );
    check(&mut table, &[(3.0, "c", 4, 1), (3.0, "c", 3, 1)], &[]);
    check(&mut table, &[(4.0, "d", 1, 1), (4.0, "d", 1, -1)], &[]);
    check(&mut table, &[(3.0, "c", 9, 0)], &[]);
}

#[test]
fn zeros_and_nans_are_one_key_each() {
    let mut table = table();
    check(
        &mut table,
        &[(0.0, "zero", 1, 1), (f64::NAN, "nan", 1, 1)],
        &["+1 0.0 zero 1", "+1 NaN nan 1"],
    );
    check(
        &mut table,
        &[(-0.0, "zero", 1, 1), (-f64::NAN, "nan", 1, 1)],
        &[],
    );
    check(
        &mut table,
        &[(-0.0, "minus", 1, 1), (0.0, "plus", 1, 1)],
        &["+1 0.0 plus 1", "-1 0.0 zero 1"],
    );
}

#[test]
fn a_key_changed_in_many_steps_has_one_row() {
    let mut table = table();
    for amount in 0..50 {
        let before = format!("-1 1.0 a {}", amount - 1);
        let after = format!("+1 1.0 a {amount}");
        let expected: &[&str] = if amount == 0 {
            &[&after]
        } else {
            &[&after, &before]
        };
        check(&mut table, &[(1.0, "a", amount, 1)], expected);
    }
}

/// What the table holds, as sorted lines.
fn held(table: &Table) -> Vec<String> {
    let deltas = table.spines()[0].snapshot().scan().unwrap();
    said(&Flow::Delta(deltas))
}

#[test]
fn steps_of_many_keys_leave_what_steps_of_few_leave() {
    let (mut whole, mut in_parts) = (table(), table());
    let mut random = 7_u64;
    let mut next = |below: u64| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (random >> 33) % below
    };
    for step in 0..12 {
        // Keys repeat in some steps only; a fifth of the changes deletes, some rows stay the same.
        let stride = if step % 3 == 2 { 0 } else { 1 };
        let first = next(300);
        let rows: Vec<(f64, &str, i64, i64)> = (0..200)
            .map(|row| {
                let key = first + row * stride + next(2) * (1 - stride) * next(200);
                let weight = if next(5) == 0 { -1 } else { 1 };
                (key as f64, "x", next(3) as i64, weight)
            })
            .collect();
        let before = held(&whole);
        let flow = whole.step(&[input(&rows)]).unwrap();
        for part in rows.chunks(100) {
            in_parts.step(&[input(part)]).unwrap();
        }
        assert_eq!(held(&whole), held(&in_parts), "step {step}");
        let changes = said(&flow);
        let count = |sign: char| changes.iter().filter(|line| line.starts_with(sign)).count();
        assert_eq!(held(&whole).len() + count('-'), before.len() + count('+'));
        assert!(step == 0 || count('-') > 0, "step {step} replaces nothing");
    }
}
