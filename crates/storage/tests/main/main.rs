//! The store on a real directory, and on a disk whose calls fail.
//!
//! Tests whose names begin with `c` and a number are the acceptance scenario of that number.

mod catalog;
mod damage;
mod existing;
mod faults;
mod files;
mod memory;
mod support;
mod upkeep;
