//! The three forms of a small program.

use highwater_zset::RowHasher;

use super::{explain_dot, explain_svg, explain_text};
use crate::{CompileOptions, Program, compile};

fn program() -> Program {
    let text = "
        CREATE TABLE o (id BIGINT NOT NULL PRIMARY KEY, customer BIGINT, note VARCHAR);
        CREATE TABLE c (id BIGINT NOT NULL PRIMARY KEY, region VARCHAR);
        CREATE MATERIALIZED VIEW totals AS
            SELECT region, COUNT(*) AS n FROM o JOIN c ON o.customer = c.id
            WHERE note <> '<\"a\" & #7>' GROUP BY region;
        CREATE VIEW top AS SELECT region, n FROM totals ORDER BY n DESC LIMIT 3;
    ";
    let hasher = RowHasher::new(1);
    compile(text, &CompileOptions { hasher }).unwrap()
}

#[test]
fn text_shows_each_view_and_shared_operators_once() {
    let text = explain_text(&program().plan);
    for expected in [
        "table o (id Int64, customer Int64, note Utf8)",
        "materialized view totals",
        "\nview top",
        "on customer = id",
        "by [region]",
        "top k rows 1 to 3",
        " desc]",
        "(see above)",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    let ids: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("  ") && !line.contains("see above"))
        .filter(|line| !line.contains(" table "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(ids.len(), distinct.len(), "{text}");
}

#[test]
fn dot_has_every_node_and_edge() {
    let program = program();
    let dot = explain_dot(&program.plan);
    let edges: usize = program
        .plan
        .nodes
        .iter()
        .map(|node| node.inputs.len())
        .sum();
    assert_eq!(
        dot.matches(" -> ").count(),
        edges + program.plan.views.len()
    );
    assert_eq!(dot.matches("[label=").count(), program.plan.nodes.len() + 2);
    for line in dot.lines() {
        let quotes = line.replace("\\\\", "").replace("\\\"", "");
        assert_eq!(quotes.matches('"').count() % 2, 0, "{line}");
    }
}

/// Every element is closed in order, and text has no bare `<` or `&`.
fn check_well_formed(document: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = document;
    while let Some(start) = rest.find('<') {
        check_text(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        let name = |tag: &'_ str| tag.split_whitespace().next().map(str::len).unwrap_or(0);
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{document}");
        } else if !tag.ends_with('/') {
            open.push(&tag[..name(tag)]);
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        rest = &rest[end + 1..];
    }
    check_text(rest);
    assert!(open.is_empty(), "{open:?} not closed");
}

fn check_text(text: &str) {
    for part in text.split('&').skip(1) {
        let is_entity = ["amp;", "lt;", "gt;", "quot;"];
        assert!(
            is_entity.iter().any(|entity| part.starts_with(entity)),
            "{text}"
        );
    }
}

#[test]
fn svg_is_well_formed_and_boxes_do_not_overlap() {
    let program = program();
    let svg = explain_svg(&program.plan);
    check_well_formed(&svg);
    let boxes: Vec<(&str, &str)> = svg
        .lines()
        .filter(|line| line.starts_with("<rect"))
        .map(|line| (attribute(line, "x"), attribute(line, "y")))
        .collect();
    assert_eq!(
        boxes.len(),
        program.plan.nodes.len() + program.plan.views.len()
    );
    let mut distinct = boxes.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(boxes.len(), distinct.len());
    assert!(svg.contains("view totals"));
}

fn attribute<'a>(line: &'a str, name: &str) -> &'a str {
    let start = format!(" {name}=\"");
    let start = line
        .find(&start)
        .map(|at| at + start.len())
        .expect("the attribute");
    let length = line[start..].find('"').expect("a closing quote");
    &line[start..start + length]
}
