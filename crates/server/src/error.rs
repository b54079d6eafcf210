//! The one table from what went wrong to status and `error_code`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use highwater_connectors::error::{ConfigError, DecodeError, RowErrors};
use highwater_pipeline::{Error as PipelineError, with_causes};
use highwater_types::error::{ErrorResponse, ParseErrorReport, ParseErrorsDetails};
use serde_json::{Value, json};

/// A reply that is not a success.
#[derive(Clone, Debug)]
pub struct ApiError {
    pub status: StatusCode,
    pub body: Box<ErrorResponse>,
}

/// What a route answers.
pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            body: Box::new(ErrorResponse::new(code, message)),
        }
    }

    /// 400 for a parameter, path or body that cannot be used.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidParam", message)
    }

    pub(crate) fn with_details(mut self, details: Value) -> Self {
        self.body.details = details;
        self
    }

    /// 400 for rows that were refused; the good ones have been taken.
    pub(crate) fn parse_errors(errors: &RowErrors) -> Self {
        let reports = errors.first.iter().map(|error| ParseErrorReport {
            description: error.to_string(),
            event_number: Some(error.record),
            field: error.column.clone(),
            invalid_text: error.value.clone(),
        });
        let details = ParseErrorsDetails {
            num_errors: errors.total,
            errors: reports.collect(),
        };
        let error = Self::new(StatusCode::BAD_REQUEST, "ParseErrors", errors.to_string());
        error.with_details(json!(details))
    }

    /// 404 for a table that input is sent to.
    pub(crate) fn unknown_table(message: String) -> Self {
        let code = "ConfigError.UnknownInputStream";
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for a relation that is followed.
    pub(crate) fn unknown_relation(message: String) -> Self {
        let code = "ConfigError.UnknownOutputStream";
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    /// 404 for an output endpoint: the pipeline's error does not know which way was meant.
    pub(crate) fn of_output(error: PipelineError) -> Self {
        let mut mapped = Self::from(error);
        if mapped.body.error_code == "UnknownInputEndpoint" {
            mapped.body.error_code = "UnknownOutputEndpoint".to_owned();
        }
        mapped
    }
}

impl From<PipelineError> for ApiError {
    fn from(error: PipelineError) -> Self {
        let (status, code) = match &error {
            PipelineError::StorageRequired => (StatusCode::BAD_REQUEST, "StorageRequired"),
            PipelineError::IncarnationMismatch { .. } => {
                (StatusCode::BAD_REQUEST, "IncarnationUuidMismatch")
            }
            PipelineError::Stopped => (StatusCode::GONE, "Terminating"),
            PipelineError::Terminated { .. } => {
                (StatusCode::INTERNAL_SERVER_ERROR, "PipelineTerminated")
            }
            PipelineError::UnknownEndpoint { .. } => {
                (StatusCode::NOT_FOUND, "UnknownInputEndpoint")
            }
            PipelineError::NotMaterialized { .. } => (StatusCode::BAD_REQUEST, "NotMaterialized"),
            PipelineError::TransactionInProgress { .. } => {
                (StatusCode::CONFLICT, "TransactionInProgress")
            }
            PipelineError::NoTransaction => (StatusCode::BAD_REQUEST, "NoTransactionInProgress"),
            PipelineError::InvalidToken { .. } | PipelineError::Config(_) => {
                (StatusCode::BAD_REQUEST, "InvalidParam")
            }
            PipelineError::OtherIncarnation => (StatusCode::GONE, "PipelineRestarted"),
            PipelineError::UnknownTokenEndpoint => {
                (StatusCode::GONE, "UnknownEndpointInCompletionToken")
            }
            PipelineError::BootstrapRejected(_) | PipelineError::NotStored(_) => {
                (StatusCode::CONFLICT, "BootstrapRejected")
            }
            PipelineError::Connector { .. }
            | PipelineError::Circuit(_)
            | PipelineError::State(_)
            | PipelineError::Storage(_)
            | PipelineError::Thread(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
        };
        let mapped = Self::new(status, code, with_causes(&error));
        match error {
            PipelineError::IncarnationMismatch {
                requested,
                expected,
            } => mapped.with_details(json!({"requested": requested, "expected": expected})),
            _ => mapped,
        }
    }
}

impl From<ConfigError> for ApiError {
    fn from(error: ConfigError) -> Self {
        Self::invalid(error.message)
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let reason = with_causes(&error);
        let details = ParseErrorsDetails {
            num_errors: 1,
            errors: vec![ParseErrorReport {
                description: reason.clone(),
                ..ParseErrorReport::default()
            }],
        };
        let message = format!("Errors parsing input data (1 errors):\n{reason}");
        let error = Self::new(StatusCode::BAD_REQUEST, "ParseErrors", message);
        error.with_details(json!(details))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body)).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            let retry = HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, retry);
        }
        response
    }
}
