//! Everything but joins.

use super::compare;

fn check(queries: &[&str]) {
    compare(queries, 1, 12, 1);
    compare(queries, 2, 7, 2);
}

#[test]
fn projections_and_filters() {
    check(&[
        "SELECT * FROM t",
        "SELECT a, b + 1 AS b1, s || '!' AS s1 FROM t WHERE a > 0",
        "SELECT a FROM t WHERE b BETWEEN 0 AND 2 AND s IN ('a', 'b')",
        "SELECT CASE WHEN b <> 0 THEN a / b END AS q, COALESCE(s, 'none') AS s2 FROM t",
        "SELECT CAST(a AS VARCHAR) AS a2, upper(s) AS s2, x * 2 AS x2, d * 3 AS d3 FROM t",
        "SELECT a FROM t WHERE s LIKE 'a%' OR x IS NULL",
        "SELECT 1 AS one, a FROM t",
        "SELECT make_array(a, b) AS l, named_struct('x', a, 'y', s) AS r FROM t",
        "SELECT a, a AS again FROM t WHERE a IS DISTINCT FROM b",
    ]);
}

#[test]
fn distinct_union_values() {
    check(&[
        "SELECT DISTINCT a FROM t",
        "SELECT DISTINCT a + b AS ab, s FROM t",
        "SELECT a FROM t UNION ALL SELECT b FROM u",
        "SELECT a FROM t UNION SELECT b FROM u",
        "SELECT a, c FROM t UNION ALL SELECT a, b FROM u",
        "SELECT a FROM t EXCEPT SELECT a FROM u",
        "SELECT a FROM t INTERSECT SELECT a FROM u",
        "SELECT a, s FROM t EXCEPT SELECT a, s FROM u",
        "SELECT * FROM (VALUES (1, 'a'), (2, NULL), (1, 'a')) AS v (n, m)",
        "SELECT 1 AS one WHERE EXISTS (SELECT 1 FROM u WHERE b > 2)",
        "SELECT (SELECT COUNT(*) FROM u) AS n",
        "SELECT 1 AS one, 'x' AS x, NULL AS nothing",
        "SELECT t.a, v.m FROM t JOIN (VALUES (1, 'a'), (2, 'b')) AS v (n, m) ON t.a = v.n",
    ]);
}

#[test]
fn aggregates() {
    check(&[
        "SELECT COUNT(*) AS n FROM t",
        "SELECT COUNT(*) AS n FROM t CROSS JOIN u",
        "SELECT COUNT(*) AS n, COUNT(a) AS na, SUM(a) AS sa, AVG(a) AS aa FROM t",
        "SELECT a, COUNT(*) AS n, SUM(c) AS sc, AVG(x) AS ax, SUM(d) AS sd, AVG(d) AS ad
         FROM t GROUP BY a",
        "SELECT a, MIN(b) AS lo, MAX(b) AS hi, MIN(s) AS first_s, MAX(d) AS hi_d FROM t GROUP BY a",
        "SELECT MIN(x) AS lo, MAX(s) AS hi FROM t",
        "SELECT s, STDDEV(b) AS sd, STDDEV_POP(b) AS sp, VAR_SAMP(x) AS vs, VAR_POP(x) AS vp
         FROM t GROUP BY s",
        "SELECT a, BOOL_AND(b > 0) AS every, BOOL_OR(b > 0) AS some FROM t GROUP BY a",
        "SELECT a, BIT_XOR(b) AS bx, BIT_AND(b) AS ba, BIT_OR(b) AS bo FROM t GROUP BY a",
        "SELECT a, SUM(b) FILTER (WHERE s = 'a') AS sb, COUNT(*) FILTER (WHERE b > 1) AS n,
                MAX(b) FILTER (WHERE c > 1) AS mb FROM t GROUP BY a",
        "SELECT a, COUNT(DISTINCT b) AS db, SUM(DISTINCT b) AS sdb, COUNT(b) AS nb FROM t GROUP BY a",
        "SELECT COUNT(DISTINCT b) AS db, AVG(DISTINCT c) AS ac, COUNT(DISTINCT s) AS ds FROM t",
        "SELECT a, COUNT(DISTINCT b) FILTER (WHERE c > 1) AS db FROM t GROUP BY a",
        "SELECT a + b AS ab, SUM(c * 2) AS s2 FROM t GROUP BY a + b HAVING COUNT(*) > 1",
        "SELECT a FROM t GROUP BY a HAVING MAX(b) > 2",
    ]);
}

#[test]
fn ordered_aggregates() {
    check(&[
        "SELECT a, ARRAY_AGG(b ORDER BY b, c) AS bs FROM t GROUP BY a",
        "SELECT a, ARRAY_AGG(DISTINCT b ORDER BY b) AS bs FROM t GROUP BY a",
        "SELECT ARRAY_AGG(s ORDER BY s DESC) FILTER (WHERE b > 0) AS ss FROM t",
        "SELECT a, STRING_AGG(s, ',' ORDER BY s) AS ss FROM t GROUP BY a",
        "SELECT a, ARG_MIN(s, b) AS s_lo, ARG_MAX(s, b) AS s_hi FROM t GROUP BY a",
        "SELECT ARG_MAX(b, x) AS b_hi FROM t WHERE s = 'a'",
        "SELECT a, FIRST_VALUE(b ORDER BY b DESC NULLS LAST) AS f FROM t GROUP BY a",
        "SELECT a, LAST_VALUE(b ORDER BY b NULLS FIRST) AS l FROM t GROUP BY a",
        "SELECT a, STRING_AGG(DISTINCT s, '-' ORDER BY s) AS ss FROM t GROUP BY a",
        "SELECT a, NTH_VALUE(b, 2 ORDER BY b NULLS FIRST) AS second FROM t GROUP BY a",
        "SELECT a, PERCENTILE_CONT(0.25) WITHIN GROUP (ORDER BY c) AS q FROM t GROUP BY a",
        "SELECT a, FIRST_VALUE(b) IGNORE NULLS AS f FROM (SELECT DISTINCT a, b FROM t WHERE b = 1)
         GROUP BY a",
        "SELECT a, MEDIAN(c) AS m, CORR(b, c) AS r FROM t GROUP BY a",
    ]);
}

