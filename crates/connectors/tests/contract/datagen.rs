//! Made-up rows: strategies, limits, rates, and that they can be made again from any place.

use std::sync::Arc;
use std::time::Duration;

use highwater_connectors::clock::Clock;
use highwater_connectors::input::{Closed, Finished, InputEvent, InputSink, open_input};
use highwater_connectors::table::InputTable;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

fn generate(table: &Arc<InputTable>, config: Value, start: Option<Value>) -> Collector {
    generate_in_batches(table, config, start, 10_000)
}

fn generate_in_batches(
    table: &Arc<InputTable>,
    config: Value,
    start: Option<Value>,
    batch_rows: u64,
) -> Collector {
    let sink = Collector::default();
    let mut config = connector("datagen", config, None);
    config.max_batch_size = Some(batch_rows);
    let transport = open_input(&config, table, start).unwrap();
    assert_eq!(
        transport.run(&sink, &FakeClock::default()).unwrap(),
        Finished::EndOfInput
    );
    assert!(sink.ended());
    sink
}

fn rows(table: &Arc<InputTable>, config: Value) -> Vec<String> {
    show(&generate(table, config, None).outcome(table).changes)
}

#[test]
fn increments_count_from_zero() {
    let table = table(&[("c1", sql(Integer))], &[]);
    let sink = generate(&table, json!({"plan": [{"limit": 5}]}), None);
    let chunks = sink.chunks();
    assert_eq!(chunks.iter().map(|chunk| chunk.bytes).sum::<u64>(), 40);
    assert_eq!(chunks.last().unwrap().progress.done, 5);
    assert_eq!(chunks.last().unwrap().progress.total, Some(5));
    let expected: Vec<_> = (0..5).map(|i| format!("+1 {{\"c1\":{i}}}")).collect();
    assert_eq!(show(&sink.outcome(&table).changes), expected);
}

#[test]
fn increments_of_every_type() {
    let table = table(&all_types()[..19], &[]);
    assert_eq!(
        rows(&table, json!({"plan": [{"limit": 2}]})),
        [
            r#"+1 {"b":false,"i8":0,"i16":0,"i32":0,"i64":0,"u8":0,"u16":0,"u32":0,"u64":0,"f32":0.0,"f64":0.0,"dec":"0.0000000000","dec0":"0","text":"0","uuid":"00000000-0000-0000-0000-000000000000","bytes":[0,0,0,0,0,0,0,0],"date":"1970-01-01","time":"00:00:00","ts":"1970-01-01 00:00:00"}"#,
            r#"+1 {"b":true,"i8":1,"i16":1,"i32":1,"i64":1,"u8":1,"u16":1,"u32":1,"u64":1,"f32":1.0,"f64":1.0,"dec":"1.0000000000","dec0":"1","text":"1","uuid":"00000000-0000-0000-0000-000000000001","bytes":[0,0,0,0,0,0,0,1],"date":"1970-01-02","time":"00:00:00.001000000","ts":"1970-01-01 00:00:00.001000"}"#,
        ]
    );
}

#[test]
fn ranges_scales_values_and_plans() {
    let columns = [
        ("id", sql(Integer)),
        ("t", sql(Timestamp)),
        ("w", sql(Varchar)),
        ("d", decimal(8, 2)),
    ];
    let table = table(&columns, &[]);
    let fields = json!({
        "ID": {"range": [3, 5], "scale": 10},
        "t": {"range": ["2024-01-01T00:00:00Z", "2024-01-02 00:00:00"], "scale": 1},
        "w": {"values": ["a", null, "b"]},
        "d": {"range": [1.5, 3.5], "scale": 0.5},
    });
    assert_eq!(
        rows(
            &table,
            json!({"plan": [{"limit": 3, "fields": fields}, {"limit": 1}]})
        ),
        [
            r#"+1 {"id":30,"t":"2024-01-01 00:00:00","w":"a","d":"0.75"}"#,
            r#"+1 {"id":40,"t":"2024-01-01 00:00:00.001000","w":null,"d":"1.25"}"#,
            r#"+1 {"id":30,"t":"2024-01-01 00:00:00.002000","w":"b","d":"0.75"}"#,
            r#"+1 {"id":0,"t":"1970-01-01 00:00:00","w":"0","d":"0.00"}"#,
        ]
    );
}

