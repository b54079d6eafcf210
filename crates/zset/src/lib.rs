//! Z-sets as Arrow data: rows with weights, in hash order.
//!
//! A [`Delta`] is rows with weights in no order: what flows between operators. A [`Batch`] is a
//! consolidated, sorted, immutable delta: what state is made of. A [`Spine`] is a small set of
//! batches that grows by insertion and shrinks by merging; a [`Snapshot`] is a list of `Arc`s to
//! its batches and answers all lookups. All state of the engine is spines.
//!
//! ```
//! use std::sync::Arc;
//!
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use highwater_zset::{Batch, Delta, Keys, Layout, MergeService, ReadLimit, RowHasher, Spine};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let columns: [(&str, ArrayRef); 2] = [
//!     ("customer", Arc::new(Int64Array::from(vec![7, 8, 7]))),
//!     ("amount", Arc::new(Int64Array::from(vec![10, 20, 30]))),
//! ];
//! let orders = Delta::insertions(RecordBatch::try_from_iter(columns)?);
//!
//! // Contents by customer: a spine, filled by two steps.
//! let layout = Arc::new(Layout::hashed(orders.schema(), vec![0], RowHasher::new(42)));
//! let mut spine = Spine::new(layout.clone(), MergeService::threads("merge"));
//! spine.insert(Arc::new(Batch::from_delta(&layout, &orders)?))?;
//! let before = spine.snapshot();
//! let deletion = orders.take(&[0])?.negated();
//! spine.insert(Arc::new(Batch::from_delta(&layout, &deletion)?))?;
//!
//! // What customer 7 has ordered, now and before.
//! let customer: ArrayRef = Arc::new(Int64Array::from(vec![7]));
//! let keys = Keys::new(layout.hasher, &[customer], 1)?;
//! assert_eq!(spine.snapshot().read_groups(&keys, ReadLimit::All)?.weights, [1]);
//! assert_eq!(before.key_weights(keys.hashes(), keys.columns())?, [2]);
//! # Ok(())
//! # }
//! ```
//!
//! This crate knows nothing of timely, tokio, SQL or checkpoints. Start reading at `batch.rs`, then
//! `spine.rs`; the loops that everything else is made of are in `kernels`.

mod any_batch;
mod batch;
mod consolidate;
mod delta;
mod error;
mod file;
mod grouping;
mod hash;
mod index;
mod kernels;
mod layout;
mod merge;
mod parts;
mod probe;
mod run;
mod snapshot;
mod sort;
mod spine;
mod state_files;
#[cfg(test)]
mod testing;

pub use any_batch::AnyBatch;
pub use batch::Batch;
pub use delta::Delta;
pub use error::{Error, Result};
pub use file::{BatchLocation, BlockCache, FileBatch, PACKED_BYTES_MAX, PackWriter, write_run};
pub use grouping::{Grouping, equal_rows};
pub use hash::RowHasher;
pub use layout::{Layout, OrderColumn};
pub use merge::{MergeService, Merger, yield_to_steps};
pub use probe::{Groups, Keys, Matches, ReadLimit};
pub use run::Run;
pub use snapshot::Snapshot;
pub use spine::{Spine, balance_memory};
pub use state_files::{MemoryBudget, StateFiles};
