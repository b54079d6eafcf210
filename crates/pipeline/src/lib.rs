//! One running pipeline: inputs, steps, transactions, outputs, snapshots.
//!
//! Start reading at [`controller`]: `apply(moment, event)` decides everything and does nothing but
//! return [`event::Action`]s. Around it, [`pipeline`] runs the waiting half on a thread of its own:
//! it takes the next event from one channel, applies it, and performs the actions. One more thread
//! owns the dataflow (`engine`), and each connector has one (`input_thread`, `output_thread`).
//! Pushers wait at their [`gate::Gate`] while their queue is full: that is all back-pressure.
//!
//! This crate knows nothing of SQL text or HTTP.

pub mod definition;
pub mod difference;
pub mod error;
pub mod settings;

pub mod contents;
pub mod event;
pub mod gate;
pub mod moment;
pub mod token;

pub mod controller;

mod admission;
mod checkpoint_thread;
mod engine;
mod follower;
mod http_input;
mod input_thread;
mod output_thread;
mod performer;
pub mod pipeline;
mod process;
mod resume;
pub mod saved_relations;
mod start;
pub mod storage;

pub use contents::Contents;
pub use definition::{Definition, TableSetup, ViewSetup, combined};
pub use error::{Error, Result, summary, with_causes};
pub use follower::{Follower, FollowerMessage};
pub use http_input::HttpInput;
pub use pipeline::Pipeline;
pub use saved_relations::{SavedRelation, SavedRows};
pub use settings::{BootstrapPolicy, MEMORY_BYTES_MIN, Settings};
pub use storage::{OpenedStorage, SavedPipeline};
