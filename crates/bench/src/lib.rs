//! The orders workload and how it is measured: what every engine of a comparison shares.
//!
//! The library knows no engine. Highwater's side is the binary of this crate (feature `engine`);
//! the others are in `bench-compare`, a workspace of its own, and use the library alone. Each engine
//! runs in its own process, gets the same changes from the same seed in the form it likes best
//! (made outside the measured time), and prints a [`report::Report`] as one line of JSON.

pub mod checkpoints;
pub mod measure;
pub mod options;
pub mod report;
pub mod workload;
