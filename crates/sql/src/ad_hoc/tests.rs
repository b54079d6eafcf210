use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use highwater_zset::{Batch, Delta, Layout, RowHasher, Snapshot};

use super::*;
use crate::program::{CompileOptions, compile};

const PROGRAM: &str = "
    CREATE TABLE t(x INT, s VARCHAR) WITH ('materialized' = 'true');
    CREATE TABLE hidden(x INT);
    CREATE MATERIALIZED VIEW v AS SELECT x FROM t;
    CREATE VIEW plain AS SELECT x FROM t;
    CREATE FUNCTION twice(n INT) RETURNS INT AS n * 2;
";

/// Rows with weights, as the state of two workers.
fn contents(rows: &[(Option<i32>, &str, i64)]) -> Vec<Snapshot> {
    let program = program();
    let schema = &program.tables[0].schema;
    let layout = Layout::all_columns(schema.clone(), RowHasher::new(1));
    let layout = Arc::new(layout);
    let snapshot = |rows: &[(Option<i32>, &str, i64)]| {
        let x: Int32Array = rows.iter().map(|row| row.0).collect();
        let s: StringArray = rows.iter().map(|row| Some(row.1)).collect();
        let columns: Vec<ArrayRef> = vec![Arc::new(x), Arc::new(s)];
        let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns fit");
        let weights: Vec<i64> = rows.iter().map(|row| row.2).collect();
        let batch = Batch::from_delta(&layout, &Delta::new(batch, weights.into()));
        Snapshot::new(layout.clone(), [batch.expect("a batch").into()])
    };
    let (first, second) = rows.split_at(rows.len() / 2);
    vec![snapshot(first), snapshot(second)]
}

fn program() -> Program {
    let options = CompileOptions {
        hasher: RowHasher::new(1),
    };
    compile(PROGRAM, &options).expect("the program is right")
}

fn query(sql: &str) -> QueryResult {
    let rows = [
        (Some(1), "a", 2),
        (Some(2), "b", 1),
        (None, "c", 1),
        (Some(3), "a", 1),
    ];
    let engine = QueryEngine::new(&program());
    let find = |name: &str| (name == "t").then(|| contents(&rows));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(engine.query(sql, &find))
}

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let (_, batches) = query(sql).expect(sql);
    let table = pretty_format_batches(&batches)
        .expect("a table")
        .to_string();
    let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(lines, expected, "{sql}\n{table}");
}

#[track_caller]
fn check_error(sql: &str, kind: QueryErrorKind, part: &str) {
    let error = query(sql).expect_err(sql);
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.message.contains(part), "{error}");
}

#[test]
fn relations_are_queried_without_their_program() {
    let program = program();
    let described = |name: &str, is_materialized| DescribedRelation {
        name: name.to_owned(),
        schema: crate::relation_schema(&program.tables[0].relation),
        is_table: true,
        is_materialized,
    };
    let engine = QueryEngine::for_relations(&[described("t", true), described("hidden", false)]);
    let find = |name: &str| (name == "t").then(|| contents(&[(Some(1), "a", 2), (None, "b", 1)]));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let query = |sql: &str| runtime.block_on(engine.query(sql, &find));
    let (schema, rows) = query("SELECT s, COUNT(*) AS n FROM t GROUP BY s ORDER BY s").unwrap();
    assert_eq!(schema.field(1).name(), "n");
    let rows: usize = rows.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, 2);
    let error = query("SELECT * FROM hidden").unwrap_err();
    assert!(error.message.contains("not materialized"), "{error}");
    assert_eq!(
        query("SELECT * FROM u").unwrap_err().kind,
        QueryErrorKind::Planning
    );
}

#[test]
fn rows_are_repeated_by_weight() {
    check(
        "SELECT x, s FROM t ORDER BY x",
        &[
            "| x | s |",
            "| 1 | a |",
            "| 1 | a |",
            "| 2 | b |",
            "| 3 | a |",
            "|   | c |",
        ],
    );
    check("SELECT COUNT(*) AS n FROM t", &["| n |", "| 5 |"]);
}

#[test]
fn names_functions_and_types_of_the_program_are_known() {
    check(
        "SELECT Twice(X) AS y, CAST(s AS CHAR(2)) || '.' AS z FROM T WHERE x = 2",
        &["| y | z   |", "| 4 | b . |"],
    );
}

#[test]
fn set_operations_count() {
    check(
        "SELECT s FROM t EXCEPT ALL SELECT 'a' ORDER BY s",
        &["| s |", "| a |", "| a |", "| b |", "| c |"],
    );
    check(
        "SELECT s FROM t EXCEPT SELECT 'a' ORDER BY s",
        &["| s |", "| b |", "| c |"],
    );
    check(
        "SELECT x FROM t INTERSECT ALL SELECT * FROM (VALUES (1), (1), (1), (NULL)) AS o ORDER BY 1",
        &["| x |", "| 1 |", "| 1 |", "|   |"],
    );
}

#[test]
fn not_in_has_three_truth_values() {
    check(
        "SELECT COUNT(*) AS n FROM t WHERE x NOT IN (SELECT x FROM t WHERE x IS NULL)",
        &["| n |", "| 0 |"],
    );
    check(
        "SELECT x FROM t WHERE x > 100 OR x NOT IN (SELECT x FROM t WHERE x = 1) ORDER BY x",
        &["| x |", "| 2 |", "| 3 |"],
    );
    check(
        "SELECT DISTINCT x, x IN (SELECT x FROM t WHERE x = 1 OR x IS NULL) AS i FROM t ORDER BY x",
        &[
            "| x | i    |",
            "| 1 | true |",
            "| 2 |      |",
            "| 3 |      |",
            "|   |      |",
        ],
    );
}

