//! Transactions as clients see them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where the pipeline is between `start_transaction` and the end of the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TransactionStatus {
    #[default]
    NoTransaction,
    /// Input is gathered; nothing of it is visible.
    TransactionInProgress,
    /// The one step that holds the transaction is running.
    CommitInProgress,
}

/// What one initiator of a transaction has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum TransactionPhase {
    Started,
    Committed,
}

/// Who takes part in the current transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TransactionInitiators {
    pub transaction_id: Option<i64>,
    pub initiated_by_api: Option<TransactionPhase>,
    /// By connector name.
    pub initiated_by_connectors: BTreeMap<String, ConnectorTransactionPhase>,
}

/// A connector's part in a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ConnectorTransactionPhase {
    pub phase: TransactionPhase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// How far a commit is, in operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CommitProgress {
    pub completed: u64,
    pub in_progress: u64,
    pub remaining: u64,
    pub in_progress_processed_records: u64,
    pub in_progress_total_records: u64,
}

/// Reply of `POST /start_transaction`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StartTransactionResponse {
    /// Greater than that of any earlier transaction of this process.
    pub transaction_id: i64,
}
