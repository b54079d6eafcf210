//! Tests that the engine's storage survives what computers do to it.
//!
//! [`SimDisk`] stands in for the file system: it fails on request, ends the process at any call, and
//! after a loss of power enumerates what may be left ([`crash`]).

pub mod contract;
pub mod corruption;
pub mod crash;
mod damage;
pub mod enumeration;
pub mod faults;
mod hunt;
pub mod model;
pub mod mutants;
pub mod oracle;
pub mod report;
pub mod sim_disk;
pub mod trace;
pub mod workload;
mod world;

pub use crash::{Bound, Crash, CrashState};
pub use faults::{Fault, FaultPlan};
pub use sim_disk::SimDisk;
pub use trace::{Call, CallKind};
pub use world::{Fate, SECTOR_BYTES};
