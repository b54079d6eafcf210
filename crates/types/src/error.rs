//! The body of every HTTP reply that is not a success.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What went wrong, for a person (`message`) and for a program (`error_code`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorResponse {
    /// Plain words, with the remedy where there is one.
    pub message: String,
    /// A stable name such as `ParseErrors` or `TransactionInProgress`.
    pub error_code: String,
    /// Further facts, by error code; `{}` if there are none.
    #[schema(value_type = Object)]
    pub details: Value,
}

impl ErrorResponse {
    /// An error without details.
    pub fn new(error_code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            error_code: error_code.into(),
            details: Value::Object(serde_json::Map::new()),
        }
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

/// `details` of error code `ParseErrors`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ParseErrorsDetails {
    /// How many rows were refused.
    pub num_errors: u64,
    /// The first of them.
    pub errors: Vec<ParseErrorReport>,
}

/// One refused row of an input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ParseErrorReport {
    /// The reason, with line and column where they are known.
    pub description: String,
    /// Number of the record in its stream, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_number: Option<u64>,
    /// The column whose value was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The refused text, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid_text: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_three_keys_are_always_there() {
        let error = ErrorResponse::new("InvalidParam", "no such format");
        let expected =
            json!({"message": "no such format", "error_code": "InvalidParam", "details": {}});
        assert_eq!(serde_json::to_value(&error).unwrap(), expected);
        let with_details = error.with_details(json!({"a": 1}));
        assert_eq!(
            serde_json::to_value(&with_details).unwrap()["details"],
            json!({"a": 1})
        );
    }
}
