//! Budgets: how long a function and a file may be.
//!
//! Tests have their own: a file of tests may be longer, and its functions are not counted, for a
//! list of cases is no harder to read for being long. `#[cfg(test)]` modules do not count for the
//! file they are in, up to [`INLINE_TEST_LINES_MAX`].
//!
//! Exceptions are named in `xtask/budget_exceptions.txt`, each with its present length. They only
//! shrink: what grows beyond its line fails, and so does a line that is longer than need be.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use syn::spanned::Spanned;
use syn::visit::Visit;

use crate::Finding;
use crate::source::SourceFile;

/// Lines from a function's signature to its closing brace.
pub const FUNCTION_LINES_MAX: usize = 70;
/// Lines of a file without its inline tests.
pub const FILE_LINES_MAX: usize = 800;
/// Lines of a file that holds only tests.
pub const TEST_FILE_LINES_MAX: usize = 1500;
/// Lines of a `#[cfg(test)]` module inside a file; longer ones move to `foo/tests.rs`.
pub const INLINE_TEST_LINES_MAX: usize = 200;

/// The exceptions: what (`path` or `path::function`) to its length.
pub type Exceptions = BTreeMap<String, usize>;

/// Reads lines of the form `120 crates/x/src/y.rs::function`; `#` begins a comment.
///
/// # Errors
/// On any other line.
pub fn parse_exceptions(text: &str) -> Result<Exceptions> {
    let mut exceptions = Exceptions::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let Some((length, name)) = line.split_once(' ') else {
            bail!("budget exception without a length: {line}");
        };
        let length = length.parse().with_context(|| line.to_owned())?;
        exceptions.insert(name.trim().to_owned(), length);
    }
    Ok(exceptions)
}

/// Checks all files, with the named exceptions.
pub fn check(files: &[SourceFile], exceptions: &Exceptions) -> Vec<Finding> {
    let measures: Vec<Measure> = files.iter().flat_map(measure).collect();
    let mut findings = Vec::new();
    for Measure { name, lines, limit } in &measures {
        let allowed = exceptions.get(name).copied().unwrap_or(*limit);
        if *lines > allowed {
            findings.push(format!("{name}: {lines} lines, {allowed} are allowed"));
        }
    }
    for (name, &length) in exceptions {
        let measured = measures.iter().filter(|measure| &measure.name == name);
        match measured.max_by_key(|measure| measure.lines) {
            None => findings.push(format!("{name}: is gone; remove its budget exception")),
            Some(measure) if measure.lines <= measure.limit => findings.push(format!(
                "{name}: fits its budget; remove its budget exception"
            )),
            Some(measure) if measure.lines < length => findings.push(format!(
                "{name}: has shrunk; lower its budget exception to {}",
                measure.lines
            )),
            Some(_) => {}
        }
    }
    findings
}

struct Measure {
    name: String,
    lines: usize,
    limit: usize,
}

fn measure(file: &SourceFile) -> Vec<Measure> {
    let mut visitor = Lengths {
        path: &file.path,
        count_functions: !file.is_test(),
        inline_test_lines: 0,
        measures: Vec::new(),
    };
    visitor.visit_file(&file.syntax);
    let inline_test_lines = visitor.inline_test_lines;
    let mut measures = visitor.measures;
    measures.push(Measure {
        name: file.path.clone(),
        lines: file.text.lines().count() - inline_test_lines,
        limit: if file.is_test() {
            TEST_FILE_LINES_MAX
        } else {
            FILE_LINES_MAX
        },
    });
    measures.push(Measure {
        name: format!("{}::tests", file.path),
        lines: inline_test_lines,
        limit: INLINE_TEST_LINES_MAX,
    });
    measures
}

struct Lengths<'file> {
    path: &'file str,
    count_functions: bool,
    inline_test_lines: usize,
    measures: Vec<Measure>,
}

impl Lengths<'_> {
    fn function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        if self.count_functions {
            self.measures.push(Measure {
                name: format!("{}::{}", self.path, signature.ident),
                lines: lines_between(signature, block),
                limit: FUNCTION_LINES_MAX,
            });
        }
    }
}

impl<'ast> Visit<'ast> for Lengths<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if module.content.is_some() && is_for_tests(&module.attrs) {
            self.inline_test_lines += lines_between(module, module);
        } else {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.function(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.function(&function.sig, &function.block);
        syn::visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, function);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Ident>()
                .is_ok_and(|condition| condition == "test")
    })
}

fn lines_between(first: &impl Spanned, last: &impl Spanned) -> usize {
    last.span().end().line - first.span().start().line + 1
}
