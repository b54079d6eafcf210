use super::*;

#[test]
fn views_of_one_node_have_their_own_column_names() {
    let text = "CREATE TABLE t (a INT, b INT);
        CREATE VIEW v AS SELECT a AS x, COUNT(DISTINCT b) AS n FROM t GROUP BY a;
        CREATE LOCAL VIEW l AS SELECT * FROM v;
        CREATE MATERIALIZED VIEW w AS SELECT x AS y, n AS m FROM l;";
    let options = CompileOptions {
        hasher: RowHasher::new(1),
    };
    let program = compile(text, &options).unwrap();
    let names = |view: usize| -> Vec<String> {
        let fields = program.plan.views[view].schema.fields();
        fields.iter().map(|field| field.name().clone()).collect()
    };
    assert_eq!(names(0), ["x", "n"]);
    assert_eq!(names(1), ["y", "m"]);
}
