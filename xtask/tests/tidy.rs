//! The tree keeps the rules of the house, and each check catches a planted offender.

use xtask::source::{SourceFile, source_files};
use xtask::{Finding, budgets, edges, files, links, workspace_root};

fn assert_clean(findings: Vec<Finding>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

fn assert_caught(findings: &[Finding], expected: &str) {
    assert!(
        findings.iter().any(|finding| finding.contains(expected)),
        "nothing says {expected:?}:\n{}\n",
        findings.join("\n")
    );
}

fn tree() -> Vec<SourceFile> {
    source_files(&workspace_root()).expect("all source files can be read and parsed")
}

fn parse(path: &str, text: impl Into<String>) -> SourceFile {
    SourceFile::parse(path, text.into()).expect("valid Rust")
}

fn function(name: &str, lines: usize) -> String {
    let body = "    step();\n".repeat(lines - 2);
    format!("fn {name}() {{\n{body}}}\n")
}

fn no_exceptions() -> budgets::Exceptions {
    budgets::Exceptions::new()
}

#[test]
fn crates_know_only_what_they_may() {
    let graph = edges::load(&workspace_root()).expect("cargo metadata");
    assert!(graph.members.len() >= 10, "found {:?}", graph.members);
    assert_clean(edges::check(&graph));
}

#[test]
fn functions_and_files_keep_their_budgets() {
    let path = workspace_root().join("xtask/budget_exceptions.txt");
    let text = std::fs::read_to_string(path).expect("the list of exceptions");
    let exceptions = budgets::parse_exceptions(&text).expect("a valid list");
    assert_clean(budgets::check(&tree(), &exceptions));
}

#[test]
fn files_say_why_they_exist_and_have_no_open_ends() {
    let tree = tree();
    assert!(tree.len() > 20, "found only {} files", tree.len());
    assert_clean(files::check(&tree));
}

#[test]
fn a_forbidden_edge_is_caught() {
    let graph = edges::load(&workspace_root()).expect("cargo metadata");

    let mut upwards = graph.clone();
    let uses = upwards.uses.entry("highwater-zset".to_owned());
    uses.or_default().insert("highwater-circuit".to_owned());
    assert_caught(
        &edges::check(&upwards),
        "highwater-zset: must not depend on highwater-circuit",
    );

    let mut over_the_fence = graph.clone();
    let uses = over_the_fence.tests_use.entry("highwater-cli".to_owned());
    uses.or_default().insert("timely".to_owned());
    assert_caught(
        &edges::check(&over_the_fence),
        "highwater-cli: timely belongs to highwater-circuit",
    );

    let mut through_another = graph.clone();
    let uses = through_another.uses.entry("arrow".to_owned());
    uses.or_default().insert("tokio".to_owned());
    assert_caught(
        &edges::check(&through_another),
        "highwater-circuit: must not know tokio: highwater-circuit -> ",
    );

    let mut unknown = graph;
    unknown.members.insert("highwater-utils".to_owned());
    assert_caught(&edges::check(&unknown), "highwater-utils: is not in");
}

#[test]
fn a_long_function_is_caught_and_an_exception_only_shrinks() {
    let long = |lines| [parse("crates/x/src/y.rs", function("longish", lines))];
    assert_clean(budgets::check(&long(70), &no_exceptions()));
    assert_caught(
        &budgets::check(&long(71), &no_exceptions()),
        "crates/x/src/y.rs::longish: 71 lines",
    );

    let exceptions = budgets::parse_exceptions("90 crates/x/src/y.rs::longish # history").unwrap();
    assert_clean(budgets::check(&long(90), &exceptions));
    assert_caught(&budgets::check(&long(91), &exceptions), "91 lines");
    assert_caught(&budgets::check(&long(80), &exceptions), "lower");
    assert_caught(&budgets::check(&long(60), &exceptions), "fits its budget");
    assert_caught(&budgets::check(&[], &exceptions), "is gone");
}

#[test]
fn a_long_method_is_caught() {
    let text = format!("struct A;\nimpl A {{\n{}}}\n", function("method", 71));
    let files = [parse("crates/x/src/y.rs", text)];
    assert_caught(&budgets::check(&files, &no_exceptions()), "::method: 71");
}

#[test]
fn a_long_file_is_caught_and_its_tests_are_counted_apart() {
    let lines = |count: usize| "const X: u8 = 0;\n".repeat(count);
    let check = |path: &str, text: String| budgets::check(&[parse(path, text)], &no_exceptions());
    assert_clean(check("crates/x/src/y.rs", lines(800)));
    assert_caught(&check("crates/x/src/y.rs", lines(801)), "801 lines");
    assert_clean(check("crates/x/src/y/tests.rs", lines(1500)));
    assert_caught(&check("crates/x/tests/y.rs", lines(1501)), "1501 lines");

    let inline = |count| {
        format!(
            "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
            lines(800),
            lines(count)
        )
    };
    assert_clean(check("crates/x/src/y.rs", inline(197)));
    assert_caught(&check("crates/x/src/y.rs", inline(198)), "y.rs::tests: 201");
}

#[test]
fn a_file_without_docs_is_caught() {
    let files = [parse("crates/x/src/y.rs", "/// Of the item.\nfn f() {}\n")];
    assert_caught(&files::check(&files), "crates/x/src/y.rs: begin with");
    let files = [parse("crates/x/src/y.rs", "//! Why.\nfn f() {}\n")];
    assert_clean(files::check(&files));
}

#[test]
fn a_mod_rs_is_caught() {
    let files = [parse("crates/x/src/y/mod.rs", "//! Why.\n")];
    assert_caught(&files::check(&files), "mod.rs: use `folder.rs`");
}

#[test]
fn an_open_end_without_an_issue_is_caught() {
    let word = concat!("TO", "DO");
    let check = |comment: String| {
        files::check(&[parse(
            "crates/x/src/y.rs",
            format!("//! Why.\n// {comment}\n"),
        )])
    };
    assert_caught(&check(format!("{word}: later")), "y.rs:2: ");
    assert_clean(check(format!("{word}(#12): later")));
    assert_clean(check(format!("{word}S is another word")));
}

#[test]
fn links_lead_somewhere() {
    assert_clean(links::check(&workspace_root()).expect("the docs can be read"));
}

#[test]
fn a_dead_link_is_caught() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[a](A.md), [b](b.md#part), [c](https://example.org/c.md), [d](#here)";
    assert_eq!(links::relative_links(text), ["A.md", "b.md"]);
    std::fs::write(folder.path().join("A.md"), text).expect("a file");
    let findings = links::check(folder.path()).expect("it can be read");
    assert_eq!(findings, ["A.md: links to b.md, which does not exist"]);
}
