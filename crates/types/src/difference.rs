//! How a program differs from the one that a checkpoint was taken of.

use serde::{Deserialize, Serialize};

/// Reply of `POST /diff`, and `approval_diff` of `GET /status`. All lists are sorted; connectors are
/// named `relation.connector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineDiff {
    pub program_diff: Option<ProgramDiff>,
    /// Why there is no `program_diff`.
    pub program_diff_error: Option<String>,
    pub added_input_connectors: Vec<String>,
    pub modified_input_connectors: Vec<String>,
    pub removed_input_connectors: Vec<String>,
    pub added_output_connectors: Vec<String>,
    pub modified_output_connectors: Vec<String>,
    pub removed_output_connectors: Vec<String>,
    /// What starting with the new program computes anew; not known to other programs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bootstrapped_views: Vec<BootstrappedView>,
}

/// Tables and views by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProgramDiff {
    pub added_tables: Vec<String>,
    pub removed_tables: Vec<String>,
    /// They will be emptied, and their connectors begin anew.
    pub modified_tables: Vec<String>,
    pub added_views: Vec<String>,
    pub removed_views: Vec<String>,
    /// Also those that read a modified table.
    pub modified_views: Vec<String>,
}

/// A view that is computed from stored rows when the program is started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BootstrappedView {
    pub view: String,
    /// Stored rows that it is computed from, if that is known. Views share what they have in common.
    pub rows: Option<u64>,
    /// Tables whose rows it needs and that do not keep them: the start will be refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables_not_stored: Vec<String>,
}

impl PipelineDiff {
    /// The programs and their connectors are the same.
    pub fn is_empty(&self) -> bool {
        let Self {
            program_diff,
            program_diff_error,
            added_input_connectors,
            modified_input_connectors,
            removed_input_connectors,
            added_output_connectors,
            modified_output_connectors,
            removed_output_connectors,
            bootstrapped_views,
        } = self;
        program_diff.as_ref().is_none_or(ProgramDiff::is_empty)
            && program_diff_error.is_none()
            && added_input_connectors.is_empty()
            && modified_input_connectors.is_empty()
            && removed_input_connectors.is_empty()
            && added_output_connectors.is_empty()
            && modified_output_connectors.is_empty()
            && removed_output_connectors.is_empty()
            && bootstrapped_views.is_empty()
    }
}

impl ProgramDiff {
    pub fn is_empty(&self) -> bool {
        let Self {
            added_tables,
            removed_tables,
            modified_tables,
            added_views,
            removed_views,
            modified_views,
        } = self;
        [
            added_tables,
            removed_tables,
            modified_tables,
            added_views,
            removed_views,
            modified_views,
        ]
        .into_iter()
        .all(Vec::is_empty)
    }
}

/// Body of `POST /diff`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DiffRequest {
    /// The new program; `null` for the one that runs.
    #[serde(default)]
    pub program_code: Option<String>,
    #[serde(default)]
    pub runtime_version: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_clients_read() {
        let diff = PipelineDiff {
            program_diff: Some(ProgramDiff {
                added_views: vec!["v".to_owned()],
                ..ProgramDiff::default()
            }),
            ..PipelineDiff::default()
        };
        let text = r#"{"program_diff":{"added_tables":[],"removed_tables":[],"modified_tables":[],"added_views":["v"],"removed_views":[],"modified_views":[]},"program_diff_error":null,"added_input_connectors":[],"modified_input_connectors":[],"removed_input_connectors":[],"added_output_connectors":[],"modified_output_connectors":[],"removed_output_connectors":[]}"#;
        assert_eq!(serde_json::to_string(&diff).unwrap(), text);
        assert_eq!(serde_json::from_str::<PipelineDiff>(text).unwrap(), diff);
        assert!(!diff.is_empty());
        assert!(PipelineDiff::default().is_empty());
    }
}
