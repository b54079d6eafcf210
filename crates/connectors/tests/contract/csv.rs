//! CSV in: fields, NULLs, headers, errors with their places.

use std::sync::Arc;

use highwater_connectors::decode::{StreamPosition, decoder};
use highwater_connectors::table::InputTable;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

#[track_caller]
fn check(table: &Arc<InputTable>, config: Value, text: &str, rows: &[&str], errors: &[&str]) {
    let outcome = decode(&format("csv", config), table, text.as_bytes());
    let messages: Vec<_> = outcome
        .errors
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(show(&outcome.changes), rows, "errors: {messages:#?}");
    assert_eq!(messages, errors);
}

fn people() -> Arc<InputTable> {
    let columns = [
        ("id", required(sql(Integer))),
        ("name", sql(Varchar)),
        ("ok", sql(Boolean)),
    ];
    table(&columns, &[])
}

#[test]
fn fields_by_position() {
    check(
        &people(),
        json!({}),
        "1,a,true\r\n2,\"x, \"\"y\"\"\nz\",FALSE\n\n3,,\n,b,true\nx,b,true\n4,b\n5, c ,maybe\n 6 ,\"\",",
        &[
            r#"+1 {"id":1,"name":"a","ok":true}"#,
            r#"+1 {"id":2,"name":"x, \"y\"\nz","ok":false}"#,
            r#"+1 {"id":3,"name":null,"ok":null}"#,
            r#"+1 {"id":6,"name":null,"ok":null}"#,
        ],
        &[
            "record 4 (line 6), column `id`: NULL, but NOT NULL",
            "record 5 (line 7), column `id`: not an integer: `x`",
            "record 6 (line 8): 2 fields instead of 3: `4b`",
            "record 7 (line 9), column `ok`: neither true nor false: `maybe`",
        ],
    );
}

#[test]
fn headers_name_the_columns() {
    let headers = json!({"headers": true, "null_value": "NA", "delimiter": ";"});
    check(
        &people(),
        headers,
        "\u{feff}OK;Id\ntrue;1\nNA;2\n;3\n",
        &[
            r#"+1 {"id":1,"name":null,"ok":true}"#,
            r#"+1 {"id":2,"name":null,"ok":null}"#,
            r#"+1 {"id":3,"name":null,"ok":null}"#,
        ],
        &[],
    );
    let failure = |config: Value, text: &str| {
        let mut decoder = decoder(&format("csv", config), &people(), Default::default()).unwrap();
        decoder.push(text.as_bytes());
        decoder.finish();
        decoder.next(10).unwrap_err().to_string()
    };
    let message = failure(json!({"headers": true}), "id,x\n1,2\n");
    assert!(
        message.contains("names `x`, which table `t` does not have"),
        "{message}"
    );
    assert!(failure(json!({"headers": true}), "id,ID\n1,2\n").contains("`ID` twice"));
    let lenient = json!({"headers": true, "unknown_columns": "ignore"});
    check(
        &people(),
        lenient,
        "x,id\n9,1",
        &[r#"+1 {"id":1,"name":null,"ok":null}"#],
        &[],
    );
}

#[test]
fn null_texts_leave_empty_texts_alone() {
    check(
        &people(),
        json!({"null_value": ["NA", "-"]}),
        "1,,\n2,NA,-\n",
        &[
            r#"+1 {"id":1,"name":"","ok":null}"#,
            r#"+1 {"id":2,"name":null,"ok":null}"#,
        ],
        &[],
    );
}

#[test]
fn other_types_are_text() {
    let columns = [
        ("d", decimal(10, 2)),
        ("ts", sql(Timestamp)),
        ("l", array(sql(Integer))),
        ("x", sql(Binary)),
        ("u", sql(Uuid)),
    ];
    check(
        &table(&columns, &[]),
        json!({}),
        "1.005,2024-01-01 00:00:00,\"[1,2]\",\"[255]\",67E55044-10B1-426F-9247-BB680E5FE0C8\n,,[,,\n,,,0xff,\n,,,,1",
        &[
            r#"+1 {"d":"1.01","ts":"2024-01-01 00:00:00","l":[1,2],"x":[255],"u":"67e55044-10b1-426f-9247-bb680e5fe0c8"}"#,
            r#"+1 {"d":null,"ts":null,"l":null,"x":[255],"u":null}"#,
        ],
        &[
            "record 2 (line 2), column `l`: invalid JSON: EOF while parsing a list at byte 1 of it: `[`",
            "record 4 (line 4), column `u`: not a UUID: `1`",
        ],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let outcome = decode(&format("csv", json!({})), &people(), b"1,\xff,\n2,a,\n");
    assert_eq!(
        show(&outcome.changes),
        [r#"+1 {"id":2,"name":"a","ok":null}"#]
    );
    assert!(
        outcome.errors.first[0]
            .to_string()
            .contains("column `name`: not UTF-8")
    );
}

#[test]
fn a_header_survives_in_the_position() {
    let config = format("csv", json!({"headers": true}));
    let text = b"name,id\na,1\nb,2\n";
    let pieces = decode_pieces(
        &config,
        &people(),
        StreamPosition::default(),
        [&text[..]],
        1,
    );
    let pieces = pieces.unwrap();
    let position = pieces[0].position.clone();
    let again: StreamPosition =
        serde_json::from_value(serde_json::to_value(&position).unwrap()).unwrap();
    let rest = &text[again.offset as usize..];
    let rest = decode_pieces(&config, &people(), again, [rest], 10).unwrap();
    assert_eq!(
        show(&outcome(&people(), &rest).changes),
        [r#"+1 {"id":2,"name":"b","ok":null}"#]
    );
    assert_eq!(rest[0].position.lines, 3);
}
