//! Errors with their place in the program, and how they become [`Diagnostic`]s for people.
//!
//! Every error of this crate is a [`SqlError`]. It knows where it is; the text around it is added
//! only when it is shown, by [`Source`].

use std::collections::BTreeSet;

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::sqlparser::tokenizer::Span;
use highwater_types::program::Diagnostic;
use highwater_types::relation::SourcePosition;

/// What kind of mistake it is; shown as the title.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ErrorKind {
    Syntax,
    Unsupported,
    Definition,
    Property,
    Planning,
}

impl ErrorKind {
    fn title(self) -> &'static str {
        match self {
            Self::Syntax => "Syntax error",
            Self::Unsupported => "Not supported",
            Self::Definition => "Definition error",
            Self::Property => "Property error",
            Self::Planning => "Planning error",
        }
    }
}

/// An error or warning with its place.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct SqlError {
    pub(crate) kind: ErrorKind,
    pub(crate) position: SourcePosition,
    pub(crate) message: String,
}

pub(crate) type SqlResult<T> = Result<T, SqlError>;

impl SqlError {
    pub(crate) fn new(
        kind: ErrorKind,
        position: SourcePosition,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            position,
            message: message.into(),
        }
    }

    pub(crate) fn syntax(position: SourcePosition, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Syntax, position, message)
    }

    pub(crate) fn definition(position: SourcePosition, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Definition, position, message)
    }

    /// Refuses a construct by its name.
    pub(crate) fn unsupported(position: SourcePosition, construct: &str, remedy: &str) -> Self {
        let separator = if remedy.is_empty() { "" } else { "; " };
        let message = format!("{construct} is not supported{separator}{remedy}");
        Self::new(ErrorKind::Unsupported, position, message)
    }

    /// The errors that DataFusion found, at their own places or else at `fallback`.
    pub(crate) fn from_datafusion(error: &DataFusionError, fallback: SourcePosition) -> Vec<Self> {
        let mut errors = Vec::new();
        collect_datafusion(error, fallback, &mut errors);
        errors
    }
}

fn collect_datafusion(
    error: &DataFusionError,
    fallback: SourcePosition,
    errors: &mut Vec<SqlError>,
) {
    if let DataFusionError::Collection(parts) = error {
        for part in parts {
            collect_datafusion(part, fallback, errors);
        }
        return;
    }
    if let Some(own) = own_error(error) {
        let mut own = own.clone();
        if own.position == SourcePosition::default() {
            own.position = fallback;
        }
        errors.push(own);
        return;
    }
    let kind = match error.find_root() {
        DataFusionError::NotImplemented(_) => ErrorKind::Unsupported,
        _ => ErrorKind::Planning,
    };
    let Some(diagnostic) = error.diagnostic() else {
        errors.push(SqlError::new(kind, fallback, plain_message(error)));
        return;
    };
    let position = diagnostic.span.map_or(fallback, span_position);
    let mut message = diagnostic.message.clone();
    let mut seen = BTreeSet::new();
    let helps = diagnostic.helps.iter().map(|help| &help.message);
    let notes = diagnostic.notes.iter().map(|note| &note.message);
    for remark in helps.chain(notes) {
        if seen.insert(remark) {
            message.push_str("; ");
            message.push_str(remark);
        }
    }
    errors.push(SqlError::new(kind, position, message));
}

/// An error of ours that has travelled through DataFusion.
fn own_error(error: &DataFusionError) -> Option<&SqlError> {
    match error {
        DataFusionError::External(inner) => inner.downcast_ref(),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            own_error(inner)
        }
        DataFusionError::Shared(inner) => own_error(inner),
        _ => None,
    }
}

impl From<SqlError> for DataFusionError {
    fn from(error: SqlError) -> Self {
        Self::External(Box::new(error))
    }
}

/// DataFusion's message without the chain of prefixes and the offer to report a bug.
fn plain_message(error: &DataFusionError) -> String {
    let root = error.find_root();
    let message = match root {
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::DuplicateUnqualifiedField { name } => {
                format!("two columns are named {name:?}; give one of them another name with AS")
            }
            other => other.to_string(),
        },
        other => other.message().into_owned(),
    };
    let message = message.split("\n\nbacktrace:").next().unwrap_or_default();
    let message = message
        .split(".\nThis issue was likely caused")
        .next()
        .unwrap_or_default();
    let message = message.trim();
    let message = message.strip_prefix("Arrow error: ").unwrap_or(message);
    let message = message.strip_prefix("Cast error: ").unwrap_or(message);
    message.to_owned()
}

