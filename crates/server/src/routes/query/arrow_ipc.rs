//! An Arrow IPC stream. After an error it breaks off inside a message, so that no reader takes it for
//! a whole one.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use axum::response::Response;

use super::{Answer, Failure, failed, streamed};
use crate::error::ApiResult;

/// The start of a message that never comes: its marker and a length.
const BROKEN_OFF: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0x40, 0, 0, 0];

pub(super) fn respond(answer: Result<Answer, Failure>) -> ApiResult<Response> {
    let pieces = match answer {
        Ok(answer) => {
            let writer = StreamWriter::try_new(Vec::new(), &answer.schema);
            Pieces {
                writer: Some(writer.map_err(|error| failed(error.to_string()))?),
                batches: answer.batches.into_iter(),
            }
        }
        Err(Failure(_)) => {
            return Ok(streamed(CONTENT_TYPE, std::iter::once(BROKEN_OFF.to_vec())));
        }
    };
    Ok(streamed(CONTENT_TYPE, pieces))
}

const CONTENT_TYPE: &str = "application/octet-stream";

/// Encodes one batch at a time.
struct Pieces {
    /// None once the stream has ended.
    writer: Option<StreamWriter<Vec<u8>>>,
    batches: std::vec::IntoIter<RecordBatch>,
}

impl Pieces {
    fn encode(&mut self, mut writer: StreamWriter<Vec<u8>>) -> Result<Vec<u8>, ArrowError> {
        let Some(batch) = self.batches.next() else {
            return writer.into_inner();
        };
        writer.write(&batch)?;
        let piece = std::mem::take(writer.get_mut());
        self.writer = Some(writer);
        Ok(piece)
    }
}

impl Iterator for Pieces {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let writer = self.writer.take()?;
        Some(self.encode(writer).unwrap_or_else(|_| BROKEN_OFF.to_vec()))
    }
}
