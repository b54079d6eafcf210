//! Every type that crosses HTTP, or the disk as JSON.
//!
//! Names of fields and their JSON forms are the contract with clients; nothing here computes.

pub mod connector;
pub mod relation;
