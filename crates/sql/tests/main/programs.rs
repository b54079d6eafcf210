//! Programs that are right.

use highwater_sql::ViewKind;
use highwater_types::relation::SqlType;

use crate::compile_ok;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, TimeUnit};

#[test]
fn table_with_everything() {
    let program = compile_ok(
        r#"CREATE TYPE address AS (street VARCHAR(20), number INT NOT NULL);
           CREATE TYPE numbers AS INT ARRAY;
           CREATE TABLE "T1" (
               Id BIGINT NOT NULL,
               "Name" VARCHAR(10) DEFAULT 'x',
               price DECIMAL(10, 2) DEFAULT 1.5,
               n INT DEFAULT 1 + 2,
               place address,
               list numbers,
               tags MAP<VARCHAR, MAP<INT, DOUBLE>>,
               r ROW(a INT, b ROW(c VARCHAR NOT NULL, d INT ARRAY)),
               u TINYINT UNSIGNED,
               ts TIMESTAMP,
               t TIME,
               d DATE,
               i INTERVAL DAY TO SECOND,
               m INTERVAL YEAR TO MONTH,
               g UUID,
               c CHAR(3),
               v VARBINARY,
               a2 INT[][],
               PRIMARY KEY (Id, c),
               FOREIGN KEY (n) REFERENCES other(x)
           ) WITH ('materialized' = 'true', 'append_only' = 'false', 'connectors' = '[{"a": 1}]');"#,
    );
    assert_eq!(program.warnings.len(), 1);
    let table = &program.tables[0];
    assert_eq!(table.relation.name, "T1");
    assert!(table.relation.case_sensitive && table.materialized && !table.append_only);
    assert_eq!(table.primary_key, [0, 15]);
    assert_eq!(
        table.relation.primary_key,
        Some(vec!["id".to_owned(), "c".to_owned()])
    );
    assert_eq!(
        table.connectors.as_ref().map(|value| value.value.as_str()),
        Some("[{\"a\": 1}]")
    );
    assert!(
        table
            .schema
            .fields()
            .iter()
            .all(|field| field.is_nullable())
    );
    let types: Vec<SqlType> = table
        .relation
        .fields
        .iter()
        .map(|field| field.columntype.sql_type)
        .collect();
    use SqlType as S;
    let expected = [
        S::BigInt,
        S::Varchar,
        S::Decimal,
        S::Integer,
        S::Struct,
        S::Array,
        S::Map,
        S::Struct,
        S::UTinyInt,
        S::Timestamp,
        S::Time,
        S::Date,
        S::IntervalDaySecond,
        S::IntervalYearMonth,
        S::Uuid,
        S::Char,
        S::Varbinary,
        S::Array,
    ];
    assert_eq!(types, expected);
    assert_eq!(
        table.schema.field(9).data_type(),
        &DataType::Timestamp(TimeUnit::Microsecond, None)
    );
    let nullable: Vec<bool> = table
        .relation
        .fields
        .iter()
        .take(3)
        .map(|field| field.columntype.nullable)
        .collect();
    assert_eq!(nullable, [false, true, true]);
    let text = table.defaults[1]
        .as_ref()
        .expect("a default")
        .as_string::<i32>()
        .value(0)
        .to_owned();
    assert_eq!(text, "x");
    let price = table.defaults[2].as_ref().expect("a default");
    assert_eq!(price.as_primitive::<Decimal128Type>().value(0), 150);
    let sum = table.defaults[3].as_ref().expect("a default");
    assert_eq!(sum.as_primitive::<Int32Type>().value(0), 3);
    assert!(table.defaults[4].is_none());
}

#[test]
fn views_of_all_kinds() {
    let program = compile_ok(
        "CREATE TABLE t(x INT NOT NULL, y VARCHAR);
         CREATE LOCAL VIEW l AS SELECT x + 1 AS x1 FROM t;
         CREATE VIEW p(a, \"B\") AS SELECT x1, x1 * 2 FROM l;
         CREATE MATERIALIZED VIEW m AS SELECT \"B\", COUNT(*) AS n FROM P GROUP BY \"B\";",
    );
    let kinds: Vec<ViewKind> = program.views.iter().map(|view| view.kind).collect();
    assert_eq!(
        kinds,
        [ViewKind::Local, ViewKind::Plain, ViewKind::Materialized]
    );
    let outputs: Vec<&str> = program
        .plan
        .views
        .iter()
        .map(|view| view.name.as_str())
        .collect();
    assert_eq!(outputs, ["p", "m"]);
    assert!(program.plan.views[1].contents.is_some());
    assert!(program.views[1].relation.fields[1].case_sensitive);
    assert_eq!(
        program.views[2].schema.field(1).data_type(),
        &DataType::Int64
    );
    let names: Vec<&str> = program.views[1]
        .relation
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["a", "B"]);
}

