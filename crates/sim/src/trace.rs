//! What was asked of a disk, call by call.

use std::fmt;
use std::path::PathBuf;

use highwater_storage::digest::checksum;

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

/// Hash of the calls: of equal ones if the runs are.
pub fn hash(calls: &[Call]) -> u64 {
    let lines: Vec<String> = calls.iter().map(Call::to_string).collect();
    checksum(lines.join("\n").as_bytes())
}
