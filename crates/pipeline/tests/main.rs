//! Pipelines from definition to stop, with real dataflows, threads, connectors and files.

#[path = "main/bench.rs"]
mod bench;
#[path = "main/connectors.rs"]
mod connectors;
#[path = "main/crashes.rs"]
mod crashes;
#[path = "main/errors.rs"]
mod errors;
#[path = "main/followers.rs"]
mod followers;
#[path = "main/limits.rs"]
mod limits;
#[path = "main/museum.rs"]
mod museum;
#[path = "main/refusing_disk.rs"]
mod refusing_disk;
#[path = "main/slow_disk.rs"]
mod slow_disk;
#[path = "main/sources.rs"]
mod sources;
#[path = "main/steps.rs"]
mod steps;
#[path = "main/storage.rs"]
mod storage;
#[path = "main/stored.rs"]
mod stored;
