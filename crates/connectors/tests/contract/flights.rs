//! The example's real data, read as its program says, against a plain reading of the files.

use std::io::Read;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int32Type;
use flate2::read::MultiGzDecoder;
use highwater_connectors::input::{Finished, open_input};
use highwater_types::relation::SqlType::*;
use serde_json::json;

use crate::support::*;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/flights/data")
        .join(name)
}

#[test]
fn a_day_of_missing_values_and_all_rows() {
    let integers = [
        "year",
        "month",
        "day",
        "dep_time",
        "sched_dep_time",
        "dep_delay",
        "arr_time",
    ];
    let mut columns: Vec<_> = integers.iter().map(|name| (*name, sql(Integer))).collect();
    columns.extend([
        ("carrier", required(sql(Varchar))),
        ("tailnum", sql(Varchar)),
    ]);
    columns.push(("time_hour", sql(Timestamp)));
    let table = table(&columns, &[]);
    let config = json!({"headers": true, "null_value": "NA", "unknown_columns": "ignore"});
    let path = data("flights.csv.gz");
    let config = connector(
        "file_input",
        json!({ "path": path }),
        Some(format("csv", config)),
    );
    let sink = Collector::default();
    let transport = open_input(&config, &table, None).unwrap();
    assert_eq!(
        transport.run(&sink, &FakeClock::default()).unwrap(),
        Finished::EndOfInput
    );
    let outcome = sink.outcome(&table);
    assert_eq!(outcome.errors.first, []);

    let mut text = String::new();
    let file = std::fs::File::open(&path).unwrap();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').collect();
    let delay = header.iter().position(|name| *name == "dep_delay").unwrap();
    let delays = lines.map(|line| line.split(',').nth(delay).unwrap());
    let expected: Vec<Option<i32>> = delays.map(|text| text.parse().ok()).collect();
    assert!(expected.len() > 10_000 && expected.contains(&None));
    let delays = outcome.changes.rows.column_by_name("dep_delay").unwrap();
    assert_eq!(
        delays
            .as_primitive::<Int32Type>()
            .iter()
            .collect::<Vec<_>>(),
        expected
    );
    let last = sink.chunks().last().unwrap().progress;
    assert_eq!(Some(last.done), last.total);
    assert_eq!(
        outcome
            .changes
            .rows
            .column_by_name("time_hour")
            .unwrap()
            .null_count(),
        0
    );
}