#[test]
fn grouping_sets() {
    check(&[
        "SELECT a, s, SUM(b) AS sb FROM t GROUP BY ROLLUP (a, s)",
        "SELECT a, s, COUNT(*) AS n, GROUPING(a) AS ga, GROUPING(s) AS gs FROM t GROUP BY CUBE (a, s)",
        "SELECT a, b, MAX(c) AS mc FROM t GROUP BY GROUPING SETS ((a), (b), (a, b))",
        "SELECT a, COUNT(DISTINCT s) AS ds FROM t GROUP BY GROUPING SETS ((a), (a))",
    ]);
}

#[test]
fn top_k() {
    check(&[
        "SELECT a, b, c, s, x, d FROM t ORDER BY a, b DESC, c, s, x, d LIMIT 4",
        "SELECT a, c FROM t ORDER BY a DESC NULLS LAST, c LIMIT 3 OFFSET 2",
        "SELECT a + b AS ab FROM t ORDER BY a + b LIMIT 5",
        "SELECT s FROM t ORDER BY s, a LIMIT 3",
        "SELECT id FROM p ORDER BY w DESC, id LIMIT 2",
        "SELECT id FROM p ORDER BY id OFFSET 2",
        "SELECT DISTINCT ON (a) a, b, c FROM t ORDER BY a, b, c",
        "SELECT * FROM (SELECT id, k, ROW_NUMBER() OVER (PARTITION BY k ORDER BY w, id) AS r FROM p)
         WHERE r <= 2",
        "SELECT id FROM (SELECT id, k, RANK() OVER (PARTITION BY k ORDER BY w DESC) AS r FROM p)
         WHERE r < 3 AND id > 0",
        "SELECT id, r FROM (SELECT id, DENSE_RANK() OVER (ORDER BY w) AS r FROM p) WHERE r = 2",
        "SELECT id, r FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS r FROM p)
         WHERE r >= 2 AND r <= 3",
    ]);
}

#[test]
fn windows() {
    check(&[
        "SELECT id, ROW_NUMBER() OVER (PARTITION BY k ORDER BY id) AS r,
                RANK() OVER (PARTITION BY k ORDER BY w) AS rk,
                DENSE_RANK() OVER (ORDER BY w) AS dr,
                NTILE(3) OVER (ORDER BY id) AS nt FROM p",
        "SELECT id, LAG(w) OVER (ORDER BY id) AS before, LEAD(w, 2, -1) OVER (ORDER BY id) AS after,
                FIRST_VALUE(w) OVER (PARTITION BY k ORDER BY id) AS f,
                LAST_VALUE(w) OVER (PARTITION BY k ORDER BY id) AS l,
                NTH_VALUE(w, 2) OVER (PARTITION BY k ORDER BY id) AS n FROM p",
        "SELECT id, SUM(w) OVER (PARTITION BY k ORDER BY id) AS run,
                SUM(w) OVER (PARTITION BY k) AS total,
                AVG(w) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS near,
                COUNT(*) OVER (ORDER BY w RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS in_range,
                MAX(w) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS m
         FROM p",
        "SELECT id, PERCENT_RANK() OVER (ORDER BY w) AS pr, CUME_DIST() OVER (ORDER BY w) AS cd FROM p",
        "SELECT id, LAG(w) IGNORE NULLS OVER (ORDER BY id) AS before,
                SUM(w) FILTER (WHERE w > 1) OVER (ORDER BY id) AS some,
                COUNT(*) OVER (ORDER BY w GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW) AS peers,
                COUNT(DISTINCT w) OVER (PARTITION BY k) AS dw FROM p",
        "SELECT id FROM p QUALIFY ROW_NUMBER() OVER (PARTITION BY k ORDER BY id) = 1",
        "SELECT a, COUNT(*) OVER (PARTITION BY s) AS n FROM t",
        "SELECT a, SUM(b) OVER (PARTITION BY a + 1 ORDER BY b) AS sb FROM t",
    ]);
}

#[test]
fn unnest() {
    check(&[
        "SELECT a, UNNEST(make_array(a, b)) AS e FROM t",
        "SELECT UNNEST(make_array(a, b, 7)) AS e, UNNEST(make_array(c)) AS f FROM t",
        "SELECT s, UNNEST(CASE WHEN a > 1 THEN make_array(b) END) AS e FROM t",
        "SELECT e, COUNT(*) AS n FROM (SELECT UNNEST(make_array(a, b)) AS e FROM t) GROUP BY e",
    ]);
}
