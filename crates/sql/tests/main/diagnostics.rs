//! Programs with mistakes, and what is said about them.

use highwater_sql::compile;

use crate::options;

/// The diagnostics of a program, one per line.
fn diagnose(text: &str) -> String {
    match compile(text, &options()) {
        Ok(_) => panic!("accepted: {text}"),
        Err(diagnostics) => {
            let lines: Vec<String> = diagnostics
                .iter()
                .map(|diagnostic| diagnostic.to_string())
                .collect();
            lines.join("\n")
        }
    }
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let found = diagnose(text);
    assert_eq!(
        found, expected,
        "\n--- program:\n{text}\n--- found:\n{found}"
    );
}

/// `query` as a view over some tables; it begins on line 4, in column 1.
#[track_caller]
fn check_query(query: &str, expected: &str) {
    let text = format!(
        "CREATE TABLE t(id INT NOT NULL PRIMARY KEY, x INT, s VARCHAR);\n\
         CREATE TABLE u(x INT, y INT);\n\
         CREATE VIEW v AS\n{query};"
    );
    check(&text, expected);
}

#[test]
fn statements() {
    check(
        "CREAT TABLE t(x INT);",
        "1:1: Syntax error: expected CREATE TABLE, CREATE VIEW, CREATE TYPE or CREATE FUNCTION, found `CREAT`",
    );
    check(
        "CREATE TABEL t(x INT)",
        "1:8: Syntax error: expected TABLE, VIEW, LOCAL VIEW, MATERIALIZED VIEW, TYPE or FUNCTION, found `TABEL`",
    );
    check(
        "SELECT 1",
        "1:1: Syntax error: a program has only definitions; to keep the result of this query up to date, define a view: CREATE VIEW name AS SELECT …",
    );
    check(
        "INSERT INTO t VALUES (1)",
        "1:1: Not supported: INSERT in a program is not supported; send rows to the table with a connector or POST /ingress/{table}",
    );
    check(
        "DROP TABLE t",
        "1:1: Not supported: DROP in a program is not supported; remove the definition from the program",
    );
    check(
        "CREATE OR REPLACE VIEW v AS SELECT 1",
        "1:1: Not supported: CREATE OR REPLACE is not supported; a program defines each name once",
    );
    check(
        "CREATE INDEX i ON t(x)",
        "1:1: Not supported: CREATE INDEX is not supported; all state is indexed as the views need it",
    );
    check(
        "DECLARE RECURSIVE VIEW v(x INT)",
        "1:1: Not supported: DECLARE RECURSIVE VIEW is not supported; recursion is not available",
    );
    check(
        "CREATE RECURSIVE VIEW v AS SELECT 1",
        "1:1: Not supported: CREATE RECURSIVE VIEW is not supported; recursion is not available",
    );
    check(
        "LATENESS v.x INTERVAL 1 HOUR",
        "1:1: Not supported: LATENESS is not supported",
    );
    check(
        "CREATE LINEAR AGGREGATE f(x INT) RETURNS INT",
        "1:1: Not supported: CREATE LINEAR AGGREGATE is not supported; user-defined aggregates are not available",
    );
}

#[test]
fn unterminated_string_is_the_only_mistake_of_its_statement() {
    check(
        "CREATE TABLE t(x INT);\nCREATE VIEW v AS SELECT 'abc FROM t;\n",
        "2:25: Syntax error: Unterminated string literal",
    );
}

#[test]
fn tables() {
    check(
        "CREATE TABLE t(x INT, x BIGINT)",
        "1:23: Definition error: the column \"x\" is defined twice",
    );
    check(
        "CREATE TABLE t(x INT PRIMARY KEY, y INT PRIMARY KEY)",
        "1:41: Definition error: a table has one primary key; for a key of several columns write PRIMARY KEY (a, b) after the columns",
    );
    check(
        "CREATE TABLE t(x INT, PRIMARY KEY (z))",
        "1:36: Definition error: the table has no column \"z\"; did you mean \"x\"?",
    );
    check(
        "CREATE TABLE t(x INTT)",
        "1:18: Definition error: unknown type \"intt\"; did you mean \"int\"?",
    );
    check(
        "CREATE TABLE t(x DECIMAL(50, 2))",
        "1:25: Definition error: DECIMAL(50, 2) is out of range: 1 to 38 digits, of which 0 to 50 after the point",
    );
    check(
        "CREATE TABLE t(x TIMESTAMP WITH TIME ZONE)",
        "1:18: Not supported: WITH TIME ZONE is not supported; use TIMESTAMP or TIME, in UTC",
    );
    check(
        "CREATE TABLE t(x VARIANT)",
        "1:18: Not supported: type VARIANT is not supported; use VARCHAR",
    );
    check(
        "CREATE TABLE t(ts TIMESTAMP LATENESS INTERVAL 1 HOUR)",
        "1:29: Not supported: LATENESS is not supported",
    );
    check(
        "CREATE TABLE t(ts TIMESTAMP WATERMARK INTERVAL 1 HOUR)",
        "1:29: Not supported: WATERMARK is not supported",
    );
    check(
        "CREATE TABLE t(x INT UNIQUE)",
        "1:22: Not supported: UNIQUE is not supported",
    );
    check(
        "CREATE TABLE t(x INT CHECK (x > 1))",
        "1:22: Not supported: CHECK is not supported",
    );
    check(
        "CREATE TABLE a.t(x INT)",
        "1:15: Syntax error: a table name must be a single name: there are no schemas or databases",
    );
    check(
        "CREATE TABLE t(x INT",
        "1:18: Syntax error: expected `)`, found the end of the statement",
    );
    check(
        "CREATE TABLE t(x INT,)",
        "1:22: Syntax error: expected a column name, found `)`",
    );
    check(
        "CREATE TABLE t(x INT); CREATE TABLE T(y INT)",
        "1:37: Definition error: \"t\" is defined twice; rename one of them",
    );
    check(
        "CREATE TABLE IF NOT EXISTS t(x INT)",
        "1:14: Not supported: IF NOT EXISTS is not supported; a program defines each name once",
    );
    check(
        "CREATE TABLE t AS SELECT 1",
        "1:16: Not supported: CREATE TABLE … AS is not supported; use CREATE VIEW … AS",
    );
}