fn random_plan() -> Value {
    json!({"seed": 7, "plan": [{"limit": 12_345, "fields": {
        "i32": {"strategy": "uniform", "range": [-5, 5], "null_percentage": 20},
        "i64": {"strategy": "uniform"},
        "u64": {"strategy": "zipf", "range": [1, 1000], "e": 1.2},
        "f64": {"strategy": "uniform", "range": [10, 20]},
        "dec": {"strategy": "uniform", "range": [0, 100]},
        "text": {"strategy": "city_name"},
        "uuid": {"strategy": "uniform"},
        "bytes": {"strategy": "uniform", "range": [1, 4]},
        "date": {"strategy": "uniform", "range": ["2024-01-01", "2024-02-01"]},
        "time": {"strategy": "uniform"},
        "ts": {"strategy": "zipf"},
        "list": {"strategy": "uniform", "range": [0, 3],
                 "value": {"range": [1, 2], "value": {"strategy": "uniform", "range": [0, 9]}}},
        "map": {"strategy": "uniform", "key": {"strategy": "word"}},
        "imap": {"key": {"strategy": "uniform", "range": [0, 3]}},
        "row": {"fields": {"x": {"strategy": "uniform", "null_percentage": 50}}},
    }}, {"limit": 3}]})
}

fn random_table() -> Arc<InputTable> {
    let columns: Vec<_> = all_types()
        .into_iter()
        .filter(|(name, _)| *name != "iv")
        .collect();
    table(&columns, &[])
}

#[test]
fn the_same_seed_gives_the_same_rows_in_any_batches_from_any_place() {
    let table = random_table();
    let all = generate(&table, random_plan(), None);
    let expected = all.outcome(&table);
    assert_eq!(expected.changes.len(), 12_348);
    let small_batches = generate_in_batches(&table, random_plan(), None, 1_700);
    assert_eq!(small_batches.outcome(&table), expected);
    let chunks = small_batches.chunks();
    let mut done = 0;
    for chunk in &chunks {
        done += chunk.changes.len();
        let rest = generate(&table, random_plan(), Some(chunk.position.clone()));
        let tail = expected.changes.slice(done, expected.changes.len() - done);
        assert_eq!(
            rest.outcome(&table).changes,
            tail,
            "from {}",
            chunk.position
        );
    }
    let mut other = random_plan();
    other["seed"] = json!(8);
    assert_ne!(generate(&table, other, None).outcome(&table), expected);
}

#[test]
fn random_values_are_what_was_asked_for() {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Decimal128Type, Int32Type, UInt64Type};
    let table = random_table();
    let changes = generate(&table, random_plan(), None)
        .outcome(&table)
        .changes
        .slice(0, 12_345);
    let column = |name: &str| changes.rows.column_by_name(name).unwrap();
    let small = column("i32").as_primitive::<Int32Type>();
    let nulls = small.null_count() as f64 / 12_345.0;
    assert!((0.18..0.22).contains(&nulls), "{nulls}");
    for value in -5..5 {
        let share = small.iter().flatten().filter(|v| *v == value).count() as f64 / 12_345.0;
        assert!((0.07..0.09).contains(&share), "{value}: {share}");
    }
    assert!(small.iter().flatten().all(|value| (-5..5).contains(&value)));
    let zipf = column("u64").as_primitive::<UInt64Type>();
    let count = |value| zipf.iter().flatten().filter(|v| *v == value).count() as f64;
    let ratio = count(1) / count(4);
    assert!((4.3..6.5).contains(&ratio), "1 / 4^-1.2 is 5.3: {ratio}");
    let decimals = column("dec").as_primitive::<Decimal128Type>();
    assert!(
        decimals
            .iter()
            .flatten()
            .any(|value| value % 10_000_000_000 != 0)
    );
    assert!(
        decimals
            .iter()
            .flatten()
            .all(|value| (0..1_000_000_000_000).contains(&value))
    );
}

