use super::*;

fn at(line: usize, start: usize, end: usize) -> SourcePosition {
    SourcePosition {
        start_line_number: line,
        start_column: start,
        end_line_number: line,
        end_column: end,
    }
}

#[test]
fn snippet_has_the_line_and_carets() {
    let source = Source::new("a b\nSELECT x\n");
    let diagnostic = source.error(&SqlError::syntax(at(2, 8, 8), "bad"));
    assert_eq!(diagnostic.snippet, "   2|SELECT x\n            ^\n");
    assert_eq!(
        diagnostic.render(),
        "error: Syntax error: bad\n  at line 2, column 8\n   2|SELECT x\n            ^\n"
    );
}

#[test]
fn snippet_past_the_end_of_the_line_has_one_caret() {
    let source = Source::new("ab");
    let diagnostic = source.error(&SqlError::syntax(at(1, 3, 3), "bad"));
    assert_eq!(diagnostic.snippet, "   1|ab\n       ^\n");
}

#[test]
fn long_snippet_is_cut() {
    let source = Source::new("a\nb\nc\nd\ne\nf\ng\nh\n");
    let mut position = at(1, 1, 1);
    position.end_line_number = 8;
    let diagnostic = source.error(&SqlError::syntax(position, "bad"));
    assert_eq!(diagnostic.snippet.lines().count(), SNIPPET_LINES_MAX + 2);
}

#[test]
fn closest_name_is_found_only_if_close() {
    assert_eq!(closest("custmer", ["orders", "customer"]), Some("customer"));
    assert_eq!(closest("zebra", ["orders", "customer"]), None);
}