#[test]
fn every_view_type_is_storable() {
    let program = compile_ok(
        "CREATE TABLE t(ts TIMESTAMP, s VARCHAR, x INT, d DATE);
         CREATE VIEW v AS SELECT
             NULL AS a, ts - ts AS b, date_trunc('hour', ts) AS c, upper(s) AS d,
             CAST(x AS VARCHAR(2)) AS e, ARRAY[x, 1] AS f, MAP['k', x, 'l', 2] AS g,
             1.5 AS h, 1e3 AS i, CAST(s AS ROW(p INT, q VARCHAR ARRAY)) AS j
         FROM (SELECT ts, CAST(NULL AS ROW(p INT, q VARCHAR ARRAY)) AS s, x FROM t) q, (SELECT s AS z FROM t) z;"
            .replace("upper(s)", "upper(z)")
            .as_str(),
    );
    for field in program.views[0].schema.fields() {
        let text = field.data_type().to_string();
        assert!(
            !text.contains("View") && !text.contains("Large"),
            "{field:?}"
        );
    }
    let schema = &program.views[0].schema;
    assert_eq!(schema.field(7).data_type(), &DataType::Decimal128(2, 1));
    assert_eq!(schema.field(8).data_type(), &DataType::Float64);
    assert!(matches!(schema.field(6).data_type(), DataType::Map(..)));
}

#[test]
fn functions_are_inlined_with_casts() {
    let program = compile_ok(
        "CREATE TABLE t(x INT);
         CREATE FUNCTION twice(n BIGINT NOT NULL) RETURNS SMALLINT AS n * 2;
         CREATE FUNCTION four(n INT) RETURNS INT AS twice(twice(n));
         CREATE VIEW v AS SELECT four(x + 1) AS y, Twice(x) AS z FROM t;",
    );
    let schema = &program.views[0].schema;
    assert_eq!(schema.field(0).data_type(), &DataType::Int32);
    assert_eq!(schema.field(1).data_type(), &DataType::Int16);
}

#[test]
fn names_are_matched_without_case_unless_quoted() {
    compile_ok(
        "CREATE TABLE Orders(Id INT, \"Total\" INT);
         CREATE VIEW v AS SELECT ORDERS.ID, o.\"Total\" FROM orders, oRdErS AS O;",
    );
}

#[test]
fn queries_of_all_kinds_compile() {
    for query in [
        "SELECT a FROM t EXCEPT ALL SELECT b FROM u",
        "SELECT a FROM t INTERSECT ALL SELECT CAST(a AS BIGINT) FROM u",
        "SELECT x FROM (SELECT a AS x FROM t EXCEPT SELECT b FROM u) q WHERE x > 5",
        "SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)",
        "SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)",
        "SELECT a FROM t WHERE a > 100 OR a NOT IN (SELECT a FROM u WHERE u.b = t.b)",
        "SELECT a FROM t WHERE a > ALL (SELECT a FROM u)",
        "SELECT a, a IN (SELECT a FROM u) AS i FROM t",
        "SELECT a, EXISTS (SELECT 1 FROM u WHERE u.a = t.a) AS e FROM t",
        "SELECT a, (SELECT s FROM u) AS x FROM t",
        "SELECT a, (SELECT s FROM u WHERE u.a = t.a) AS x FROM t",
        "SELECT a, (SELECT COUNT(*) FROM u WHERE u.a = t.a) AS x FROM t",
        "SELECT a FROM t WHERE b = (SELECT b FROM u WHERE u.a = t.a)",
        "WITH c AS (SELECT a, COUNT(*) AS n FROM t GROUP BY a) \
         SELECT x.a, y.n FROM c x JOIN c y ON x.a = y.a + 1 WHERE x.a > 3",
        "SELECT a FROM t WHERE (a, b) IN (SELECT a, b FROM u)",
        "SELECT a FROM t WHERE NOT (a, b) IN (SELECT a, b FROM u)",
        "SELECT a, b FROM t ORDER BY b DESC OFFSET 2 ROWS FETCH FIRST 3 ROWS ONLY",
        "SELECT t.a, x.e FROM t CROSS JOIN UNNEST(t.arr) AS x(e)",
        "SELECT t.a, e FROM t, UNNEST(t.arr) AS x(e) WHERE e > 3",
        "SELECT a, UNNEST(arr) AS e FROM t",
        "SELECT a, SUM(b) FILTER (WHERE s = 'x') AS n FROM t GROUP BY ROLLUP (a)",
        "SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC",
        "SELECT a, b, ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) AS n FROM t",
        "SELECT ARG_MAX(a, b) AS m, ARG_MIN(a, b) AS n FROM t",
        "SELECT * FROM t NATURAL FULL JOIN u",
        "VALUES (1, 'a'), (2, NULL)",
        "SELECT 1 AS one",
    ] {
        compile_ok(&format!(
            "CREATE TABLE t(a INT, b INT NOT NULL, s VARCHAR, arr INT ARRAY);
             CREATE TABLE u(a INT, b INT NOT NULL, s VARCHAR);
             CREATE VIEW v AS {query};"
        ));
    }
}
