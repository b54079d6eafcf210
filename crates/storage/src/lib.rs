//! Files that are written once, and which checkpoint owns which of them.
//!
//! Everything goes through [`disk::Disk`], the door to the file system: in production it is
//! [`local::LocalDisk`], under the simulator a disk that loses what was not synced. [`files::Files`]
//! makes and opens the immutable files of a storage root, and [`store::Store`] knows which checkpoint
//! needs which of them: it publishes, reads, verifies, collects, accounts for and forks checkpoints.
//! What is on disk, and what a crash leaves of it, is described in `docs/internals/storage-root.md`.
//!
//! This crate knows nothing of Arrow, of operators or of HTTP: a file is bytes with a name, a size
//! and a digest.

pub mod catalog;
pub mod collect;
mod contents;
pub mod digest;
pub mod disk;
pub mod error;
pub mod files;
pub mod fork;
pub mod local;
pub mod manifest;
pub mod paths;
pub mod store;
pub mod usage;
pub mod verify;

pub use catalog::CatalogEntry;
pub use collect::{CollectionPlan, CollectionReport};
pub use digest::Digest;
pub use disk::Disk;
pub use error::{Error, Kind, Result};
pub use files::{FileWriter, Files, StoredFile};
pub use local::LocalDisk;
pub use manifest::Manifest;
pub use store::{CheckpointDetails, Hold, NewCheckpoint, SavedCheckpoint, Store, StoreOptions};
