use super::*;
use crate::parser::tokenize;

/// The rewritten tokens as text.
fn rewritten(text: &str) -> String {
    let (tokens, error) = tokenize(text);
    assert!(error.is_none());
    let tokens = rewrite(&tokens, &mut Types::default()).expect("no mistakes");
    let texts: Vec<String> = tokens.iter().map(|token| token.token.to_string()).collect();
    texts.join(" ")
}

#[test]
fn types_in_casts_become_words() {
    assert_eq!(
        rewritten(
            "CAST(a AS DECIMAL(5, 2)) + b::INT ARRAY + TRY_CAST((SELECT c AS d) AS ROW(x INT, y MAP<INT, MAP<INT, INT>>))"
        ),
        "CAST ( a AS \"DECIMAL(5, 2)\" ) + b :: \"INTEGER ARRAY\" + TRY_CAST ( ( SELECT c AS d ) AS \
         \"ROW(\"x\" INTEGER, \"y\" MAP<INTEGER, MAP<INTEGER, INTEGER>>)\" )"
    );
}

#[test]
fn map_literals_become_calls() {
    assert_eq!(
        rewritten("MAP['a', f(1, 2), 'b', MAP['c', 3]]"),
        "map ( make_array ( 'a' , 'b' ) , make_array ( f ( 1 , 2 ) , \
         map ( make_array ( 'c' ) , make_array ( 3 ) ) ) )"
    );
    assert_eq!(rewritten("map['a'] + 1"), "map [ 'a' ] + 1");
}

#[test]
fn other_tokens_stay() {
    let text = "SELECT a AS b , COUNT ( * ) FROM t AS x ( y )";
    assert_eq!(rewritten(text), text);
}
