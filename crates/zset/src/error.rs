//! What can go wrong with batches: only what a caller can act on.

/// Errors of this crate.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Columns do not have the type that the layout says, or Arrow refused a kernel call.
    #[error("{0}")]
    Invalid(String),
    /// A sum of weights left the range of i64.
    #[error("the weight of a row overflows")]
    WeightOverflow,
    /// A file of state cannot be read or written.
    #[error(transparent)]
    Storage(#[from] highwater_storage::Error),
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Invalid(error.to_string())
    }
}

pub type Result<T> = std::result::Result<T, Error>;
