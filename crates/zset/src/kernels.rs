//! Typed loops over whole columns: what the rest of the crate is built from.
//!
//! Arrow arrays are seen as slices of a few widths ([`column`]), so that each loop is compiled for a
//! handful of types and not for each of Arrow's forty. Types outside (views, nested ones, intervals)
//! take Arrow's own kernels.

pub(crate) mod canonical;
pub(crate) mod column;
pub(crate) mod compare;
pub(crate) mod equal;
pub(crate) mod gather;
pub(crate) mod order;
