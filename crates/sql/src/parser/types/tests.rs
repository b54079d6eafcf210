use super::*;
use crate::parser::tokenize;

/// The canonical text of a type.
fn canonical(text: &str) -> Result<String, String> {
    let (tokens, _) = tokenize(text);
    let mut cursor = Cursor::new(&tokens);
    let mut types = Types::default();
    types.define("mine".to_owned(), simple(SqlType::Date));
    let parsed = types.parse(&mut cursor).map_err(|error| error.message)?;
    assert!(cursor.is_at_end(), "{text}");
    Ok(column_type::sql_text(&parsed))
}

#[test]
fn types_have_canonical_texts() {
    for (text, expected) in [
        ("bool", "BOOLEAN"),
        ("int unsigned", "INTEGER UNSIGNED"),
        ("UTINYINT", "TINYINT UNSIGNED"),
        ("double precision", "DOUBLE"),
        ("decimal", "DECIMAL(38, 10)"),
        ("numeric(5)", "DECIMAL(5, 0)"),
        ("char", "CHAR(1)"),
        ("character varying(7)", "VARCHAR(7)"),
        ("text", "VARCHAR"),
        ("binary(4)", "BINARY(4)"),
        ("timestamp(3) without time zone", "TIMESTAMP"),
        ("interval year to month", "INTERVAL YEAR TO MONTH"),
        ("interval day(3) to second(2)", "INTERVAL DAY TO SECOND"),
        ("interval", "INTERVAL DAY TO SECOND"),
        ("int array array", "INTEGER ARRAY ARRAY"),
        ("int[][]", "INTEGER ARRAY ARRAY"),
        ("array<int>", "INTEGER ARRAY"),
        (
            "map<int, map<int, int array>>",
            "MAP<INTEGER, MAP<INTEGER, INTEGER ARRAY>>",
        ),
        (
            "row(a int not null, \"B\" row(c mine))",
            "ROW(\"a\" INTEGER NOT NULL, \"B\" ROW(\"c\" DATE))",
        ),
        ("Mine ARRAY", "DATE ARRAY"),
    ] {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn mistakes_have_a_remedy() {
    let message = canonical("boolen").expect_err("no such type");
    assert!(message.contains("did you mean \"boolean\"?"), "{message}");
    let message = canonical("row(a int, a int)").expect_err("twice");
    assert!(message.contains("twice"), "{message}");
}
