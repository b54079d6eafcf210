//! Programs with mistakes, and what is said about them.
