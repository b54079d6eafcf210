//! The contract of formats: what is written is read again; where the stream is cut, and where
//! reading goes on after a stop, makes no difference; garbage is an error and never a panic.

use std::sync::Arc;

use arrow::array::RecordBatch;
use highwater_connectors::decode::{Decoded, StreamPosition, decoder};
use highwater_connectors::encode::{OutputRelation, StreamStart, encoder};
use highwater_connectors::table::InputTable;
use highwater_types::connector::FormatConfig;
use highwater_types::relation::SqlType::*;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

/// Random values, in the JSON that stands for them.
fn value(column: &str) -> BoxedStrategy<Value> {
    let text = prop_oneof![any::<String>(), "[a-z,\"\\\\\n\r ]{0,8}"];
    match column {
        "b" => any::<bool>().prop_map(Value::from).boxed(),
        "text" => text.prop_map(Value::from).boxed(),
        "uuid" => any::<u128>()
            .prop_map(|id| json!(uuid::Uuid::from_u128(id).to_string()))
            .boxed(),
        "bytes" => any::<Vec<u8>>().prop_map(Value::from).boxed(),
        "date" | "time" | "ts" | "iv" => time_value(column),
        "list" | "map" | "imap" | "row" => nested_value(column),
        _ => number_value(column),
    }
}

fn number_value(column: &str) -> BoxedStrategy<Value> {
    let number = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let float = move |f: f64| match f {
        f if f.is_nan() => json!("NaN"),
        f if f.is_infinite() => json!(if f > 0.0 { "Infinity" } else { "-Infinity" }),
        f => number(format!("{f:e}")),
    };
    match column {
        "i8" => any::<i8>().prop_map(Value::from).boxed(),
        "i16" => any::<i16>().prop_map(Value::from).boxed(),
        "i32" => any::<i32>().prop_map(Value::from).boxed(),
        "i64" => any::<i64>().prop_map(Value::from).boxed(),
        "u8" => any::<u8>().prop_map(Value::from).boxed(),
        "u16" => any::<u16>().prop_map(Value::from).boxed(),
        "u32" => any::<u32>().prop_map(Value::from).boxed(),
        "u64" => any::<u64>().prop_map(Value::from).boxed(),
        "f32" => any::<f32>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(move |f| number(format!("{f:e}")))
            .boxed(),
        "f64" => any::<f64>().prop_map(float).boxed(),
        "dec" => (any::<i64>(), 0_u64..10_000_000_000)
            .prop_map(|(whole, fraction)| json!(format!("{whole}.{fraction:010}")))
            .boxed(),
        "dec0" => (-99_999_i32..=99_999)
            .prop_map(|n| json!(n.to_string()))
            .boxed(),
        other => unreachable!("{other}"),
    }
}

fn timestamp() -> impl Strategy<Value = Value> {
    (1_i64..3_000_000_000, 0_u32..1_000_000).prop_map(|(seconds, micros)| {
        let time = chrono::DateTime::from_timestamp(seconds * 80 - 60_000_000_000, 0).unwrap();
        json!(format!("{}.{micros:06}", time.format("%Y-%m-%d %H:%M:%S")))
    })
}

fn time_value(column: &str) -> BoxedStrategy<Value> {
    match column {
        "date" => (-700_000_i64..2_900_000)
            .prop_map(|days| {
                let date = chrono::NaiveDate::default() + chrono::TimeDelta::days(days);
                json!(date.format("%Y-%m-%d").to_string())
            })
            .boxed(),
        "time" => (0_u32..86_400, 0_u32..1_000_000_000)
            .prop_map(|(s, nanos)| {
                json!(format!(
                    "{:02}:{:02}:{:02}.{nanos:09}",
                    s / 3600,
                    s / 60 % 60,
                    s % 60
                ))
            })
            .boxed(),
        "ts" => timestamp().boxed(),
        _ => (-100_i32..100, -400_i32..400, -100_000_i64..100_000)
            .prop_map(|(months, days, ms)| {
                json!(format!(
                    "{months} mons {days} days {} secs",
                    ms as f64 / 1000.0
                ))
            })
            .boxed(),
    }
}