#[test]
fn defaults() {
    check(
        "CREATE TABLE t(x INT DEFAULT now())",
        "1:30: Not supported: NOW() is not supported; a view depends on its tables only, so put the value into a table",
    );
    check(
        "CREATE TABLE t(x INT NOT NULL DEFAULT NULL)",
        "1:39: Definition error: the column \"x\" is NOT NULL",
    );
    check(
        "CREATE TABLE t(x INT DEFAULT 'abc')",
        "1:30: Planning error: Cannot cast string 'abc' to value of Int32 type",
    );
    check(
        "CREATE TABLE t(x INT DEFAULT (SELECT 1))",
        "1:31: Not supported: a subquery here is not supported",
    );
}

#[test]
fn properties() {
    check(
        "CREATE TABLE t(x INT) WITH ('materialised' = 'true')",
        "1:29: Property error: unknown property 'materialised' (did you mean 'materialized'?); known properties: connectors, materialized, append_only",
    );
    check(
        "CREATE TABLE t(x INT) WITH ('materialized' = 'yes')",
        "1:46: Property error: 'materialized' must be 'true' or 'false'",
    );
    check(
        "CREATE TABLE t(x INT) WITH ('connectors' = '{}')",
        "1:44: Property error: 'connectors' must be a JSON array, e.g. '[{…}]'",
    );
    check(
        "CREATE TABLE t(x INT) WITH ('connectors' = '[')",
        "1:44: Property error: 'connectors' is not JSON: EOF while parsing a list at line 1 column 1",
    );
    check(
        "CREATE TABLE t(x INT) WITH (materialized = 'true')",
        "1:29: Syntax error: expected a property name in quotes, e.g. 'connectors', found `materialized`",
    );
    check(
        "CREATE TABLE t(x INT) WITH ('append_only' = 'true', 'append_only' = 'true')",
        "1:53: Property error: the property 'append_only' is given twice",
    );
    check(
        "CREATE VIEW v WITH ('materialized' = 'true') AS SELECT 1 AS x",
        "1:21: Property error: unknown property 'materialized'; known properties: connectors",
    );
}

#[test]
fn types_and_functions() {
    check(
        "CREATE TYPE a AS (x INT, x INT)",
        "1:26: Definition error: the field \"x\" is defined twice",
    );
    check(
        "CREATE TYPE a AS INT; CREATE TYPE a AS INT",
        "1:35: Definition error: the type \"a\" is defined twice",
    );
    check(
        "CREATE FUNCTION f(x INT) RETURNS INT",
        "1:17: Not supported: a function in Rust is not supported; give it a body: RETURNS type AS expression",
    );
    check(
        "CREATE FUNCTION f(x INT) RETURNS INT AS z + 1",
        "1:41: Planning error: column 'z' not found",
    );
    check(
        "CREATE FUNCTION abs(x INT) RETURNS INT AS x",
        "1:17: Definition error: \"abs\" is a built-in function; choose another name",
    );
    check(
        "CREATE FUNCTION f(x INT) RETURNS INT AS x;\nCREATE VIEW v AS SELECT f(1, 2) AS y;",
        "2:25: Planning error: f takes 1 arguments, but here it has 2",
    );
}

