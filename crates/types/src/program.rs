//! What the SQL compiler says about a program.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An error or a warning with its place in the program. Lines and columns count from 1, the end is
/// inclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Diagnostic {
    pub start_line_number: usize,
    pub start_column: usize,
    pub end_line_number: usize,
    pub end_column: usize,
    /// False for an error.
    pub warning: bool,
    /// A short title, e.g. `Syntax error`.
    pub error_type: String,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The source lines with their numbers, and carets under the place.
    pub snippet: String,
}

impl Diagnostic {
    /// The text to show in a terminal: title, place, message, snippet.
    pub fn render(&self) -> String {
        let severity = if self.warning { "warning" } else { "error" };
        let mut text = format!(
            "{severity}: {}: {}\n  at line {}, column {}\n",
            self.error_type, self.message, self.start_line_number, self.start_column
        );
        text.push_str(&self.snippet);
        text
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}:{}: {}: {}",
            self.start_line_number, self.start_column, self.error_type, self.message
        )
    }
}