fn nested_value(column: &str) -> BoxedStrategy<Value> {
    use prop::collection::{btree_map, vec};
    use prop::option::of;
    match column {
        "list" => vec(of(vec(of(any::<i32>()), 0..3)), 0..3)
            .prop_map(|list| json!(list))
            .boxed(),
        "map" => btree_map(any::<String>(), of(-9_i32..9), 0..3)
            .prop_map(|map| json!(map))
            .boxed(),
        "imap" => btree_map(any::<i64>(), vec(any::<String>(), 0..2), 0..3)
            .prop_map(|map| json!(map))
            .boxed(),
        _ => (of(any::<i32>()), of(timestamp()))
            .prop_map(|(x, ts)| json!({ "x": x, "Y": ts.map(|ts| vec![ts]) }))
            .boxed(),
    }
}

/// Rows with a value or NULL in every column, as positional JSON rows.
fn rows(columns: &[&str]) -> BoxedStrategy<Vec<Vec<Value>>> {
    let null_or = |column: &&str| prop_oneof![1 => Just(Value::Null), 4 => value(column)].boxed();
    let row: Vec<_> = columns.iter().map(null_or).collect();
    prop::collection::vec(row, 1..6).boxed()
}

fn wide_table() -> Arc<InputTable> {
    table(&all_types(), &[])
}

fn read_rows(table: &Arc<InputTable>, rows: &[Vec<Value>]) -> RecordBatch {
    let lines: Vec<String> = rows.iter().map(|row| json!(row).to_string()).collect();
    let raw = format("json", json!({"update_format": "raw"}));
    let outcome = decode(&raw, table, lines.join("\n").as_bytes());
    assert_eq!(outcome.errors.first, [], "{lines:#?}");
    outcome.changes.rows
}

fn encode_all(format: &FormatConfig, deltas: &[(RecordBatch, Vec<i64>)]) -> Vec<u8> {
    let relation = OutputRelation {
        schema: deltas[0].0.schema(),
        key: Vec::new(),
    };
    let mut encoder = encoder(format, relation, StreamStart::Beginning).unwrap();
    let mut bytes = Vec::new();
    for (rows, weights) in deltas {
        let delta = delta(rows.clone(), weights.clone());
        bytes.extend(encoder.encode(&delta).unwrap().pieces.flatten());
    }
    bytes
}

/// Formats that write weights and read them again, with their two configurations.
fn round_trips() -> Vec<(FormatConfig, FormatConfig)> {
    let json_pair = |config: Value| (format("json", config.clone()), format("json", config));
    vec![
        json_pair(json!({"update_format": "insert_delete"})),
        json_pair(json!({"update_format": "insert_delete", "array": true})),
        json_pair(json!({"update_format": "weighted"})),
        (
            format("arrow_ipc", json!({})),
            format("arrow_ipc", json!({})),
        ),
        (
            format("csv", json!({"headers": true, "null_value": "\u{1}NULL"})),
            format("csv", json!({"headers": true, "null_value": "\u{1}NULL"})),
        ),
    ]
}

/// The changes as a multiset of texts: what must be equal after a round trip.
fn multiset(changes: &highwater_connectors::changes::ParsedChanges) -> Vec<String> {
    let rows = highwater_connectors::encode::json::JsonRows::new(&changes.rows).unwrap();
    let mut all = Vec::new();
    for (row, weight) in changes.weights.iter().enumerate() {
        let mut text = Vec::new();
        rows.write_object(row, &mut text);
        let sign = if *weight > 0 { '+' } else { '-' };
        for _ in 0..weight.unsigned_abs() {
            all.push(format!(
                "{sign}{}",
                String::from_utf8(text.clone()).unwrap()
            ));
        }
    }
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_again(
        rows in rows(&all_types().iter().map(|(name, _)| *name).collect::<Vec<_>>()),
        seed in any::<u64>(),
    ) {
        let table = wide_table();
        let batch = read_rows(&table, &rows);
        // Arrays of weights without 0, and rows that are all different in their first column pair
        // or cancel to something that the multiset shows too.
        let weights: Vec<i64> =
            (0..batch.num_rows()).map(|i| if seed >> i & 1 == 0 { 1 } else { -1 - (i as i64 % 2) }).collect();
        let plain = highwater_connectors::changes::ParsedChanges {
            rows: batch.clone(), weights: weights.clone(), partial: None,
        };
        let expected = multiset(&plain);
        let has_cancelling = {
            let texts = show(&highwater_connectors::changes::ParsedChanges::insertions(batch.clone()));
            let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
            distinct.len() < texts.len()
        };
        prop_assume!(!has_cancelling);
        for (output, input) in round_trips() {
            let bytes = encode_all(&output, &[(batch.clone(), weights.clone())]);
            let outcome = decode(&input, &table, &bytes);
            prop_assert_eq!(&outcome.errors.first, &[], "{}", String::from_utf8_lossy(&bytes));
            prop_assert_eq!(multiset(&outcome.changes), expected.clone(), "{:?}", output);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
        for input in inputs() {
            let pieces = bytes.chunks(cut);
            let _ = decode_pieces(&input, &wide_table(), StreamPosition::default(), pieces, 3);
        }
    }

    #[test]
    fn damage_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for (input, mut bytes) in sample_streams() {
            let place = place.index(bytes.len());
            bytes[place] = byte;
            let _ = decode_pieces(&input, &sample_table(), StreamPosition::default(), [&bytes[..]], 2);
            let _ = decode_pieces(
                &input, &sample_table(), StreamPosition::default(), [&bytes[..place]], 2,
            );
        }
    }
}

