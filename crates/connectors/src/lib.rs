//! Transports and formats: external streams to positioned deltas, deltas to external writes.
