//! Whether a pipeline can be suspended, and why not.
//!
//! The same reasons hold up checkpoints: a suspension is a checkpoint after which the pipeline ends.

use serde::{Deserialize, Serialize};

/// Why a pipeline cannot be suspended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum SuspendError {
    /// Whatever is waited for.
    Permanent(Vec<PermanentSuspendError>),
    /// It can be later.
    Temporary(Vec<TemporarySuspendError>),
}

/// What no waiting changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum PermanentSuspendError {
    /// The pipeline keeps its state in memory only.
    StorageRequired,
    /// Known to clients; never the case here.
    EnterpriseFeature,
    /// This connector cannot go back to a position.
    UnsupportedInputEndpoint(String),
}

/// What passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TemporarySuspendError {
    /// Logged steps are being repeated.
    Replaying,
    /// New or changed views are being computed from stored tables.
    Bootstrapping,
    TransactionInProgress,
    /// This connector is at a place to which it cannot go back.
    InputEndpointBarrier(String),
    /// Other hosts are not ready.
    Coordination,
}

/// Reply of `GET /suspendable`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SuspendableResponse {
    pub suspendable: bool,
    /// Why not; empty if it is.
    #[serde(default)]
    pub reasons: Vec<PermanentSuspendError>,
}

impl SuspendableResponse {
    /// Suspendable, unless there are reasons against it.
    pub fn new(reasons: Vec<PermanentSuspendError>) -> Self {
        Self {
            suspendable: reasons.is_empty(),
            reasons,
        }
    }
}

#[cfg(test)]
mod tests;
