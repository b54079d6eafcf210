//! What has no circuit is refused, and what has no value stops the step.

use arrow::array::{Array, Int32Array, Int64Array, RecordBatch, StringArray};
use highwater_circuit::plan::OperatorSpec;
use highwater_circuit::table_input::TableInput;
use highwater_zset::RowHasher;
use std::sync::Arc;

use super::{Bench, TABLES, pick, rows_of};
use crate::{CompileOptions, compile};

fn errors_of(query: &str) -> String {
    let text = format!("{TABLES} CREATE VIEW v AS {query};");
    let hasher = RowHasher::new(1);
    match compile(&text, &CompileOptions { hasher }) {
        Ok(_) => panic!("no error: {query}"),
        Err(diagnostics) => diagnostics.iter().map(|one| one.render()).collect(),
    }
}

#[test]
fn unsupported_queries_are_named() {
    for (query, expected) in [
        ("SELECT random() AS r FROM t", "RANDOM"),
        ("SELECT now() AS n FROM t", "NOW"),
    ] {
        let errors = errors_of(query);
        assert!(errors.contains(expected), "{query}: {errors}");
    }
}

/// Feeds `values` into the column `a` of table `n (a BIGINT, b BIGINT)` and returns the error.
fn failure(expression: &str, values: &[(i64, i64)]) -> String {
    let text = format!(
        "CREATE TABLE n (a BIGINT, b BIGINT); CREATE VIEW v AS SELECT {expression} AS e FROM n;"
    );
    let mut bench = Bench::start(&text, 1, 5);
    let rows = RecordBatch::try_new(
        bench.program.tables[0].schema.clone(),
        vec![
            Arc::new(values.iter().map(|(a, _)| *a).collect::<Int64Array>()),
            Arc::new(values.iter().map(|(_, b)| *b).collect::<Int64Array>()),
        ],
    )
    .unwrap();
    match bench.step(vec![(0, TableInput::insertions(rows))]) {
        Ok(()) => panic!("no error: {expression}"),
        Err(error) => error,
    }
}

#[test]
fn overflow_and_division_by_zero_stop_the_step() {
    for (expression, values, expected) in [
        ("a + b", (i64::MAX, 1), "integer overflow in"),
        ("a - b", (i64::MIN, 1), "integer overflow in"),
        ("a * b", (i64::MAX, 2), "integer overflow in"),
        ("a / b", (1, 0), "division by zero in"),
        ("a % b", (1, 0), "division by zero in"),
        ("a / b", (i64::MIN, -1), "integer overflow in"),
        ("-a", (i64::MIN, 0), "overflow in"),
        ("CAST(a AS INT)", (i64::MAX, 0), "Can't cast"),
        ("SUM(a) OVER ()", (i64::MAX, 0), "Int64"),
    ] {
        let error = failure(expression, &[values, values]);
        assert!(error.contains(expected), "{expression}: {error}");
    }
}

#[test]
fn sum_overflow_stops_the_step() {
    let error = failure("SUM(a)", &[(i64::MAX, 0), (1, 0)]);
    assert!(error.contains("overflow"), "{error}");
}

#[test]
fn equal_queries_share_all_operators() {
    let view = "SELECT p.k, SUM(t.c) AS sc FROM t JOIN p ON p.id = t.b GROUP BY p.k";
    let count = |text: &str| {
        let hasher = RowHasher::new(1);
        let program = compile(text, &CompileOptions { hasher }).unwrap();
        program.plan.nodes.len()
    };
    let once = count(&format!("{TABLES} CREATE VIEW v AS {view};"));
    let twice = count(&format!(
        "{TABLES} CREATE VIEW v AS {view}; CREATE VIEW w AS {view};"
    ));
    assert_eq!(once, twice);
}

#[test]
fn a_join_on_a_primary_key_uses_the_table_itself() {
    let text = format!("{TABLES} CREATE VIEW v AS SELECT t.c, p.w FROM t JOIN p ON t.a = p.id;");
    let hasher = RowHasher::new(1);
    let program = compile(&text, &CompileOptions { hasher }).unwrap();
    let join = program
        .plan
        .nodes
        .iter()
        .find(|node| matches!(node.operator, OperatorSpec::Join { .. }))
        .unwrap();
    let right = &program.plan.nodes[join.inputs[1].0];
    assert!(
        matches!(right.operator, OperatorSpec::Table { .. }),
        "{right:?}"
    );
}

#[test]
fn lists_and_structs_unnest() {
    let mut bench = Bench::start(
        "CREATE TABLE l (id INT, items INT ARRAY, pair ROW(x INT, y VARCHAR));
         CREATE VIEW v AS SELECT id, UNNEST(items) AS item FROM l;
         CREATE VIEW w AS SELECT id, UNNEST(pair) FROM l;",
        1,
        6,
    );
    let schema = bench.program.tables[0].schema.clone();
    let items =
        arrow::array::ListArray::from_iter_primitive::<arrow::datatypes::Int32Type, _, _>([
            Some(vec![Some(1), None]),
            Some(vec![]),
            None,
        ]);
    let items = arrow::compute::cast(&items, schema.field(1).data_type()).unwrap();
    let x = Arc::new(Int32Array::from(vec![Some(1), Some(2), Some(3)])) as _;
    let y = Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])) as _;
    let arrow::datatypes::DataType::Struct(fields) = schema.field(2).data_type() else {
        panic!("a ROW is a struct");
    };
    let nulls = vec![true, true, false].into();
    let pair = arrow::array::StructArray::new(fields.clone(), vec![x, y], Some(nulls));
    let ids = Int32Array::from(vec![10, 20, 30]);
    let rows =
        RecordBatch::try_new(schema.clone(), vec![Arc::new(ids), items, Arc::new(pair)]).unwrap();
    let all = rows_of(std::slice::from_ref(&rows), &schema);
    bench.step(vec![(0, TableInput::insertions(all))]).unwrap();
    let texts = |bag: &super::Bag| -> Vec<String> { bag.keys().map(|row| row.join(" ")).collect() };
    assert_eq!(texts(&bench.views[0]), ["10 1", "10 NULL"]);
    assert_eq!(
        texts(&bench.views[1]),
        ["10 1 a", "20 2 NULL", "30 NULL NULL"]
    );
    let first = pick(&rows, &[0]);
    assert_eq!(first.column(0).len(), 1);
    bench.step(vec![(0, TableInput::deletions(first))]).unwrap();
    assert!(bench.views[0].is_empty());
}

#[test]
fn long_constants_that_differ_in_the_middle_are_two() {
    let values = |middle: i32| -> String {
        let numbers = (0..40).map(|index| if index == 20 { middle } else { index });
        let rows: Vec<String> = numbers.map(|number| format!("({number})")).collect();
        rows.join(", ")
    };
    let text = format!(
        "CREATE VIEW v AS SELECT * FROM (VALUES {}) AS r (n);
         CREATE VIEW w AS SELECT * FROM (VALUES {}) AS r (n);",
        values(100),
        values(200)
    );
    let mut bench = Bench::start(&text, 1, 7);
    bench.step(Vec::new()).unwrap();
    assert_eq!(bench.views[0].len(), 40);
    assert!(bench.views[0].contains_key(&vec!["100".to_owned()]));
    assert!(bench.views[1].contains_key(&vec!["200".to_owned()]));
}
