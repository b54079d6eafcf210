//! Pipelines from definition to stop, with real dataflows, threads, connectors and files.

#[path = "main/bench.rs"]
mod bench;
#[path = "main/connectors.rs"]
mod connectors;
#[path = "main/errors.rs"]
mod errors;
#[path = "main/followers.rs"]
mod followers;
#[path = "main/limits.rs"]
mod limits;
#[path = "main/steps.rs"]
mod steps;
#[path = "main/storage.rs"]
mod storage;
