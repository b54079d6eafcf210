//! One running pipeline: steps, transactions, inputs, outputs, snapshots.