#[test]
fn names_in_queries() {
    check_query(
        "SELECT * FROM tt",
        "4:15: Planning error: there is no table or view \"tt\"; did you mean \"t\"?",
    );
    check_query(
        "SELECT * FROM nowhere",
        "4:15: Planning error: there is no table or view \"nowhere\"; a view can use what is defined before it",
    );
    check_query(
        "SELECT zz FROM t",
        "4:8: Planning error: column 'zz' not found",
    );
    check_query(
        "SELECT x FROM t, u",
        "4:8: Planning error: column 'x' is ambiguous; possible column t.x; possible column u.x",
    );
    check_query(
        "SELECT nofunction(x) FROM t",
        "4:8: Planning error: Invalid function 'nofunction'; Possible function 'position'",
    );
    check_query(
        "SELECT id, COUNT(*) FROM t GROUP BY x",
        "4:8: Planning error: 't.id' must appear in GROUP BY clause because it's not an aggregate expression; Either add 't.id' to GROUP BY clause, or use an aggregate function like ANY_VALUE(t.id)",
    );
    check_query(
        "SELECT t.x, u.x FROM t, u",
        "3:13: Planning error: two columns of the view are named \"x\"; give one of them another name with AS",
    );
    check_query(
        "SELECT x FROM public.t",
        "4:15: Planning error: public.t has a schema, but there are none: use a single name",
    );
}

#[test]
fn syntax_in_queries() {
    check_query(
        "SELECT FROM WHERE",
        "4:13: Syntax error: expected an expression, found FROM",
    );
    check_query(
        "SELECT x FROM t GROUP",
        "4:17: Syntax error: expected the end of the query, found `GROUP`",
    );
    check_query(
        "SELECT (x FROM t",
        "4:11: Syntax error: expected ), found FROM",
    );
}

#[test]
fn unsupported_in_queries() {
    check_query(
        "SELECT now() AS n, x FROM t",
        "4:8: Not supported: NOW() is not supported; a view depends on its tables only, so put the value into a table",
    );
    check_query(
        "SELECT CURRENT_TIMESTAMP AS n FROM t",
        "4:8: Not supported: CURRENT_TIMESTAMP is not supported; a view depends on its tables only, so put the value into a table",
    );
    check_query(
        "SELECT x FROM t WHERE random() < 0.5",
        "4:23: Not supported: RANDOM() is not supported; a view depends on its tables only, so put the value into a table",
    );
    check_query(
        "WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r",
        "4:1: Not supported: WITH RECURSIVE is not supported",
    );
    check_query(
        "SELECT * FROM t LEFT ASOF JOIN u MATCH_CONDITION (t.x >= u.x) ON t.x = u.x",
        "4:22: Not supported: ASOF JOIN is not supported",
    );
    check_query(
        "SELECT * FROM TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), INTERVAL 1 HOUR))",
        "4:21: Not supported: TUMBLE is not supported; group by a rounded time, e.g. date_trunc('hour', ts)",
    );
    check_query(
        "SELECT * FROM t TABLESAMPLE BERNOULLI (10)",
        "4:15: Not supported: TABLESAMPLE is not supported",
    );
    check_query(
        "SELECT * FROM t FOR UPDATE",
        "4:1: Not supported: FOR UPDATE or FOR SHARE is not supported",
    );
    check_query(
        "SELECT x FROM generate_series(1, 3) AS g(x)",
        "4:15: Not supported: a table function is not supported",
    );
    check_query(
        "SELECT SUM(CASE WHEN EXISTS (SELECT 1 FROM u WHERE u.x = t.x) THEN 1 END) AS n FROM t",
        "4:30: Not supported: this subquery is not supported; only WHERE, HAVING and the select list may have subqueries, and a scalar subquery may refer to the outer query by equalities; write it as a join",
    );
    check_query(
        "SELECT 9223372036854775807 + 1 AS n FROM t",
        "3:13: Planning error: this constant cannot be computed: integer overflow in 9223372036854775807 + 1",
    );
}

#[test]
fn all_mistakes_are_reported_and_only_once() {
    check(
        "CREATE TABLE a(x INTT);\n\
         CREATE VIEW v1 AS SELECT x FROM a;\n\
         CREATE VIEW v2 AS SELECT y FROM v1;\n\
         CREATE TABLE b(x INT);\n\
         CREATE VIEW v3 AS SELECT z FROM b;\n\
         CREATE VIEW v4 AS SELECT x FROM v3;\n\
         CREATE VIEW v5 AS SELECT x FROM c, d;\n",
        "1:18: Definition error: unknown type \"intt\"; did you mean \"int\"?\n\
         5:26: Planning error: column 'z' not found\n\
         7:33: Planning error: there is no table or view \"c\"; did you mean \"b\"?\n\
         7:36: Planning error: there is no table or view \"d\"; did you mean \"b\"?",
    );
}

#[test]
fn snippet_points_at_the_place() {
    let diagnostics = compile(
        "CREATE TABLE t(x INT);\nCREATE VIEW v AS\nSELECT yy\nFROM t;",
        &options(),
    )
    .expect_err("yy is unknown");
    assert_eq!(diagnostics[0].snippet, "   3|SELECT yy\n            ^^\n");
}