/// Notes when rows come, and stops after some.
struct Stopwatch<'a> {
    clock: &'a FakeClock,
    arrivals: std::sync::Mutex<Vec<(Duration, usize)>>,
    rows: usize,
}

impl InputSink for Stopwatch<'_> {
    fn push(&self, event: InputEvent) -> Result<(), Closed> {
        let InputEvent::Changes(chunk) = event else {
            return Ok(());
        };
        self.arrivals
            .lock()
            .unwrap()
            .push((self.clock.now(), chunk.changes.len()));
        Ok(())
    }

    fn should_stop(&self) -> bool {
        self.arrivals
            .lock()
            .unwrap()
            .iter()
            .map(|(_, rows)| rows)
            .sum::<usize>()
            >= self.rows
    }

    fn is_paused(&self) -> bool {
        false
    }
}

#[test]
fn a_rate_is_kept() {
    let table = table(&[("c1", sql(Integer))], &[]);
    let config = connector("datagen", json!({"plan": [{"rate": 50}]}), None);
    let clock = FakeClock::default();
    let sink = Stopwatch {
        clock: &clock,
        arrivals: Default::default(),
        rows: 100,
    };
    let finished = open_input(&config, &table, None)
        .unwrap()
        .run(&sink, &clock)
        .unwrap();
    assert_eq!(finished, Finished::Stopped);
    let mut rows = 0;
    for (when, count) in sink.arrivals.lock().unwrap().iter() {
        rows += count;
        let allowed = when.as_secs_f64() * 50.0;
        assert!(
            rows as f64 <= allowed && allowed - rows as f64 <= 2.0,
            "{rows} by {when:?}"
        );
    }
    assert!(rows >= 100);
}

#[test]
fn mistakes_are_named() {
    let columns = [
        ("id", required(sql(TinyInt))),
        ("s", sql(Varchar)),
        ("iv", sql(IntervalYearMonth)),
    ];
    let table = table(&columns[..2], &[]);
    let check = |config: Value, expected: &str| {
        let error = open_input(&connector("datagen", config, None), &table, None)
            .err()
            .unwrap();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let field = |name: &str, plan: Value| json!({"plan": [{"fields": {name: plan}}]});
    check(
        field("x", json!({})),
        "transport `datagen`: plan 0: `fields` names `x`: no such column",
    );
    check(
        field("id", json!({"strategy": "unifrm"})),
        "unknown strategy `unifrm`; known are `increment`",
    );
    check(
        field("id", json!({"strategy": "word"})),
        "column `id`: strategies of words",
    );
    check(field("id", json!({"null_percentage": 1})), "NOT NULL");
    check(field("id", json!({"values": [null]})), "NOT NULL");
    check(
        field("id", json!({"values": ["a"]})),
        "`values`: \"a\": a string",
    );
    check(
        field("id", json!({"range": [0, 200]})),
        "leave the type Int8",
    );
    check(field("id", json!({"range": [5, 5]})), "`range` is empty");
    check(
        field("id", json!({"scale": 0.5})),
        "`scale` does not lead to whole values",
    );
    check(
        field("s", json!({"strategy": "uniform", "range": [-1, 5]})),
        "`range` of lengths",
    );
    check(json!({"plan": [{"rate": 0}]}), "`rate` must be more than 0");
    check(json!({"workers": 0}), "`workers`");
    check(
        json!({"transaction_size": 5}),
        "`transaction_size` is not supported yet",
    );
    check(json!({"plans": []}), "unknown field `plans`");
    let table = crate::support::table(&columns[2..], &[]);
    let error = open_input(&connector("datagen", json!({}), None), &table, None)
        .err()
        .unwrap();
    assert!(error.to_string().contains("cannot be made up"), "{error}");
}
