//! All 22 queries of TPC-H have a plan.

use std::fs;
use std::path::PathBuf;

use crate::compile_ok;

fn read(name: &str) -> String {
    let directory: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../../tests/tpch"]
        .iter()
        .collect();
    fs::read_to_string(directory.join(name)).expect(name)
}

#[test]
fn every_query_compiles() {
    let schema = read("schema.sql");
    for number in 1..=22 {
        let query = read(&format!("q{number:02}.sql"));
        let program = compile_ok(&format!("{schema}\nCREATE VIEW q{number} AS\n{query};"));
        assert_eq!(program.tables.len(), 8);
        assert_eq!(program.views.len(), 1);
        assert_eq!(program.plan.views.len(), 1);
    }
}

#[test]
fn all_queries_compile_in_one_program() {
    let mut text = read("schema.sql");
    for number in 1..=22 {
        let query = read(&format!("q{number:02}.sql"));
        text.push_str(&format!(
            "CREATE MATERIALIZED VIEW q{number} AS\n{query};\n"
        ));
    }
    let program = compile_ok(&text);
    assert_eq!(program.views.len(), 22);
}
