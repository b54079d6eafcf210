//! The HTTP interface of a pipeline.
