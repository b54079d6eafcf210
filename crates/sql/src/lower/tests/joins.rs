//! Joins of every kind and subqueries, NULL keys and conditions included.

use super::{compare, compare_pairs};

fn check(queries: &[&str]) {
    compare(queries, 1, 12, 3);
    compare(queries, 2, 8, 4);
}

#[test]
fn inner_and_cross() {
    check(&[
        "SELECT t.a, t.s, u.s AS us FROM t JOIN u ON t.a = u.a",
        "SELECT t.s, u.s AS us FROM t JOIN u ON t.a = u.a AND t.b = u.b",
        "SELECT t.c, u.b FROM t JOIN u ON t.a = u.a AND t.b < u.b",
        "SELECT t.a, u.a AS ua FROM t JOIN u ON t.a + 1 = u.b - 1",
        "SELECT t.a, u.a AS ua FROM t JOIN u ON t.a < u.a",
        "SELECT t.a, u.s FROM t CROSS JOIN u",
        "SELECT t.c, u.b FROM t JOIN u ON t.c = u.b",
        "SELECT t.s, u.b FROM t JOIN u ON t.a IS NOT DISTINCT FROM u.a",
        "SELECT t1.a, t2.b FROM t AS t1 JOIN t AS t2 ON t1.a = t2.b",
        "SELECT t.a, p.k, p.w FROM t JOIN p ON t.a = p.id",
        "SELECT p.k, SUM(t.c) AS sc FROM t JOIN p ON p.id = t.b GROUP BY p.k",
        "SELECT t.a, u.b, p.w FROM t JOIN u ON t.a = u.a JOIN p ON p.id = u.b WHERE t.c > p.w",
    ]);
}

#[test]
fn outer() {
    check(&[
        "SELECT t.a, t.s, u.a AS ua, u.s AS us FROM t LEFT JOIN u ON t.a = u.a",
        "SELECT t.a, t.s, u.a AS ua, u.s AS us FROM t RIGHT JOIN u ON t.a = u.a",
        "SELECT t.a, t.s, u.a AS ua, u.s AS us FROM t FULL JOIN u ON t.a = u.a",
        "SELECT t.a, t.b, u.b AS ub FROM t LEFT JOIN u ON t.a = u.a AND t.b < u.b",
        "SELECT t.a, t.b, u.b AS ub FROM t RIGHT JOIN u ON t.a = u.a AND t.b < u.b",
        "SELECT t.a, t.b, u.b AS ub FROM t FULL JOIN u ON t.a = u.a AND t.b < u.b",
        "SELECT t.a, u.a AS ua FROM t LEFT JOIN u ON t.a > u.a",
        "SELECT t.a, p.w FROM t LEFT JOIN p ON t.a = p.id",
        "SELECT p.id, p.w, t.b FROM p LEFT JOIN t ON p.id = t.a AND t.b > p.w",
        "SELECT p.id, t.b FROM p FULL JOIN t ON p.id = t.a",
        "SELECT p.id, COUNT(t.b) AS n FROM p LEFT JOIN t ON p.id = t.a GROUP BY p.id",
        "SELECT t.s, u.b FROM t LEFT JOIN u ON t.a = u.a WHERE u.a IS NULL",
    ]);
}

#[test]
fn semi_anti_and_mark() {
    check(&[
        "SELECT a, s FROM t WHERE a IN (SELECT a FROM u)",
        "SELECT a, s FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a AND u.b > t.b)",
        "SELECT a, s FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a)",
        "SELECT a, s FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE u.a = t.a AND u.b > t.b)",
        "SELECT a, s FROM t WHERE a NOT IN (SELECT a FROM u)",
        "SELECT a, s FROM t WHERE a NOT IN (SELECT a FROM u WHERE a IS NOT NULL)",
        "SELECT a, s FROM t WHERE a NOT IN (SELECT a FROM u WHERE b > 100)",
        "SELECT a, s FROM t WHERE a + 1 NOT IN (SELECT b FROM u WHERE s = 'a')",
        "SELECT id FROM p WHERE id NOT IN (SELECT a FROM t)",
        "SELECT a FROM t WHERE a NOT IN (SELECT id FROM p)",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a) OR b = 1",
        "SELECT id FROM p WHERE id IN (SELECT a FROM t) OR w > 3",
        "SELECT id FROM p WHERE EXISTS (SELECT 1 FROM t WHERE t.a = p.id AND t.c <> p.w)",
        "SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u)",
        "SELECT a FROM t WHERE NOT EXISTS (SELECT 1 FROM u WHERE b > 3)",
    ]);
}

/// Where DataFusion's own answer is wrong or missing, an equivalent query says what is right.
#[test]
fn not_in_with_nulls() {
    let pairs = [
        (
            "SELECT a, s FROM t WHERE 2 NOT IN (SELECT a FROM u WHERE s = 'b')",
            "SELECT a, s FROM t
             WHERE NOT EXISTS (SELECT 1 FROM u WHERE s = 'b' AND (a = 2 OR a IS NULL))",
        ),
        (
            "SELECT a, s FROM t WHERE a NOT IN (SELECT a FROM u WHERE u.s = t.s)",
            "SELECT a, s FROM t WHERE NOT EXISTS (SELECT 1 FROM u
             WHERE u.s = t.s AND (u.a = t.a OR u.a IS NULL OR t.a IS NULL))",
        ),
        (
            "SELECT a, s FROM t WHERE b = 1 OR a NOT IN (SELECT a FROM u)",
            "SELECT a, s FROM t WHERE b = 1 OR NOT EXISTS (SELECT 1 FROM u
             WHERE u.a = t.a OR u.a IS NULL OR t.a IS NULL)",
        ),
        (
            "SELECT a FROM t WHERE b <> 0 AND a / b > 1",
            "SELECT a FROM t WHERE a / NULLIF(b, 0) > 1",
        ),
    ];
    compare_pairs(&pairs, 1, 20, 5);
    compare_pairs(&pairs, 3, 10, 6);
}

#[test]
fn scalar_subqueries() {
    check(&[
        "SELECT a, (SELECT MAX(b) FROM u) AS m FROM t",
        "SELECT a FROM t WHERE b > (SELECT AVG(b) FROM u)",
        "SELECT a, (SELECT COUNT(*) FROM u WHERE u.a = t.a) AS n FROM t",
        "SELECT a FROM t WHERE c = (SELECT MIN(b) FROM u WHERE u.a = t.a)",
        "SELECT a FROM t WHERE a > ALL (SELECT a FROM u WHERE b = 1)",
        "SELECT a FROM t WHERE a = ANY (SELECT b FROM u)",
    ]);
}

#[test]
fn common_table_expressions() {
    check(&[
        "WITH g AS (SELECT a, COUNT(*) AS n FROM t GROUP BY a)
         SELECT g1.a, g2.n FROM g AS g1 JOIN g AS g2 ON g1.a = g2.a WHERE g1.n > 1",
        "WITH g AS (SELECT a, SUM(b) AS sb FROM t GROUP BY a)
         SELECT a FROM g UNION ALL SELECT sb FROM g",
    ]);
}
