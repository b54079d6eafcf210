//! The plan as plain data, the operators, and the dataflow that runs them on timely workers.
//!
//! Start reading at [`plan`]: what a circuit is. Then [`dataflow`]: how it runs. Each operator is a
//! file of `operators/`. All state is spines (`highwater_zset::Spine`), registered by
//! [`OperatorId`](plan::OperatorId), so one walker saves and restores it.
//!
//! This crate knows nothing of DataFusion, tokio, connectors or HTTP.

pub mod bootstrap;
pub mod builder;
pub mod checkpoint;
pub mod dataflow;
pub mod error;
pub mod expression;
mod operators;
pub mod plan;
pub mod table_input;
