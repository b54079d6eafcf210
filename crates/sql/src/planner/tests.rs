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

#[test]
fn probe() {
    for query in [
        "SELECT t.a, x.e FROM t CROSS JOIN UNNEST(t.arr) AS x(e)",
        "SELECT t.a, e FROM t, UNNEST(t.arr) AS x(e) WHERE e > 3",
        "SELECT t.a, x.* FROM t LEFT JOIN UNNEST(t.arr) AS x(e) ON TRUE",
        "SELECT a FROM t WHERE a > 100 OR a NOT IN (SELECT a FROM u WHERE u.b = t.b)",
        "SELECT a, a IN (SELECT a FROM u) AS i FROM t",
        "SELECT a FROM t WHERE NOT (a, b) IN (SELECT a, b FROM u)",
        "SELECT a, b FROM t ORDER BY b DESC LIMIT 3",
        "SELECT a, UNNEST(arr) AS e FROM t",
    ] {
        println!(
            "{query}\n{}\n",
            std::panic::catch_unwind(|| optimized(query)).unwrap_or_default()
        );
    }
}
