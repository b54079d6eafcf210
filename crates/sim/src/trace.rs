//! What was asked of a disk, call by call.

use std::fmt;
use std::path::{Path, PathBuf};

use highwater_storage::digest::checksum;
use uuid::Uuid;

use crate::faults::Fault;

/// Which method of the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    Create,
    Open,
    Rename,
    HardLink,
    RemoveFile,
    CreateDir,
    RemoveDir,
    List,
    SyncDir,
    Lock,
    FreeBytes,
    Len,
    Read,
    Append,
    Sync,
}

impl CallKind {
    /// It may change what is on the disk, or what of it is durable.
    pub fn is_changing(self) -> bool {
        !matches!(
            self,
            Self::Open | Self::List | Self::FreeBytes | Self::Len | Self::Read
        )
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub number: u64,
    pub kind: CallKind,
    pub path: PathBuf,
    /// The second path of a rename or link.
    pub to: Option<PathBuf>,
    /// Read or to be written.
    pub bytes: usize,
    pub fault: Option<Fault>,
    pub is_ok: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {:?} {}",
            self.number,
            self.kind,
            self.path.display()
        )?;
        if let Some(to) = &self.to {
            write!(formatter, " -> {}", to.display())?;
        }
        if self.bytes > 0 {
            write!(formatter, " ({} bytes)", self.bytes)?;
        }
        if let Some(fault) = self.fault {
            write!(formatter, ": {fault}")?;
        } else if !self.is_ok {
            formatter.write_str(": refused")?;
        }
        Ok(())
    }
}

/// Hash of the calls. Uuids count by the order in which they first appear, since they are drawn
/// anew in every run; lengths do not count, since times are written with as many digits as needed.
pub fn shape(calls: &[Call]) -> u64 {
    let mut seen = Vec::new();
    let mut text = String::new();
    for call in calls {
        let to = call
            .to
            .as_deref()
            .map_or_else(String::new, |to| normalized(to, &mut seen));
        let path = normalized(&call.path, &mut seen);
        text.push_str(&format!(
            "{:?} {path} {to} {:?} {}\n",
            call.kind, call.fault, call.is_ok
        ));
    }
    checksum(text.as_bytes())
}

/// Hash of the calls, uuids and lengths included.
pub fn hash(calls: &[Call]) -> u64 {
    let lines: Vec<String> = calls.iter().map(Call::to_string).collect();
    checksum(lines.join("\n").as_bytes())
}

const UUID_CHARS: usize = 36;

fn normalized(path: &Path, seen: &mut Vec<Uuid>) -> String {
    let text = path.to_string_lossy();
    let mut result = String::new();
    let mut rest = text.as_ref();
    while let Some(next) = rest.chars().next() {
        let candidate = rest
            .get(..UUID_CHARS)
            .and_then(|text| Uuid::try_parse(text).ok());
        if let Some(uuid) = candidate {
            let place = seen.iter().position(|known| *known == uuid);
            let place = place.unwrap_or_else(|| {
                seen.push(uuid);
                seen.len() - 1
            });
            result.push_str(&format!("#{place}"));
            rest = &rest[UUID_CHARS..];
        } else {
            result.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    result
}
