//! Transports and formats: external streams to positioned changes, deltas to external writes.
//!
//! Input: a [`input::InputTransport`] runs on a thread of its own, reads bytes, gives them to a
//! [`decode::Decoder`], and pushes [`changes::ParsedChanges`] with the position behind them into
//! the pipeline's [`input::InputSink`], which blocks when it has enough. Started again at a position
//! that it reported, a transport gives exactly the rows that follow.
//! The HTTP ingress has no transport: the server pushes request bytes into a decoder itself.
//!
//! Output: an [`encode::Encoder`] turns a [`highwater_zset::Delta`] into pieces of bytes, which an
//! [`output::OutputTransport`] writes; [`encode::egress`] frames them for HTTP followers.
//!
//! This crate does not know circuits, SQL or checkpoints: it reports and accepts positions.

pub mod changes;
pub mod clock;
pub mod error;
pub mod table;

pub mod decode;
pub mod encode;
pub mod input;
pub mod output;
