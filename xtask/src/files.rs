//! Rules about whole files: a module doc that says why, no `mod.rs`, no open ends without an issue.

use crate::Finding;
use crate::source::SourceFile;

/// Words that mark open ends; each needs an issue number, as in `TODO(#12)`.
const OPEN_ENDS: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

/// Checks every file.
pub fn check(files: &[SourceFile]) -> Vec<Finding> {
    files
        .iter()
        .flat_map(|file| {
            missing_module_doc(file)
                .into_iter()
                .chain(mod_rs(file))
                .chain(open_ends(file))
        })
        .collect()
}

fn missing_module_doc(file: &SourceFile) -> Option<Finding> {
    let has_doc = file.syntax.attrs.iter().any(|attribute| {
        matches!(attribute.style, syn::AttrStyle::Inner(_)) && attribute.path().is_ident("doc")
    });
    // `foo/tests.rs` is the test module of `foo.rs`, which has said it.
    let is_part = file.path.ends_with("/tests.rs");
    (!has_doc && !is_part).then(|| {
        format!(
            "{}: begin with `//!` docs that say why it exists",
            file.path
        )
    })
}

fn mod_rs(file: &SourceFile) -> Option<Finding> {
    file.path
        .ends_with("/mod.rs")
        .then(|| format!("{}: use `folder.rs` beside `folder/`", file.path))
}

fn open_ends(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for word in OPEN_ENDS {
            if has_word_without_issue(line, word) {
                let number = index + 1;
                findings.push(format!("{}:{number}: {word} without `(#issue)`", file.path));
            }
        }
    }
    findings
}

fn has_word_without_issue(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = &line[start + word.len()..];
        let is_word = !before.is_some_and(is_name_character)
            && !after.chars().next().is_some_and(is_name_character);
        is_word && !after.starts_with("(#")
    })
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