fn inputs() -> Vec<FormatConfig> {
    let json_of =
        |shape: &str, array: bool| format("json", json!({"update_format": shape, "array": array}));
    vec![
        json_of("raw", false),
        json_of("raw", true),
        json_of("insert_delete", false),
        json_of("weighted", false),
        json_of("debezium", false),
        format("json", json!({"lines": "single"})),
        format("csv", json!({})),
        format("csv", json!({"headers": true})),
        format("arrow_ipc", json!({})),
        format("parquet", json!({})),
    ]
}

fn sample_table() -> Arc<InputTable> {
    let columns = [
        ("id", required(sql(Integer))),
        ("name", sql(Varchar)),
        ("d", decimal(10, 2)),
    ];
    table(&columns, &[])
}

fn sample_batch() -> RecordBatch {
    let text = "[1,\"a\",\"1.5\"]\n[2,null,null]\n[3,\"ü\\n,\\\"x\",\"-7\"]\n[4,\"d\",\"0\"]\n[5,\"\",\"9\"]";
    decode(
        &format("json", json!({"update_format": "raw"})),
        &sample_table(),
        text.as_bytes(),
    )
    .changes
    .rows
}

fn parquet_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

fn arrow_file_bytes(batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut bytes, &batch.schema()).unwrap();
    writer.write(&batch.slice(0, 2)).unwrap();
    writer.write(&batch.slice(2, 3)).unwrap();
    writer.finish().unwrap();
    bytes
}

/// Streams with good and (in text) bad records, in every format.
fn sample_streams() -> Vec<(FormatConfig, Vec<u8>)> {
    let raw = "{\"id\": 1, \"name\": \"a\"}\r\n\n{\"id\": \"x\"}\n [2, \"ü\\n,\\\"x\", 1.5]{\"id\":3}\n\
               {\"id\": 4\n{\"id\": 5}\n{\"name\": \"é\n{\"id\":6}  ";
    let arrays = "[{\"id\": 1},\n{\"id\": 2}]\n[[3, null, null], {\"id\": null}] [] [{\"id\": 4}]";
    let batch = sample_batch();
    let deltas = [
        (batch.slice(0, 2), vec![1, 2]),
        (batch.slice(2, 3), vec![-1, 1, 3]),
    ];
    vec![
        (format("json", json!({"update_format": "raw"})), raw.into()),
        (
            format("json", json!({"update_format": "raw", "lines": "single"})),
            raw.into(),
        ),
        (
            format("json", json!({"update_format": "raw", "array": true})),
            arrays.into(),
        ),
        (
            format("json", json!({"update_format": "weighted"})),
            encode_all(
                &format("json", json!({"update_format": "weighted"})),
                &deltas,
            ),
        ),
        (
            format("csv", json!({})),
            "1,a,1.5\r\n\r\n2,\"x\"\"\r\ny\",\nx,b,\n3,ü,2\n4\n5,\"unclosed,\n".into(),
        ),
        (
            format("csv", json!({"headers": true})),
            "\u{feff}name,id\na,1\n\nb,x\r\nc,3".into(),
        ),
        (
            format("arrow_ipc", json!({})),
            encode_all(&format("arrow_ipc", json!({})), &deltas),
        ),
        (format("arrow_ipc", json!({})), arrow_file_bytes(&batch)),
        (format("parquet", json!({})), parquet_bytes(&batch)),
    ]
}

