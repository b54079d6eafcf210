//! Programs that are right.
