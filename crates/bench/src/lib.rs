//! The orders workload and how it is measured: what every engine of a comparison shares.
