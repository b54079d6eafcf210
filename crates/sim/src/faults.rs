//! What goes wrong, when, and whether it did.
//!
//! Every call has a number, from 1. A plan names faults for calls, or draws them from a seed; what
//! was fired is counted by kind, so that a run in which a fault never happened can be told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::trace::CallKind;

const EBADF: i32 = 9;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;

/// What the calls of a dead process return.
pub const STOPPED: &str = "simulated stop: this process is dead";

/// Something that a disk may do instead of what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The process ends before this call; this and all later ones fail.
    Stop,
    /// EIO, and nothing was done.
    InputOutput,
    /// EIO, although it was done.
    DoneButRefused,
    /// ENOSPC; of an append, the first half was written.
    NoSpace,
    /// EMFILE.
    TooManyFiles,
    /// EIO from a sync. What was to be synced may be there or not, and later syncs succeed without
    /// making it so.
    SyncFailed,
    /// EIO from an append of which a part was written.
    ShortWrite,
}

impl Fault {
    pub const ALL: [Self; 7] = [
        Self::Stop,
        Self::InputOutput,
        Self::DoneButRefused,
        Self::NoSpace,
        Self::TooManyFiles,
        Self::SyncFailed,
        Self::ShortWrite,
    ];

    /// A call of this kind can go wrong in this way.
    pub fn applies_to(self, kind: CallKind) -> bool {
        use CallKind as K;
        match self {
            Self::Stop | Self::InputOutput => true,
            Self::DoneButRefused => {
                matches!(
                    kind,
                    K::Create
                        | K::Rename
                        | K::HardLink
                        | K::RemoveFile
                        | K::CreateDir
                        | K::RemoveDir
                        | K::Append
                )
            }
            Self::NoSpace => {
                matches!(
                    kind,
                    K::Create | K::Rename | K::HardLink | K::CreateDir | K::Append | K::Lock
                )
            }
            Self::TooManyFiles => {
                matches!(kind, K::Create | K::Open | K::List | K::SyncDir | K::Lock)
            }
            Self::SyncFailed => matches!(kind, K::Sync | K::SyncDir),
            Self::ShortWrite => kind == K::Append,
        }
    }

    pub(crate) fn error(self) -> io::Error {
        match self {
            Self::Stop => io::Error::other(STOPPED),
            Self::InputOutput | Self::DoneButRefused | Self::SyncFailed | Self::ShortWrite => {
                io::Error::from_raw_os_error(EIO)
            }
            Self::NoSpace => io::Error::from_raw_os_error(ENOSPC),
            Self::TooManyFiles => io::Error::from_raw_os_error(EMFILE),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stop => "stop",
            Self::InputOutput => "EIO",
            Self::DoneButRefused => "EIO after the deed",
            Self::NoSpace => "ENOSPC",
            Self::TooManyFiles => "EMFILE",
            Self::SyncFailed => "failed sync",
            Self::ShortWrite => "short write",
        })
    }
}

/// The file was opened for reading.
pub(crate) fn not_writable() -> io::Error {
    io::Error::from_raw_os_error(EBADF)
}

/// Faults that a disk is asked for.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    exact: BTreeMap<u64, Fault>,
    random: Option<RandomFaults>,
}

#[derive(Clone, Debug)]
struct RandomFaults {
    kinds: Vec<Fault>,
    per_mille: u32,
    random: ChaCha8Rng,
}

impl FaultPlan {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// The process ends before this call.
    pub fn stop_at(call: u64) -> Self {
        Self::none().with(call, Fault::Stop)
    }

    /// This call goes wrong, if it is of a kind that can.
    #[must_use]
    pub fn with(mut self, call: u64, fault: Fault) -> Self {
        self.exact.insert(call, fault);
        self
    }

    /// Each call goes wrong with this probability, in one of these ways.
    #[must_use]
    pub fn with_random(mut self, kinds: &[Fault], per_mille: u32, seed: u64) -> Self {
        self.random = Some(RandomFaults {
            kinds: kinds.to_vec(),
            per_mille,
            random: ChaCha8Rng::seed_from_u64(seed),
        });
        self
    }
}

/// A plan while it is carried out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    plan: FaultPlan,
    fired: BTreeMap<Fault, u64>,
    fired_calls: BTreeSet<u64>,
}

impl Faults {
    pub(crate) fn set_plan(&mut self, plan: FaultPlan) {
        self.plan = plan;
        self.fired_calls.clear();
    }

    /// What happens to this call.
    pub(crate) fn of(&mut self, call: u64, kind: CallKind) -> Option<Fault> {
        let planned = self.plan.exact.get(&call).copied();
        let fault = planned.filter(|fault| fault.applies_to(kind));
        let fault = fault.or_else(|| self.plan.random.as_mut()?.draw(kind))?;
        if planned == Some(fault) {
            self.fired_calls.insert(call);
        }
        self.count(fault);
        Some(fault)
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.fired.entry(fault).or_default() += 1;
    }

    pub(crate) fn fired(&self) -> &BTreeMap<Fault, u64> {
        &self.fired
    }

    /// Planned for a call that never came, or was of another kind.
    pub(crate) fn unfired(&self) -> Vec<(u64, Fault)> {
        let planned = self.plan.exact.iter();
        let unfired = planned.filter(|(call, _)| !self.fired_calls.contains(call));
        unfired.map(|(call, fault)| (*call, *fault)).collect()
    }
}

impl RandomFaults {
    fn draw(&mut self, kind: CallKind) -> Option<Fault> {
        if self.random.random_range(0..1000) >= self.per_mille {
            return None;
        }
        let possible: Vec<Fault> = self
            .kinds
            .iter()
            .copied()
            .filter(|fault| fault.applies_to(kind))
            .collect();
        let count = possible.len();
        (count > 0).then(|| possible[self.random.random_range(0..count)])
    }
}
