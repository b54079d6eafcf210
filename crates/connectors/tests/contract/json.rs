//! JSON in: shapes, flavours, names, defaults, errors with their places.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use highwater_connectors::decode::decoder;
use highwater_types::relation::SqlType::*;
use serde_json::{Value, json};

use crate::support::*;

#[track_caller]
fn check(
    table: &Arc<highwater_connectors::table::InputTable>,
    config: Value,
    text: &str,
    rows: &[&str],
    errors: &[&str],
) {
    let outcome = decode(&format("json", config), table, text.as_bytes());
    let messages: Vec<_> = outcome
        .errors
        .first
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(show(&outcome.changes), rows, "errors: {messages:#?}");
    assert_eq!(messages, errors);
    assert_eq!(outcome.errors.total as usize, errors.len());
}

fn small() -> Arc<highwater_connectors::table::InputTable> {
    table(
        &[("id", required(sql(Integer))), ("name", sql(Varchar))],
        &[],
    )
}

fn keyed() -> Arc<highwater_connectors::table::InputTable> {
    table(
        &[
            ("id", sql(Integer)),
            ("name", required(sql(Varchar))),
            ("n", sql(BigInt)),
        ],
        &["id"],
    )
}

#[test]
fn raw_rows_are_objects_or_arrays() {
    let raw = json!({"update_format": "raw"});
    check(
        &small(),
        raw.clone(),
        "{\"id\": 1, \"name\": \"a\"}\n{\"ID\": 2}\n[3, null]\n{\"id\":4}{\"name\":\"x\",\"id\":5}",
        &[
            r#"+1 {"id":1,"name":"a"}"#,
            r#"+1 {"id":2,"name":null}"#,
            r#"+1 {"id":3,"name":null}"#,
            r#"+1 {"id":4,"name":null}"#,
            r#"+1 {"id":5,"name":"x"}"#,
        ],
        &[],
    );
    // The last value of a name counts.
    check(
        &small(),
        raw,
        r#"{"id": 1, "id": 2}"#,
        &[r#"+1 {"id":2,"name":null}"#],
        &[],
    );
}

#[test]
fn bad_rows_are_told_and_good_ones_stay() {
    check(
        &small(),
        json!({"update_format": "raw"}),
        "{\"id\": 1}\n{\"id\": \"x\"}\n\n{\"name\": \"a\"}\n{\"id\": null}\n{\"id\": 2\n{\"id\": 3}\n\
         {\"id\": 1, \"nam\": 2}\n{\"id\": 99999999999}\n{\"id\": 1.5}\n[1]\n7\n{\"id\": 4}",
        &[
            r#"+1 {"id":1,"name":null}"#,
            r#"+1 {"id":3,"name":null}"#,
            r#"+1 {"id":4,"name":null}"#,
        ],
        &[
            "record 2 (line 2), column `id`: a string, where an integer is expected: `x`",
            "record 3 (line 4), column `id`: missing, but NOT NULL",
            "record 4 (line 5), column `id`: NULL, but NOT NULL",
            "record 5 (line 6): invalid JSON: EOF while parsing an object at line 2 column 0 of it: `{\"id\": 2\n`",
            "record 7 (line 8): table `t` has no column `nam`",
            "record 8 (line 9), column `id`: out of range of the integer type: `99999999999`",
            "record 9 (line 10), column `id`: a number with a fraction or too many digits, where an integer is expected: `1.5`",
            "record 10 (line 11): the row has 1 values, the table 2 columns",
            "record 11 (line 12): invalid type: integer `7`, expected a row: an object, or an array of all columns at byte 1 of it: `7`",
        ],
    );
}

#[test]
fn insert_delete_and_update() {
    check(
        &keyed(),
        json!({}),
        r#"{"insert": {"id": 1, "name": "a", "n": 5}}
           {"delete": {"id": 1}}
           {"delete": {"name": "a"}}
           {"insert": {"id": 2}}
           {"upsert": {"id": 2}}
           {}
           {"delete": [3, "x", 1]}"#,
        &[
            r#"+1 {"id":1,"name":"a","n":5}"#,
            r#"-1 {"id":1,"name":null,"n":null}"#,
            r#"-1 {"id":3,"name":"x","n":1}"#,
        ],
        &[
            "record 3 (line 3), column `id`: missing, but NOT NULL",
            "record 4 (line 4), column `name`: missing, but NOT NULL",
            "record 5 (line 5): `upsert` is none of `insert`, `delete`, `update`",
            "record 6 (line 6): not exactly one of `insert`, `delete`, `update`",
        ],
    );
    let updates = br#"{"insert": [1, "a", 2]}{"update": {"id": 1, "n": null}}{"update": {"n": 1}}"#;
    let outcome = decode(&format("json", json!({})), &keyed(), updates);
    let partial = outcome.changes.partial.unwrap();
    assert_eq!(partial.is_update.iter().collect::<Vec<_>>(), [false, true]);
    let is_set: Vec<Vec<bool>> = partial
        .is_set
        .iter()
        .map(|set| set.iter().collect())
        .collect();
    assert_eq!(is_set, [[false, true], [false, false], [false, true]]);
    assert_eq!(outcome.errors.total, 1);
    check(
        &small(),
        json!({}),
        r#"{"update": {"id": 1}}"#,
        &[],
        &["record 1 (line 1): `update` needs a table with a primary key"],
    );
}

#[test]
fn weighted_and_debezium() {
    check(
        &small(),
        json!({"update_format": "weighted"}),
        r#"{"weight": 2, "data": {"id": 1}} {"data": {"id": 1}, "weight": -3}
           {"weight": 0, "data": {"id": 1}} {"weight": 1} {"weight": 1.5, "data": {"id": 1}}"#,
        &[r#"+2 {"id":1,"name":null}"#, r#"-3 {"id":1,"name":null}"#],
        &[
            "record 4 (line 2): a weighted update needs `weight` and `data`",
            "record 5 (line 2): invalid type: floating point `1.5`, expected i64 at byte 14 of it: `{\"weight\": 1.5, \"data\": {\"id\": 1}}`",
        ],
    );
    check(
        &small(),
        json!({"update_format": "debezium"}),
        r#"{"schema": {}, "payload": {"op": "c", "before": null, "after": {"id": 1}, "ts_ms": 1}}
           {"payload": {"op": "u", "after": [2, "b"], "before": {"id": 1}}}
           {"payload": {"op": "d", "before": {"id": 2, "name": "b"}, "after": null}}
           null
           {"payload": {"op": "u", "before": {"id": 7}, "after": {"id": "x"}}}
           {"payload": {"op": "d", "before": null}}
           {"payload": {"op": "x"}}
           {"op": "c", "after": {"id": 9}}
           {"before": null}"#,
        &[
            r#"+1 {"id":1,"name":null}"#,
            r#"-1 {"id":1,"name":null}"#,
            r#"+1 {"id":2,"name":"b"}"#,
            r#"-1 {"id":2,"name":"b"}"#,
            r#"+1 {"id":9,"name":null}"#,
        ],
        &[
            "record 5 (line 5), column `id`: a string, where an integer is expected: `x`",
            "record 6 (line 6): `op` d needs `before`",
            "record 7 (line 7): `op` is `x`, not c, r, u or d",
            "record 9 (line 9): a debezium event needs `payload` or `op`",
        ],
    );
}

#[test]
fn a_bad_element_drops_its_array_only() {
    check(
        &small(),
        json!({"update_format": "raw", "array": true}),
        "[{\"id\": 1}, {\"id\": 2}]\n[{\"id\": 3}, {\"id\": true}]\n[\n{\"id\": 4}\n]\n[]\n{\"id\": 5}",
        &[
            r#"+1 {"id":1,"name":null}"#,
            r#"+1 {"id":2,"name":null}"#,
            r#"+1 {"id":4,"name":null}"#,
        ],
        &[
            "record 2 (line 2), column `id`: element 2 of the array: a boolean, where an integer is expected: `true`",
            "record 5 (line 7): invalid type: map, expected an array of updates, as `array` is true at byte 0 of it: `{\"id\": 5}`",
        ],
    );
}

#[test]
fn names_fold_unless_quoted() {
    let table = table(&[("δθ", sql(Integer)), ("\"Ab\"", sql(Integer))], &[]);
    let raw = json!({"update_format": "raw"});
    check(
        &table,
        raw.clone(),
        r#"{"ΔΘ": 1, "Ab": 2}"#,
        &[r#"+1 {"δθ":1,"Ab":2}"#],
        &[],
    );
    check(
        &table,
        raw,
        r#"{"ab": 2}"#,
        &[],
        &["record 1 (line 1): table `t` has no column `ab`"],
    );
    let lenient = json!({"update_format": "raw", "unknown_columns": "ignore"});
    check(
        &table,
        lenient,
        r#"{"x": {"y": [1]}, "Ab": 2, "z": 1}"#,
        &[r#"+1 {"δθ":null,"Ab":2}"#],
        &[],
    );
}

#[test]
fn missing_columns_take_their_default() {
    let seven: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    let columns = [("id", sql(Integer)), ("n", required(sql(Integer)))];
    let table = table_with_defaults(&columns, &[], vec![None, Some(seven)]);
    check(
        &table,
        json!({"update_format": "raw"}),
        r#"{"id": 1} {"id": 2, "n": 3} {"id": 3, "n": null}"#,
        &[r#"+1 {"id":1,"n":7}"#, r#"+1 {"id":2,"n":3}"#],
        &["record 3 (line 1), column `n`: NULL, but NOT NULL"],
    );
}

#[test]
fn digits_are_kept() {
    let table = table(
        &[
            ("u", sql(UBigInt)),
            ("d", decimal(38, 2)),
            ("f", sql(Double)),
            ("r", sql(Real)),
        ],
        &[],
    );
    check(
        &table,
        json!({"update_format": "raw"}),
        r#"{"u": 18446744073709551615, "d": 123456789012345678901234567890123456.78, "f": 0.1, "r": 16777217}
           {"u": 1.0, "d": "1e2", "f": "-Infinity", "r": "NaN"}
           {"f": 2.2250738585072011e-308, "d": -0.005}
           {"f": 1e999}
           {"d": 1e40}"#,
        &[
            r#"+1 {"u":18446744073709551615,"d":"123456789012345678901234567890123456.78","f":0.1,"r":16777216.0}"#,
            r#"+1 {"u":1,"d":"100.00","f":"-Infinity","r":"NaN"}"#,
            r#"+1 {"u":null,"d":"-0.01","f":2.225073858507201e-308,"r":null}"#,
        ],
        &[
            "record 4 (line 4), column `f`: out of range of the floating point type: `1e999`",
            "record 5 (line 5), column `d`: out of range of DECIMAL(38, 2): `1e40`",
        ],
    );
}

#[test]
fn flavors_read_what_their_producers_write() {
    let columns = [
        ("ts", sql(Timestamp)),
        ("d", sql(Date)),
        ("t", sql(Time)),
        ("b", sql(Boolean)),
        ("x", sql(Varbinary)),
    ];
    let table = table(&columns, &[]);
    let config = |flavor: &str| json!({"update_format": "raw", "json_flavor": flavor});
    check(
        &table,
        config("pandas"),
        r#"{"ts": 1500, "d": "2024-01-02", "t": "01:02:03"} {"d": 3}"#,
        &[
            r#"+1 {"ts":"1970-01-01 00:00:01.500000","d":"2024-01-02","t":"01:02:03","b":null,"x":null}"#,
        ],
        &["record 2 (line 1), column `d`: a number, where a date string is expected: `3`"],
    );
    check(
        &table,
        config("debezium_mysql"),
        r#"{"ts": "1970-01-01T00:00:01Z", "d": 1, "t": 1000001, "b": 1, "x": "AP8="} {"ts": 1}"#,
        &[
            r#"+1 {"ts":"1970-01-01 00:00:01","d":"1970-01-02","t":"00:00:01.000001000","b":true,"x":[0,255]}"#,
            r#"+1 {"ts":"1970-01-01 00:00:00.001000","d":null,"t":null,"b":null,"x":null}"#,
        ],
        &[],
    );
    check(
        &table,
        config("debezium_postgres"),
        r#"{"ts": 1, "b": true}"#,
        &[r#"+1 {"ts":"1970-01-01 00:00:00.000001","d":null,"t":null,"b":true,"x":null}"#],
        &[],
    );
    check(
        &table,
        config("default"),
        r#"{"ts": " 1970-01-01 00:00:01 ", "x": [1, 2]} {"ts": 5} {"x": [256]}"#,
        &[r#"+1 {"ts":"1970-01-01 00:00:01","d":null,"t":null,"b":null,"x":[1,2]}"#],
        &[
            "record 2 (line 1), column `ts`: a number, where a timestamp string is expected: `5`",
            "record 3 (line 1), column `x`: invalid value: integer `256`, expected u8 at byte 10 of it: `{\"x\": [256]}`",
        ],
    );
}

#[test]
fn nested_values() {
    let columns = [
        ("m", map(sql(Varchar), sql(Integer))),
        (
            "r",
            row(&[("x", required(sql(Integer))), ("y", sql(Varchar))]),
        ),
        ("l", array(sql(Integer))),
    ];
    check(
        &table(&columns, &[]),
        json!({"update_format": "raw"}),
        r#"{"m": {"b": 1, "a": null, "b": 2}, "r": {"Y": "q", "x": 1}, "l": [1, null]}
           {"m": {}, "r": [3, null], "l": []}
           {"l": [1, "x"]}
           {"r": {"y": "x"}}
           {"r": null, "l": null, "m": null}"#,
        &[
            r#"+1 {"m":{"a":null,"b":2},"r":{"x":1,"y":"q"},"l":[1,null]}"#,
            r#"+1 {"m":{},"r":{"x":3,"y":null},"l":[]}"#,
            r#"+1 {"m":null,"r":null,"l":null}"#,
        ],
        &[
            "record 3 (line 3), column `l`: a string, where an integer is expected: `x`",
            "record 4 (line 4), column `r`: NULL inside a value where the type is NOT NULL",
        ],
    );
}

#[test]
fn a_byte_order_mark_is_no_data() {
    let raw = json!({"update_format": "raw"});
    check(
        &small(),
        raw.clone(),
        "\u{feff}{\"id\": 1}",
        &[r#"+1 {"id":1,"name":null}"#],
        &[],
    );
    check(&small(), raw, "\u{feff}", &[], &[]);
}

#[test]
fn errors_beyond_the_hundredth_are_counted() {
    let text = "{\"id\": true}\n".repeat(250);
    let outcome = decode(
        &format("json", json!({"update_format": "raw"})),
        &small(),
        text.as_bytes(),
    );
    assert_eq!(outcome.errors.total, 250);
    assert_eq!(outcome.errors.first.len(), 100);
    let message = outcome.errors.to_string();
    assert!(message.starts_with("Errors parsing input data (250 errors):\nrecord 1 (line 1)"));
    assert!(message.ends_with("… and 150 more"));
}

#[test]
fn mistakes_in_the_configuration() {
    let check = |config, expected: &str| {
        let error = decoder(&format("json", config), &small(), Default::default())
            .err()
            .unwrap();
        assert!(error.message.contains(expected), "{error}");
    };
    check(
        json!({"updat_format": "raw"}),
        "format `json`: config: unknown field `updat_format`",
    );
    check(
        json!({"update_format": "rw"}),
        "unknown variant `rw`, expected one of `raw`",
    );
    check(
        json!({"json_flavor": "x"}),
        "unknown `json_flavor` `x`; known are `default`, `pandas`",
    );
}
