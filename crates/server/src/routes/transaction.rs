//! `/start_transaction`, `/commit_transaction`.

use axum::Json;
use axum::extract::State;
use highwater_types::error::ErrorResponse;
use highwater_types::transaction::StartTransactionResponse;

use crate::error::ApiResult;
use crate::state::ServerState;

/// All input from now to the commit becomes one step: queries and followers see all of it or
/// nothing. There is no rollback. Input beyond 4 GiB waits for the commit.
#[utoipa::path(post, path = "/start_transaction", tag = "Data", responses(
    (status = 200, body = StartTransactionResponse),
    (status = 409, description = "`TransactionInProgress`", body = ErrorResponse),
))]
pub(crate) async fn start(
    State(state): State<ServerState>,
) -> ApiResult<Json<StartTransactionResponse>> {
    let transaction_id = state.pipeline.start_transaction().await?;
    Ok(Json(StartTransactionResponse { transaction_id }))
}

/// Begins the commit; it is done when `/stats` has another `transaction_id`.
#[utoipa::path(post, path = "/commit_transaction", tag = "Data", responses(
    (status = 200, body = String),
    (status = 400, description = "`NoTransactionInProgress`", body = ErrorResponse),
))]
pub(crate) async fn commit(State(state): State<ServerState>) -> ApiResult<Json<String>> {
    let transaction_id = state.pipeline.commit_transaction().await?;
    Ok(Json(format!(
        "Transaction {transaction_id} is being committed"
    )))
}
