//! `state.json`: the pipeline's part of a checkpoint.
//!
//! What is needed to go on: how many steps there were, where each input and output was, and what the
//! program was, so that a changed one is noticed. No secrets: of a connector's configuration only a
//! digest is kept, and of a relation's properties nothing.
//!
//! Later versions add optional fields; a change that older programs would misread raises
//! [`RECORD_VERSION`].

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::relation::Relation;
use crate::stats::ConnectorError;

/// Version of [`PipelineRecord`]. A reader refuses any other.
pub const RECORD_VERSION: u32 = 1;

/// A pipeline between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineRecord {
    pub version: u32,
    /// The pipeline's name.
    pub name: String,
    /// Orders the rows in all state; drawn once.
    pub hash_seed: u64,
    /// Threads that kept the state, each with a file of its own.
    pub workers: usize,
    /// Steps since the pipeline was empty.
    pub steps: u64,
    pub last_transaction_id: i64,
    /// When the pipeline started with nothing.
    pub initial_start_time: DateTime<Utc>,
    pub taken_at: DateTime<Utc>,
    pub counters: RecordedCounters,
    pub program: RecordedProgram,
    /// By endpoint name.
    pub inputs: BTreeMap<String, RecordedInput>,
    /// By endpoint name.
    pub outputs: BTreeMap<String, RecordedOutput>,
}

/// Records and bytes that steps have taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedCounters {
    #[serde(default)]
    pub processed_records: u64,
    #[serde(default)]
    pub processed_bytes: u64,
}

/// What the program was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedProgram {
    /// By name as SQL prints it.
    pub tables: BTreeMap<String, RecordedRelation>,
    pub views: BTreeMap<String, RecordedRelation>,
}

/// A table or view, and where its rows are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedRelation {
    /// Without its properties.
    pub relation: Relation,
    /// The operator whose changes are the relation's: equal ids compute the same.
    pub operator: String,
    /// The operator that keeps the relation's present rows, if it is materialized.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<String>,
    /// Of each connector, by endpoint name: a digest of its configuration.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub connectors: BTreeMap<String, String>,
}

/// An input connector or an HTTP input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedInput {
    /// Of the table, as SQL prints it.
    pub table: String,
    /// An HTTP input has no position: what it received later is lost.
    #[serde(default)]
    pub is_http: bool,
    /// Behind the last row that a step took up; null if nothing was read.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub position: Value,
    /// All rows are in steps; the connector is not started again.
    #[serde(default)]
    pub end_of_input: bool,
    #[serde(default)]
    pub paused: bool,
    #[serde(default)]
    pub total_records: u64,
    #[serde(default)]
    pub total_bytes: u64,
    #[serde(default, skip_serializing_if = "RecordedErrors::is_empty")]
    pub parse_errors: RecordedErrors,
    #[serde(default, skip_serializing_if = "RecordedErrors::is_empty")]
    pub transport_errors: RecordedErrors,
}

/// An output connector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedOutput {
    /// Behind the last change that was delivered.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub position: Value,
    #[serde(default)]
    pub transmitted_records: u64,
    #[serde(default)]
    pub transmitted_bytes: u64,
    #[serde(default, skip_serializing_if = "RecordedErrors::is_empty")]
    pub encode_errors: RecordedErrors,
    #[serde(default, skip_serializing_if = "RecordedErrors::is_empty")]
    pub transport_errors: RecordedErrors,
}

/// The last messages of one kind, and how many there were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RecordedErrors {
    pub total: u64,
    pub last: Vec<ConnectorError>,
}

impl RecordedErrors {
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario P11: what was written stays readable.
    #[test]
    fn p11_the_first_form_is_read() {
        let text = r#"{
            "version": 1, "name": "p", "hash_seed": 18446744073709551615, "workers": 2, "steps": 7,
            "last_transaction_id": 3, "initial_start_time": "2026-11-22T10:00:00Z",
            "taken_at": "2026-11-22T10:00:01.5Z", "counters": {"processed_records": 5},
            "program": {
                "tables": {"t": {
                    "relation": {"name": "t", "case_sensitive": false, "fields": [], "materialized": true},
                    "operator": "o00000000000000000000000000000001",
                    "contents": "o00000000000000000000000000000001",
                    "connectors": {"t.c": "00"}
                }},
                "views": {}
            },
            "inputs": {"t.c": {"table": "t", "position": {"offset": 9}, "end_of_input": true},
                       "t.api-ingress-1": {"table": "t", "is_http": true, "total_records": 4}},
            "outputs": {"v.o": {"position": {"bytes": 3}}},
            "something_new": [1]
        }"#;
        let record: PipelineRecord = serde_json::from_str(text).unwrap();
        assert_eq!(record.hash_seed, u64::MAX);
        assert_eq!(record.counters.processed_bytes, 0);
        assert!(record.inputs["t.c"].end_of_input && !record.inputs["t.c"].is_http);
        assert!(record.inputs["t.api-ingress-1"].position.is_null());
        assert_eq!(record.outputs["v.o"].position["bytes"], 3);
        let again: PipelineRecord =
            serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }
}