fn whole(input: &FormatConfig, bytes: &[u8], records_max: usize) -> Vec<Decoded> {
    let table = sample_table();
    decode_pieces(
        input,
        &table,
        StreamPosition::default(),
        [bytes],
        records_max,
    )
    .unwrap()
}

#[test]
fn where_the_stream_is_cut_makes_no_difference() {
    let table = sample_table();
    for (input, bytes) in sample_streams() {
        let expected = outcome(&table, &whole(&input, &bytes, 1000));
        assert!(expected.changes.len() >= 2, "{input:?}");
        for cut in 0..=bytes.len() {
            let pieces = [&bytes[..cut], &bytes[cut..]];
            let decoded =
                decode_pieces(&input, &table, StreamPosition::default(), pieces, 1000).unwrap();
            assert_eq!(
                outcome(&table, &decoded),
                expected,
                "cut at {cut}: {input:?}"
            );
        }
        for size in [1, 2, 3, 7] {
            let pieces = bytes.chunks(size);
            let decoded =
                decode_pieces(&input, &table, StreamPosition::default(), pieces, 1).unwrap();
            assert_eq!(
                outcome(&table, &decoded),
                expected,
                "pieces of {size}: {input:?}"
            );
        }
    }
}

#[test]
fn reading_goes_on_from_every_position() {
    let table = sample_table();
    for (input, bytes) in sample_streams() {
        let pieces = whole(&input, &bytes, 1);
        let expected = outcome(&table, &pieces);
        assert!(pieces.len() > 2, "{input:?}");
        for stop in 0..pieces.len() {
            let position = serde_json::to_value(&pieces[stop].position).unwrap();
            let position: StreamPosition = serde_json::from_value(position).unwrap();
            let rest = &bytes[position.offset as usize..];
            let rest = decode_pieces(&input, &table, position, [rest], 2).unwrap();
            let all: Vec<_> = pieces[..=stop].iter().cloned().chain(rest).collect();
            assert_eq!(
                outcome(&table, &all),
                expected,
                "after piece {stop}: {input:?}"
            );
        }
    }
}

#[test]
fn pieces_have_at_most_the_records_that_were_asked_for() {
    for (input, bytes) in sample_streams() {
        let array = input.config.get("array").is_some();
        for piece in whole(&input, &bytes, 2) {
            assert!(array || piece.changes.len() as u64 + piece.errors.total <= 2);
        }
    }
}

#[test]
fn binary_formats_convert_and_check_row_by_row() {
    use arrow::array::{Int64Array, LargeStringArray, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let given = Schema::new(vec![
        Field::new("ID", DataType::Int64, true),
        Field::new("name", DataType::LargeUtf8, true),
        Field::new("d", DataType::Utf8, true),
    ]);
    let ids = Int64Array::from(vec![Some(1), None, Some(1 << 40), Some(4)]);
    let names = LargeStringArray::from(vec![Some("a"), Some("b"), None, None]);
    let decimals = StringArray::from(vec![Some("1.25"), None, None, Some("x")]);
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(ids), Arc::new(names), Arc::new(decimals)];
    let batch = RecordBatch::try_new(Arc::new(given), columns).unwrap();
    let mut stream = Vec::new();
    let mut writer =
        arrow::ipc::writer::StreamWriter::try_new(&mut stream, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    for (name, bytes) in [("parquet", parquet_bytes(&batch)), ("arrow_ipc", stream)] {
        let outcome = decode(&format(name, json!({})), &sample_table(), &bytes);
        assert_eq!(
            show(&outcome.changes),
            [r#"+1 {"id":1,"name":"a","d":"1.25"}"#]
        );
        let messages: Vec<_> = outcome
            .errors
            .first
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "record 2, column `id`: NULL, but NOT NULL",
                "record 3, column `id`: does not fit Int32: `1099511627776`",
                "record 4, column `d`: does not fit Decimal128(10, 2): `x`",
            ]
        );
    }
}

