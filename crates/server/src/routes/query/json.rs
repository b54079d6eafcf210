//! One JSON object per row and line; an error becomes an object with the key `error`.

use arrow::array::RecordBatch;
use axum::response::Response;
use highwater_connectors::encode::json::JsonRows;
use serde_json::json;

use super::{Answer, Failure, streamed};

/// Bytes after which a piece is sent on.
const PIECE_BYTES: usize = 1 << 16;

pub(super) fn respond(answer: Result<Answer, Failure>) -> Response {
    let (batches, error) = match answer {
        Ok(answer) => (answer.batches, None),
        Err(Failure(error)) => (Vec::new(), Some(error_line(&error))),
    };
    let pieces = batches.into_iter().flat_map(|batch| pieces(&batch));
    streamed("application/json", pieces.chain(error))
}

fn pieces(batch: &RecordBatch) -> Vec<Vec<u8>> {
    let rows = match JsonRows::new(batch) {
        Ok(rows) => rows,
        Err(error) => return vec![error_line(&error.to_string())],
    };
    let mut pieces = Vec::new();
    let mut piece = Vec::new();
    for row in 0..batch.num_rows() {
        rows.write_object(row, &mut piece);
        piece.push(b'\n');
        if piece.len() >= PIECE_BYTES {
            pieces.push(std::mem::take(&mut piece));
        }
    }
    pieces.push(piece);
    pieces
}

fn error_line(error: &str) -> Vec<u8> {
    let mut line = json!({"error": error}).to_string().into_bytes();
    line.push(b'\n');
    line
}
