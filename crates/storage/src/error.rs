//! Errors that name the file, the reason, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What a caller can do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request makes no sense here: another directory, another checkpoint, another name.
    Invalid,
    /// What was asked for is not there.
    NotFound,
    /// Contents are not what was written. Never repaired silently.
    Corrupt,
    /// Written by a version that this one does not understand.
    Unsupported,
    /// Another process owns the storage.
    Locked,
    /// No room or too many open files: works again when there is.
    Exhausted,
    /// The system refused; it may work another time.
    Unavailable,
}

/// What went wrong with a file or directory.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}: {message}{}", path.display(), hint(remedy))]
pub struct Error {
    kind: Kind,
    path: PathBuf,
    message: String,
    /// What to do; may be empty.
    remedy: String,
    /// Whether what was tried has happened is unknown.
    is_indeterminate: bool,
}

fn hint(remedy: &str) -> String {
    if remedy.is_empty() {
        String::new()
    } else {
        format!("; {remedy}")
    }
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub fn new(kind: Kind, path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            kind,
            path: path.into(),
            message: message.into(),
            remedy: String::new(),
            is_indeterminate: false,
        }
    }

    pub fn corrupt(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupt, path, message)
    }

    /// The system refused `action` ("write", "open", …).
    pub fn io(action: &str, path: impl Into<PathBuf>, error: io::Error) -> Self {
        let (kind, remedy) = match error.kind() {
            io::ErrorKind::NotFound => (Kind::NotFound, ""),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (Kind::Exhausted, "make room on the disk")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => (
                Kind::Unavailable,
                "make the directory writable for this user, or choose another",
            ),
            _ if is_out_of_files(&error) => (Kind::Exhausted, "raise the limit of open files"),
            _ => (Kind::Unavailable, ""),
        };
        Self {
            kind,
            path: path.into(),
            message: format!("cannot {action}: {error}"),
            remedy: remedy.to_owned(),
            is_indeterminate: false,
        }
    }

    /// Says what to do, in the imperative.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    /// Says what was being done when it happened.
    #[must_use]
    pub fn with_context(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// Says that what was tried may have happened, and may still be undone by a loss of power.
    #[must_use]
    pub fn indeterminate(mut self) -> Self {
        self.is_indeterminate = true;
        self
    }

    /// True if it is not known whether what was tried has happened.
    pub fn is_indeterminate(&self) -> bool {
        self.is_indeterminate
    }

    /// True if the medium holds something else than what was written: to try again is no use.
    /// Otherwise it is the system that refused.
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, Kind::Corrupt | Kind::NotFound)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The file or directory that it is about.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// EMFILE and ENFILE have no kind of their own.
fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(rustix::io::Errno::MFILE.raw_os_error())
        || code == Some(rustix::io::Errno::NFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_file_reason_and_remedy() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = Error::io("write", "/data/x", full);
        assert_eq!(error.kind(), Kind::Exhausted);
        let text = error.to_string();
        assert!(text.starts_with("/data/x: cannot write: "), "{text}");
        assert!(text.ends_with("; make room on the disk"), "{text}");
    }

    #[test]
    fn a_directory_that_is_only_read_is_said_to_be() {
        for refusal in [
            io::ErrorKind::PermissionDenied,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            let error = Error::io("create", "/data/x", refusal.into());
            assert_eq!(error.kind(), Kind::Unavailable);
            let text = error.to_string();
            assert!(text.contains("make the directory writable"), "{text}");
        }
    }

    #[test]
    fn too_many_open_files_is_exhaustion() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!(Error::io("open", "x", error).kind(), Kind::Exhausted);
    }
}
