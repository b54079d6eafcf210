//! How fast text formats are decoded and encoded, and rows made up: `cargo run --release -p highwater-connectors
//! --example decode_rate [rows]`. Rows are orders of a keyed table: id, customer, amount, note, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use arrow::datatypes::{DataType, Field as ArrowField, Schema, TimeUnit};
use highwater_connectors::clock::SystemClock;
use highwater_connectors::decode::{StreamPosition, decoder};
use highwater_connectors::encode::{OutputRelation, StreamStart, encoder};
use highwater_connectors::input::{Closed, InputEvent, InputSink, open_input};
use highwater_connectors::table::InputTable;
use highwater_types::connector::{ConnectorConfig, FormatConfig, TransportConfig};
use highwater_types::relation::{ColumnType, Field, Relation, SqlType};
use highwater_zset::Delta;
use serde_json::json;

const PUSH_BYTES: usize = 256 << 10;

fn orders() -> Arc<InputTable> {
    let columns = [
        ("id", SqlType::BigInt, DataType::Int64),
        ("customer", SqlType::BigInt, DataType::Int64),
        ("amount", SqlType::Decimal, DataType::Decimal128(12, 2)),
        ("note", SqlType::Varchar, DataType::Utf8),
        (
            "placed",
            SqlType::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, None),
        ),
    ];
    let field = |(name, sql_type, _): &(&str, SqlType, DataType)| Field {
        name: (*name).to_owned(),
        case_sensitive: false,
        columntype: ColumnType {
            sql_type: *sql_type,
            nullable: true,
            precision: Some(12),
            scale: Some(2),
            component: None,
            fields: None,
            key: None,
            value: None,
        },
        default: None,
        unused: false,
    };
    let relation = Relation {
        name: "orders".to_owned(),
        case_sensitive: false,
        fields: columns.iter().map(field).collect(),
        materialized: false,
        primary_key: Some(vec!["id".to_owned()]),
        properties: Default::default(),
    };
    let fields = columns.map(|(name, _, data_type)| ArrowField::new(name, data_type, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    InputTable::new(relation, schema, Vec::new()).expect("the table is well formed")
}

/// Decodes the text, prints the rate, and gives the deltas.
fn decode(name: &str, format: &FormatConfig, text: &str) -> Vec<Delta> {
    let start = Instant::now();
    let table = orders();
    let mut decoder = decoder(format, &table, StreamPosition::default()).expect("a known format");
    let (mut rows, mut deltas) = (0, Vec::new());
    let mut pieces = text.as_bytes().chunks(PUSH_BYTES);
    loop {
        match pieces.next() {
            Some(piece) => decoder.push(piece),
            None => decoder.finish(),
        }
        let rows_before = rows;
        while let Some(decoded) = decoder.next(10_000).expect("good input") {
            assert!(decoded.errors.is_empty(), "{}", decoded.errors);
            rows += decoded.changes.len();
            deltas.push(Delta::new(
                decoded.changes.rows,
                decoded.changes.weights.into(),
            ));
        }
        if rows == rows_before && pieces.len() == 0 {
            break;
        }
    }
    report(name, rows, text.len(), start);
    deltas
}

fn report(name: &str, rows: usize, bytes: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let (rows, megabytes) = (rows as f64 / seconds, bytes as f64 / seconds / 1e6);
    println!("{name:<22} {rows:>12.0} rows/s {megabytes:>8.0} MB/s");
}

/// Counts what a transport makes.
#[derive(Default)]
struct Counter {
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

impl InputSink for Counter {
    fn push(&self, event: InputEvent) -> Result<(), Closed> {
        if let InputEvent::Changes(chunk) = event {
            self.rows.fetch_add(chunk.changes.len(), Ordering::Relaxed);
            self.bytes
                .fetch_add(chunk.bytes as usize, Ordering::Relaxed);
        }
        Ok(())
    }

    fn should_stop(&self) -> bool {
        false
    }

    fn is_paused(&self) -> bool {
        false
    }
}

fn generate(rows: usize) {
    let plan = json!({"plan": [{"limit": rows, "fields": {
        "customer": {"strategy": "uniform", "range": [0, 1_000_000]},
        "amount": {"strategy": "uniform", "range": [1, 1000]},
        "note": {"strategy": "word"},
    }}]});
    let transport = TransportConfig {
        name: "datagen".to_owned(),
        config: plan,
    };
    let config = ConnectorConfig::new(transport, None);
    let (start, counter) = (Instant::now(), Counter::default());
    let transport = open_input(&config, &orders(), None).expect("a good plan");
    transport.run(&counter, &SystemClock::new()).expect("rows");
    report(
        "datagen",
        counter.rows.into_inner(),
        counter.bytes.into_inner(),
        start,
    );
}

fn main() {
    let rows: usize = std::env::args()
        .nth(1)
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(1_000_000);
    let line = |i: usize| {
        let (amount, second) = (i * 37 % 100_000, i % 60);
        format!(
            "{{\"id\": {i}, \"customer\": {}, \"amount\": {amount}.25, \"note\": \"order {i}\", \
             \"placed\": \"2024-01-02 03:04:{second:02}\"}}\n",
            i * 7919 % 1_000_000
        )
    };
    let raw: String = (0..rows).map(line).collect();
    let inserts: String = raw
        .lines()
        .map(|row| format!("{{\"insert\": {row}}}\n"))
        .collect();
    let format = |name: &str, config| FormatConfig {
        name: name.to_owned(),
        config,
    };
    let deltas = decode(
        "json raw",
        &format("json", json!({"update_format": "raw"})),
        &raw,
    );
    decode("json insert_delete", &format("json", json!({})), &inserts);
    for name in ["json", "csv"] {
        let relation = OutputRelation {
            schema: deltas[0].schema(),
            key: vec![0],
        };
        let output = format(name, json!({"headers": true}));
        let output = if name == "json" {
            format(name, json!({}))
        } else {
            output
        };
        let mut encoder =
            encoder(&output, relation, StreamStart::Beginning).expect("a known format");
        let (start, mut text) = (Instant::now(), Vec::new());
        for delta in &deltas {
            let encoded = encoder.encode(delta).expect("rows that can be written");
            encoded
                .pieces
                .for_each(|piece| text.extend_from_slice(&piece));
        }
        report(&[name, " written"].concat(), rows, text.len(), start);
        if name == "csv" {
            let text = String::from_utf8(text).expect("CSV is text");
            decode("csv", &output, &text);
        }
    }
    generate(rows);
}
