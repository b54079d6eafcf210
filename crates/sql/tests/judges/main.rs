//! The judges: every view, at every step, against something that computes it from scratch.

mod batch;
mod generate;
mod logic_tests;
mod oracle;
mod rows;
mod steps;
mod subject;
mod tpch;
