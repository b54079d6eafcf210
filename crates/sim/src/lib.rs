//! Tests that the engine's storage survives what computers do to it.
//!
//! [`SimDisk`] stands in for the file system: it fails on request ([`faults`]), ends the process at any
//! call, and after a loss of power enumerates what may be left ([`crash`]). [`contract`] holds it to
//! what the real one does.
//!
//! [`workload`]s are what users do, and [`model`] is what must hold whatever happens to them.
//! [`enumeration::Harness`] stops or refuses them at every call, and lets the [`oracle`] recover from
//! every disk that may be left (X1), with stops in between (X2). [`corruption`] damages files (X3).
//! [`mutants`] are planted bugs that all of this must catch (X4). A [`report::Report`] says how much was
//! tried, and that a fault which never fired proves nothing.
//!
//! To run a failure again: workloads, faults and choices follow from the seed that it prints.
//! `HIGHWATER_SIM_MINUTES=60 cargo test --release -p highwater-sim --test long -- --ignored --nocapture`
//! goes on with new seeds for an hour.

pub mod contract;
pub mod corruption;
pub mod crash;
mod damage;
pub mod enumeration;
pub mod faults;
mod forking;
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
