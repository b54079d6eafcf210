//! Z-sets as Arrow data: rows with weights, in hash order.
//!
//! A [`Delta`] is rows with weights in no order: what flows between operators. A [`Batch`] is a
//! consolidated, sorted, immutable delta: what state is made of. A [`Spine`] is a small set of
//! batches that grows by insertion and shrinks by merging; a [`Snapshot`] is a list of `Arc`s to
//! its batches and answers all lookups. All state of the engine is spines.
//!
//! This crate knows nothing of timely, tokio, SQL or checkpoints.

mod batch;
mod consolidate;
mod delta;
mod error;
mod grouping;
mod hash;
mod index;
mod kernels;
mod layout;
mod merge;
mod probe;
mod snapshot;
mod sort;
mod spine;
#[cfg(test)]
mod testing;

pub use batch::Batch;
pub use delta::Delta;
pub use error::{Error, Result};
pub use grouping::{Grouping, equal_rows};
pub use hash::RowHasher;
pub use layout::{Layout, OrderColumn};
pub use merge::{MergeService, Merger};
pub use probe::{Groups, Keys, Matches, ReadLimit};
pub use snapshot::Snapshot;
pub use spine::Spine;
