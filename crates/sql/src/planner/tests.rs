use crate::program::{CompileOptions, compile};

const TABLES: &str = "
    CREATE TABLE t(a INT, b INT NOT NULL, s VARCHAR, arr INT ARRAY);
    CREATE TABLE u(a INT, b INT NOT NULL, s VARCHAR);
";

/// The optimized plan of a view over [`TABLES`].
fn optimized(query: &str) -> String {
    let text = format!("{TABLES} CREATE VIEW v AS {query};");
    let options = CompileOptions {
        hasher: highwater_zset::RowHasher::new(1),
    };
    match compile(&text, &options) {
        Ok(program) => {
            let view = &program.views[0];
            let shared = view
                .shared
                .iter()
                .map(|(name, plan)| format!("{name}:\n{}\n", plan.display_indent()));
            shared.collect::<String>() + &view.logical_plan.display_indent().to_string()
        }
        Err(diagnostics) => {
            let texts: Vec<String> = diagnostics.iter().map(|one| one.to_string()).collect();
            panic!("{query}: {}", texts.join("\n"))
        }
    }
}

/// The plan has each of these parts as often as said.
#[track_caller]
fn check(query: &str, parts: &[(&str, usize)]) {
    let plan = optimized(query);
    for (part, count) in parts {
        assert_eq!(plan.matches(part).count(), *count, "{part} in\n{plan}");
    }
    assert!(
        !plan.contains("null_aware") && !plan.contains("Subquery:"),
        "{plan}"
    );
}

#[test]
fn set_operations_are_nodes_below_which_filters_sink() {
    check(
        "SELECT a FROM t EXCEPT ALL SELECT b FROM u",
        &[("ExceptAll", 1), ("Join", 0)],
    );
    check(
        "SELECT a FROM t INTERSECT ALL SELECT a FROM u",
        &[("IntersectAll", 1)],
    );
    check(
        "SELECT x FROM (SELECT a AS x FROM t EXCEPT SELECT b FROM u) q WHERE x > 5",
        &[
            ("Except\n", 1),
            ("Distinct", 0),
            ("t.a > Int32(5)", 1),
            ("u.b > Int32(5)", 1),
        ],
    );
    check(
        "SELECT a FROM t INTERSECT SELECT CAST(a AS BIGINT) FROM u",
        &[("Intersect\n", 1), ("CAST(t.a AS Int64)", 1)],
    );
}

#[test]
fn not_in_over_columns_without_null_is_one_anti_join() {
    check(
        "SELECT a FROM t WHERE b NOT IN (SELECT b FROM u)",
        &[("LeftAnti Join: t.b = ", 1), ("Join", 1)],
    );
    check(
        "SELECT a FROM t WHERE a NOT IN (SELECT a FROM u)",
        &[("LeftAnti", 2), ("LeftMark", 1)],
    );
}

#[test]
fn columns_of_one_table_inside_and_outside_are_told_apart() {
    check(
        "SELECT a FROM t WHERE a > 100 OR a NOT IN (SELECT a FROM t)",
        &[("LeftMark Join: t.a = ", 1), ("LeftMark", 3)],
    );
    check(
        "SELECT a FROM t WHERE a > ALL (SELECT a FROM t)",
        &[("__element_1", 6)],
    );
}

#[test]
fn predicates_in_the_select_list_are_mark_joins() {
    check(
        "SELECT a, EXISTS (SELECT 1 FROM u WHERE u.a = t.a) AS e FROM t",
        &[("LeftMark Join: t.a = ", 1)],
    );
    check(
        "SELECT a, a IN (SELECT a FROM u) AS i FROM t",
        &[("LeftMark", 3), ("t.a = ", 1)],
    );
}

#[test]
fn scalar_subqueries_are_checked_unless_they_have_one_row() {
    check(
        "SELECT a, (SELECT s FROM u) AS x FROM t",
        &[("SingleRowCheck: key=[]", 1)],
    );
    check(
        "SELECT a, (SELECT s FROM u WHERE u.a = t.a) AS x FROM t",
        &[("SingleRowCheck: key=[u.a]", 1), ("Left Join: t.a = ", 1)],
    );
    check(
        "SELECT a, (SELECT MAX(s) FROM u) AS x FROM t",
        &[("SingleRowCheck", 0)],
    );
    check(
        "SELECT a, (SELECT s FROM u LIMIT 1) AS x FROM t",
        &[("SingleRowCheck", 0)],
    );
}

#[test]
fn expressions_used_twice_are_relations() {
    check(
        "WITH c AS (SELECT a, COUNT(*) AS n FROM t GROUP BY a), d AS (SELECT a FROM c) \
         SELECT x.a, y.n FROM c x JOIN c y ON x.a = y.a, d",
        &[
            ("v.c:\n", 1),
            ("TableScan: v.c", 3),
            ("Aggregate", 1),
            ("v.d", 0),
        ],
    );
}

#[test]
fn a_limit_is_a_node_over_a_sort() {
    check(
        "SELECT a, b FROM t ORDER BY b DESC LIMIT 3",
        &[("Limit: skip=0, fetch=3", 1), ("Sort: ", 1), ("fetch=", 1)],
    );
}

#[test]
fn lists_of_the_row_are_unnested_without_a_join() {
    for query in [
        "SELECT t.a, x.e FROM t CROSS JOIN UNNEST(t.arr) AS x(e)",
        "SELECT t.a, e FROM t, UNNEST(t.arr) AS x(e) WHERE e > 3",
        "SELECT t.a, x.* FROM t LEFT JOIN UNNEST(t.arr) AS x(e) ON TRUE",
        "SELECT t.a, e FROM t, UNNEST(ARRAY[t.a, 7]) AS x(e)",
    ] {
        check(query, &[("Unnest: ", 1), ("Join", 0)]);
    }
}

#[test]
fn tuples_in_a_subquery_are_semi_joins() {
    check(
        "SELECT a FROM t WHERE (a, b) IN (SELECT a, b FROM u)",
        &[("LeftSemi Join: t.a = ", 1), ("Join", 1)],
    );
}