/// The position of a span; spans end after their last character, positions on it.
pub(crate) fn position(span: Span) -> SourcePosition {
    inclusive(
        (span.start.line, span.start.column),
        (span.end.line, span.end.column),
    )
}

/// The position of a span of DataFusion.
pub(crate) fn span_position(span: datafusion::common::Span) -> SourcePosition {
    inclusive(
        (span.start.line, span.start.column),
        (span.end.line, span.end.column),
    )
}

fn inclusive(start: (u64, u64), end: (u64, u64)) -> SourcePosition {
    let to_usize = |number: u64| usize::try_from(number).unwrap_or(usize::MAX).max(1);
    let (start_line, start_column) = (to_usize(start.0), to_usize(start.1));
    let (end_line, end_column) = (to_usize(end.0), to_usize(end.1).saturating_sub(1).max(1));
    let is_ordered = (end_line, end_column) >= (start_line, start_column);
    SourcePosition {
        start_line_number: start_line,
        start_column,
        end_line_number: if is_ordered { end_line } else { start_line },
        end_column: if is_ordered { end_column } else { start_column },
    }
}

/// Spans from the start of the first to the end of the second.
pub(crate) fn covering(first: SourcePosition, last: SourcePosition) -> SourcePosition {
    SourcePosition {
        start_line_number: first.start_line_number,
        start_column: first.start_column,
        end_line_number: last.end_line_number,
        end_column: last.end_column,
    }
}

/// Where errors are shown that have no place of their own.
pub(crate) const TEXT_START: SourcePosition = SourcePosition {
    start_line_number: 1,
    start_column: 1,
    end_line_number: 1,
    end_column: 1,
};

/// The program text, to show errors in it.
pub(crate) struct Source<'a> {
    lines: Vec<&'a str>,
}

/// Snippets show at most this many lines.
const SNIPPET_LINES_MAX: usize = 6;

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            lines: text.lines().collect(),
        }
    }

    pub(crate) fn error(&self, error: &SqlError) -> Diagnostic {
        self.diagnostic(error, false)
    }

    pub(crate) fn warning(&self, warning: &SqlError) -> Diagnostic {
        self.diagnostic(warning, true)
    }

    fn diagnostic(&self, error: &SqlError, warning: bool) -> Diagnostic {
        let SourcePosition {
            start_line_number,
            start_column,
            end_line_number,
            end_column,
        } = error.position;
        Diagnostic {
            start_line_number,
            start_column,
            end_line_number,
            end_column,
            warning,
            error_type: error.kind.title().to_owned(),
            message: error.message.clone(),
            snippet: self.snippet(error.position),
        }
    }

    /// The lines of `position`, numbered; below the first, carets.
    fn snippet(&self, position: SourcePosition) -> String {
        let first = position.start_line_number;
        let shown_last = position.end_line_number.min(first + SNIPPET_LINES_MAX - 1);
        let width = shown_last.to_string().len().max(4);
        let mut snippet = String::new();
        for number in first..=shown_last {
            let line = number
                .checked_sub(1)
                .and_then(|index| self.lines.get(index));
            let Some(line) = line else {
                break;
            };
            snippet.push_str(&format!("{number:>width$}|{line}\n"));
            if number == first {
                let characters = line.chars().count();
                let end = if position.end_line_number == first {
                    position.end_column
                } else {
                    characters
                };
                let start = position.start_column.min(characters + 1);
                let carets = (end + 1).saturating_sub(start).max(1);
                let indent = " ".repeat(width + start);
                snippet.push_str(&format!("{indent}{}\n", "^".repeat(carets)));
            }
        }
        if position.end_line_number > shown_last {
            snippet.push_str(&format!("{:>width$}|\n", "…"));
        }
        snippet
    }
}

/// The candidate that is closest to `name`, if any is close.
pub(crate) fn closest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = datafusion::common::utils::datafusion_strsim::levenshtein(
                &candidate.to_lowercase(),
                &name.to_lowercase(),
            );
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests;