#[test]
fn comparisons_with_a_subquery_over_the_same_table() {
    check(
        "SELECT x FROM t WHERE x >= ALL (SELECT x FROM t WHERE x IS NOT NULL)",
        &["| x |", "| 3 |"],
    );
    check(
        "SELECT DISTINCT x FROM t WHERE x < ANY (SELECT x FROM t) ORDER BY x",
        &["| x |", "| 1 |", "| 2 |"],
    );
}

/// Both sides of the join have a column `s`, and the filter is about both.
#[test]
fn a_filter_over_a_join_tells_its_sides_apart() {
    let join = "FROM t AS l RIGHT JOIN t AS r ON l.x = r.x + 10";
    let sql = |filter: &str| format!("SELECT r.x {join} WHERE {filter}");
    check(&sql("r.s = 'z' OR r.s BETWEEN l.s AND 'b'"), &[]);
    check(&sql("r.s = 'b' OR r.s <= l.s"), &["| x |", "| 2 |"]);
}

/// As in views: what no decimal can hold is compared with one.
#[test]
fn decimals_and_doubles_are_doubles() {
    check(
        "SELECT x FROM t WHERE CAST('Infinity' AS DOUBLE) * x > 1.5 AND x > 2.5",
        &["| x |", "| 3 |"],
    );
}

#[test]
fn scalar_subquery_has_one_row() {
    check(
        "SELECT (SELECT x FROM t WHERE s = 'b') AS y",
        &["| y |", "| 2 |"],
    );
    check_error(
        "SELECT (SELECT x FROM t) AS y",
        QueryErrorKind::Runtime,
        "more than one row",
    );
}

#[test]
fn column_names_may_repeat() {
    let (schema, batches) = query("SELECT x, x, 1 AS x, s FROM t WHERE x = 2").expect("rows");
    let names: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["x", "x", "x", "s"]);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
}

#[test]
fn the_last_of_several_queries_gives_the_rows() {
    check("SELECT 1 AS a; SELECT 2 AS b;", &["| b |", "| 2 |"]);
}

#[test]
fn unnest_of_a_rows_own_list() {
    check(
        "SELECT t.x, e FROM t, UNNEST(ARRAY[t.x, 7]) AS l(e) WHERE t.x = 2 ORDER BY e",
        &["| x | e |", "| 2 | 2 |", "| 2 | 7 |"],
    );
}

#[test]
fn errors() {
    use QueryErrorKind::{Planning, Runtime};
    check_error(
        "SELECT * FROM hidden",
        Planning,
        "add WITH ('materialized' = 'true')",
    );
    check_error("SELECT * FROM plain", Planning, "CREATE MATERIALIZED VIEW");
    check_error("SELECT * FROM v", Planning, "materialized");
    check_error("SELECT * FROM tt", Planning, "did you mean");
    check_error("SELECT y FROM t", Planning, "column 'y' not found");
    check_error("CREATE TABLE q(x INT)", Planning, "only SELECT");
    check_error("INSERT INTO t VALUES (1, 'x')", Planning, "only SELECT");
    check_error("DROP TABLE t", Planning, "only SELECT");
    check_error("", Planning, "no query");
    check_error("SELECT 1 / (x - x) AS y FROM t", Runtime, "ivide by zero");
    check_error("SELECT CAST(s AS INT) AS y FROM t", Runtime, "cast");
}

#[test]
fn overflow_is_an_error() {
    use QueryErrorKind::Runtime;
    let most = i64::MAX;
    check_error(
        &format!("SELECT x + {most} AS y FROM t"),
        Runtime,
        "integer overflow in",
    );
    check_error(
        &format!("SELECT x FROM t WHERE x * {most} > 0"),
        Runtime,
        "integer overflow in",
    );
    check_error(
        &format!("SELECT -(CAST(x AS BIGINT) - {most} - 3) AS y FROM t"),
        Runtime,
        "verflow in",
    );
    check_error(
        &format!("SELECT count(*) AS n FROM t AS a JOIN t AS b ON a.x * {most} + b.x > 3"),
        Runtime,
        "overflow",
    );
    check_error(
        &format!("SELECT SUM({most} - 3 + x) AS y FROM t"),
        Runtime,
        "out of range",
    );
    check_error(
        &format!("SELECT x, SUM({most} - x) OVER (ORDER BY s) AS y FROM t"),
        Runtime,
        "out of range",
    );
}

#[test]
fn sums_keep_their_names_and_types() {
    check(
        "SELECT s, SUM(x), SUM(x) + 1 AS more FROM t GROUP BY s HAVING SUM(x) > 2 ORDER BY SUM(x)",
        &["| s | sum(t.x) | more |", "| a | 5        | 6    |"],
    );
    check(
        "SELECT x, SUM(x) OVER (ORDER BY x) AS y FROM t WHERE x IS NOT NULL ORDER BY x",
        &[
            "| x | y |",
            "| 1 | 2 |",
            "| 1 | 2 |",
            "| 2 | 4 |",
            "| 3 | 7 |",
        ],
    );
    check(
        "SELECT SUM(DISTINCT x) AS y, arrow_typeof(SUM(x)) AS type FROM t",
        &["| y | type  |", "| 6 | Int64 |"],
    );
    check(
        "SELECT x FROM t WHERE x - 1 = (SELECT SUM(u.x) - 1 FROM t AS u WHERE u.s = t.s)",
        &["| x |", "| 2 |"],
    );
}
