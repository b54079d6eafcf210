//! `file_output`: a local file, written anew, or cut back to a position and written on.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::PathBuf;

use highwater_types::connector::ConnectorConfig;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Opened, OutputTransport};
use crate::decode::parse_config;
use crate::encode::StreamStart;
use crate::error::{ConfigError, TransportError};

/// `transport.config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    path: String,
}

/// A place between two steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    bytes: u64,
    /// Steps before this one are in the file.
    steps: u64,
}

struct FileOutput {
    path: PathBuf,
    file: BufWriter<File>,
    written: u64,
    done: Position,
    start: StreamStart,
}

/// Makes the transport and opens the file.
pub(super) fn open(config: &ConnectorConfig, start: Option<Value>) -> Opened {
    let options: FileConfig = parse_config(&config.transport.config)
        .map_err(|error| error.within("transport `file_output`"))?;
    let path = options
        .path
        .strip_prefix("file://")
        .unwrap_or(&options.path);
    if path.is_empty() {
        return Err(ConfigError::new("transport `file_output`: `path` is empty").into());
    }
    let path = PathBuf::from(path);
    let done: Position = match start {
        Some(position) => serde_json::from_value(position)
            .map_err(|error| TransportError::Position(error.to_string()))?,
        None => Position::default(),
    };
    let failed = |source| TransportError::File {
        action: "open for writing",
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if length < done.bytes {
        return Err(TransportError::FileShrank {
            path,
            length,
            position: done.bytes,
        });
    }
    // Special files (/dev/null, pipes) have no length to cut.
    if length > done.bytes {
        file.set_len(done.bytes).map_err(failed)?;
    }
    if done.bytes > 0 {
        file.seek(SeekFrom::Start(done.bytes)).map_err(failed)?;
    }
    let start = if done.bytes == 0 {
        StreamStart::Beginning
    } else {
        StreamStart::Continued
    };
    let file = BufWriter::new(file);
    Ok(Box::new(FileOutput {
        path,
        file,
        written: done.bytes,
        done,
        start,
    }))
}

impl FileOutput {
    fn failed(&self, source: std::io::Error) -> TransportError {
        TransportError::File {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

impl OutputTransport for FileOutput {
    fn write(&mut self, _: u64, piece: &[u8]) -> Result<(), TransportError> {
        self.file
            .write_all(piece)
            .map_err(|source| self.failed(source))?;
        self.written += piece.len() as u64;
        Ok(())
    }

    fn step_done(&mut self, step: u64) -> Result<(), TransportError> {
        self.file.flush().map_err(|source| self.failed(source))?;
        self.done = Position {
            bytes: self.written,
            steps: step + 1,
        };
        Ok(())
    }

    fn sync(&mut self) -> Result<(), TransportError> {
        let file = self.file.get_ref();
        let metadata = file.metadata().map_err(|source| self.failed(source))?;
        // Pipes and devices cannot be synced.
        if metadata.is_file() {
            file.sync_all().map_err(|source| self.failed(source))?;
        }
        Ok(())
    }

    fn position(&self) -> Value {
        serde_json::json!({ "bytes": self.done.bytes, "steps": self.done.steps })
    }

    fn start(&self) -> StreamStart {
        self.start
    }
}