#[test]
fn binary_formats_refuse_what_would_lose_something() {
    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    let failure = |field: Field, column: arrow::array::ArrayRef| {
        let schema = Arc::new(Schema::new(vec![field]));
        let batch = RecordBatch::try_new(schema, vec![column]).unwrap();
        let mut decoder = decoder(
            &format("parquet", json!({})),
            &sample_table(),
            Default::default(),
        )
        .unwrap();
        decoder.push(&parquet_bytes(&batch));
        decoder.finish();
        decoder.next(10).unwrap_err().to_string()
    };
    let float = || Arc::new(Float64Array::from(vec![1.5]));
    let message = failure(Field::new("id", DataType::Float64, true), float());
    assert_eq!(
        message,
        "column `id` holds Float64, which does not convert to Int32"
    );
    let message = failure(Field::new("x", DataType::Float64, true), float());
    assert!(
        message.starts_with("table `t` has no column `x`"),
        "{message}"
    );
    let names = Arc::new(StringArray::from(vec!["a"]));
    let message = failure(Field::new("name", DataType::Utf8, true), names);
    assert_eq!(message, "column `id` is missing, but NOT NULL");
}

#[test]
fn uuids_of_binary_formats_are_canonical() {
    use arrow::array::StringArray;
    let texts = ["67E5504410B1426F9247BB680E5FE0C8", "x"];
    let column: arrow::array::ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let batch = RecordBatch::try_from_iter([("u", column)]).unwrap();
    let table = table(&[("u", sql(Uuid))], &[]);
    let outcome = decode(
        &format("parquet", json!({})),
        &table,
        &parquet_bytes(&batch),
    );
    assert_eq!(
        show(&outcome.changes),
        [r#"+1 {"u":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#]
    );
    assert_eq!(
        outcome.errors.first[0].to_string(),
        "record 2, column `u`: not a UUID: `x`"
    );
}

#[test]
fn deletions_come_first_and_equal_rows_are_one() {
    let columns = [("id", sql(Integer)), ("n", sql(Integer))];
    let raw = format("json", json!({"update_format": "raw"}));
    let text = "[3,1][1,9][2,5][2,5][2,4][1,9][null,0][7,7][8,8][8,8]";
    let rows = decode(&raw, &table(&columns, &[]), text.as_bytes())
        .changes
        .rows;
    let weights = vec![-1, 1, 1, 1, -2, 1, 1, 0, 1, -1];
    let delta = delta(rows, weights);
    let relation = OutputRelation::new(&relation(&columns, &["n"]), schema(&columns));
    assert_eq!(relation.key, [1]);
    let write = |name: &str, config: Value| {
        let mut encoder = encoder(
            &format(name, config),
            relation.clone(),
            StreamStart::Beginning,
        )
        .unwrap();
        let encoded = encoder.encode(&delta).unwrap();
        assert_eq!(encoded.records, 8);
        String::from_utf8(encoded.pieces.flatten().collect()).unwrap()
    };
    assert_eq!(
        write("json", json!({})),
        "{\"delete\":{\"id\":3,\"n\":1}}\n{\"delete\":{\"id\":2,\"n\":4}}\n\
         {\"delete\":{\"id\":2,\"n\":4}}\n{\"insert\":{\"id\":null,\"n\":0}}\n\
         {\"insert\":{\"id\":2,\"n\":5}}\n{\"insert\":{\"id\":2,\"n\":5}}\n\
         {\"insert\":{\"id\":1,\"n\":9}}\n{\"insert\":{\"id\":1,\"n\":9}}\n"
    );
    assert_eq!(
        write("csv", json!({})),
        "3,1,-1\n2,4,-2\n,0,1\n2,5,2\n1,9,2\n"
    );
    assert_eq!(
        write(
            "csv",
            json!({"headers": true, "delimiter": ";", "null_value": "NA"})
        ),
        "id;n;__weight\n3;1;-1\n2;4;-2\nNA;0;1\n2;5;2\n1;9;2\n"
    );
}

#[test]
fn a_large_weight_is_written_in_bounded_pieces() {
    let columns = [("id", sql(Integer))];
    let raw = format("json", json!({"update_format": "raw"}));
    let rows = decode(&raw, &table(&columns, &[]), b"[1]").changes.rows;
    let relation = OutputRelation {
        schema: rows.schema(),
        key: vec![],
    };
    let mut encoder =
        encoder(&format("json", json!({})), relation, StreamStart::Beginning).unwrap();
    let encoded = encoder.encode(&delta(rows, vec![i64::MAX])).unwrap();
    assert_eq!(encoded.records, i64::MAX as u64);
    for piece in encoded.pieces.take(3) {
        assert!(piece.len() < (1 << 20) + 100);
    }
}
