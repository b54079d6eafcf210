use super::*;
use crate::parser::statement::ViewKind;

#[test]
fn statements_are_parsed_apart() {
    let parsed = parse_program(
        "CREATE TABLE t(x INT); -- a ; in a comment\n\
         CREATE NONSENSE;\n\
         CREATE LOCAL VIEW v AS SELECT ';' AS s;;\n",
    );
    assert_eq!(parsed.errors.len(), 1);
    assert_eq!(parsed.errors[0].position.start_line_number, 2);
    let [Statement::Table(table), Statement::View(view)] = parsed.statements.as_slice() else {
        panic!("{:?}", parsed.statements)
    };
    assert_eq!(table.name.value, "t");
    assert_eq!(
        (view.name.value.as_str(), view.kind),
        ("v", ViewKind::Local)
    );
}

#[test]
fn names_of_failed_definitions_are_kept() {
    let parsed = parse_program("CREATE TABLE Tt(x NOTYPE); CREATE LOCAL VIEW \"V\" AS SELEC 1;");
    assert_eq!(parsed.failed_names, ["tt", "V"]);
}

#[test]
fn only_queries_are_ad_hoc() {
    let mut types = Types::default();
    assert_eq!(
        parse_queries("SELECT 1; (VALUES (1));", &mut types)
            .expect("queries")
            .len(),
        2
    );
    assert!(parse_queries("DELETE FROM t", &mut types).is_err());
}
