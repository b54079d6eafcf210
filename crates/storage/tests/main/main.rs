//! The store on a real directory, and on one whose calls fail.
//!
//! Tests whose names begin with a number are the acceptance scenario of that number.

mod catalog;
mod support;
