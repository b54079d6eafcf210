//! What can go wrong with streams: bad rows, which are counted and passed over, and failures,
//! which end a stream.

use std::fmt;
use std::path::PathBuf;

pub use highwater_types::connector::ConfigError;

/// Errors kept in full; the rest is counted.
pub const ROW_ERRORS_MAX: usize = 100;

/// Characters of a bad value that are shown.
const SHOWN_VALUE_CHARS_MAX: usize = 60;

/// A record that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RowError {
    /// Which record of the stream, counting from 1.
    pub record: u64,
    /// Where the record begins, counting from 1; none in binary formats.
    pub line: Option<u64>,
    pub column: Option<String>,
    /// The offending value or the beginning of the record.
    pub value: Option<String>,
    pub reason: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "record {}", self.record)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        if let Some(column) = &self.column {
            write!(f, ", column `{column}`")?;
        }
        write!(f, ": {}", self.reason)?;
        match &self.value {
            Some(value) => write!(f, ": `{value}`"),
            None => Ok(()),
        }
    }
}

/// The bad records of a piece of a stream: all are counted, the first [`ROW_ERRORS_MAX`] kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowErrors {
    pub total: u64,
    pub first: Vec<RowError>,
}

impl RowErrors {
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    pub fn push(&mut self, error: RowError) {
        self.total += 1;
        if self.first.len() < ROW_ERRORS_MAX {
            self.first.push(error);
        }
    }

    /// Adds the errors of a later piece.
    pub fn append(&mut self, later: RowErrors) {
        self.total += later.total;
        let room = ROW_ERRORS_MAX - self.first.len();
        self.first.extend(later.first.into_iter().take(room));
    }
}

impl fmt::Display for RowErrors {
    /// The message of the ingress's 400 reply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errors parsing input data ({} errors):", self.total)?;
        for error in &self.first {
            write!(f, "\n{error}")?;
        }
        let hidden = self.total - self.first.len() as u64;
        if hidden > 0 {
            write!(f, "\n… and {hidden} more")?;
        }
        Ok(())
    }
}

/// Why one value of a record does not fit its column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ValueError {
    pub(crate) value: Option<String>,
    pub(crate) reason: String,
}

impl ValueError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            value: None,
            reason: reason.into(),
        }
    }

    pub(crate) fn of(value: &str, reason: impl Into<String>) -> Self {
        Self {
            value: Some(shorten(value)),
            reason: reason.into(),
        }
    }
}

/// The beginning of a value, fit for a message.
pub(crate) fn shorten(value: &str) -> String {
    let mut shown: String = value.chars().take(SHOWN_VALUE_CHARS_MAX).collect();
    if shown.len() < value.len() {
        shown.push('…');
    }
    shown
}

/// A stream that cannot be decoded any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not of the format at all, or damaged.
    #[error("not a readable {format} stream: {reason}")]
    Corrupt {
        format: &'static str,
        reason: String,
    },
    /// The stream's columns are not the table's.
    #[error("{0}")]
    Columns(String),
}

/// A row that cannot be written in a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{0}")]
    Arrow(String),
}

impl From<arrow::error::ArrowError> for EncodeError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Arrow(error.to_string())
    }
}

/// A transport that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("file `{}` does not exist; check `path` in the connector's transport config (relative paths start at `{}`)", path.display(), working_directory.display())]
    FileNotFound {
        path: PathBuf,
        working_directory: PathBuf,
    },
    #[error("cannot {action} `{}`", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    /// The file is shorter than the position to go on from.
    #[error("`{}` ends at byte {length}, before byte {position} where reading must go on; it was truncated or replaced", path.display())]
    FileShrank {
        path: PathBuf,
        length: u64,
        position: u64,
    },
    #[error("cannot fetch `{url}`: {reason}")]
    Url { url: String, reason: String },
    #[error("the position to go on from is not one of this connector: {0}")]
    Position(String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}
