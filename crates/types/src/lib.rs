//! Every type that crosses HTTP, or the disk as JSON.
//!
//! Names of fields and their JSON forms are the contract with clients; nothing here computes.

pub mod api;
pub mod checkpoint;
pub mod connector;
pub mod difference;
pub mod error;
pub mod program;
pub mod record;
pub mod relation;
pub mod stats;
pub mod suspend;
pub mod transaction;
