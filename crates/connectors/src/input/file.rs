//! `file_input`: a local file, read once or followed as it grows; gzip by name or content.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use highwater_types::connector::{ConnectorConfig, FormatConfig};
use serde::Deserialize;
use serde_json::Value;

use super::stream::{AtEnd, ByteSource, GZIP_MAGIC, MaybeGzip, Pump, skip};
use super::{Finished, InputSink, InputTransport, Opened, Progress, ProgressUnit};
use super::{batch_rows, required_format, stream_position};
use crate::clock::Clock;
use crate::decode::{StreamPosition, decoder, parse_config};
use crate::error::{ConfigError, TransportError};
use crate::table::InputTable;

/// How often a followed file is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(20);

/// `transport.config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileConfig {
    path: String,
    /// Go on when the file grows.
    #[serde(default)]
    follow: bool,
    /// Of no use here: what is read at once does not change what is read.
    #[serde(default, rename = "buffer_size_bytes")]
    _buffer_size_bytes: Option<u64>,
}

/// A file to read.
struct FileInput {
    path: PathBuf,
    follow: bool,
    format: FormatConfig,
    table: Arc<InputTable>,
    start: StreamPosition,
    batch_rows: usize,
}

/// Makes the transport.
pub(super) fn open(
    config: &ConnectorConfig,
    table: &Arc<InputTable>,
    start: Option<Value>,
) -> Opened {
    let options: FileConfig = parse_config(&config.transport.config)
        .map_err(|error| error.within("transport `file_input`"))?;
    let path = options
        .path
        .strip_prefix("file://")
        .unwrap_or(&options.path);
    if path.is_empty() {
        return Err(ConfigError::new("transport `file_input`: `path` is empty").into());
    }
    let format = required_format(config)?.clone();
    let start = stream_position(start)?;
    // Found out early: is the format's configuration right?
    decoder(&format, table, start.clone())?;
    Ok(Box::new(FileInput {
        path: PathBuf::from(path),
        follow: options.follow,
        format,
        table: Arc::clone(table),
        start,
        batch_rows: batch_rows(config),
    }))
}

impl InputTransport for FileInput {
    fn run(
        self: Box<Self>,
        sink: &dyn InputSink,
        clock: &dyn Clock,
    ) -> Result<Finished, TransportError> {
        let mut file = open_file(&self.path)?;
        let is_gzip = is_gzip(&self.path, &mut file)?;
        if is_gzip && self.follow {
            let message = format!(
                "`{}` is compressed and cannot be followed",
                self.path.display()
            );
            return Err(ConfigError::new(message).into());
        }
        let mut decoder = decoder(&self.format, &self.table, self.start.clone())?;
        let mut whole_file = !is_gzip && !self.follow;
        if whole_file {
            match decoder.read_file(file)? {
                Some(given_back) => {
                    file = given_back;
                    whole_file = false;
                }
                None => file = open_file(&self.path)?,
            }
        }
        let mut source = FileSource::new(&self, file, is_gzip)?;
        let mut pump = Pump {
            sink,
            clock,
            decoder,
            batch_rows: self.batch_rows,
        };
        if whole_file {
            // The decoder reads by itself; for the loop the stream is at its end.
            source.skip_to_end()?;
        }
        pump.run(&mut source)
    }
}

fn open_file(path: &Path) -> Result<File, TransportError> {
    let failed = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => TransportError::FileNotFound {
            path: path.to_owned(),
            working_directory: std::env::current_dir().unwrap_or_default(),
        },
        _ => TransportError::File {
            action: "open",
            path: path.to_owned(),
            source,
        },
    };
    let file = File::open(path).map_err(failed)?;
    let is_directory = file.metadata().map_err(failed)?.is_dir();
    if is_directory {
        return Err(failed(std::io::ErrorKind::IsADirectory.into()));
    }
    Ok(file)
}

fn is_gzip(path: &Path, file: &mut File) -> Result<bool, TransportError> {
    if path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
    {
        return Ok(true);
    }
    let failed = |source| TransportError::File {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut magic = Vec::new();
    file.take(GZIP_MAGIC.len() as u64)
        .read_to_end(&mut magic)
        .map_err(failed)?;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    Ok(magic == GZIP_MAGIC)
}

/// An open file that counts what was read of it.
struct CountedFile {
    file: File,
    position: u64,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

struct FileSource {
    path: PathBuf,
    follow: bool,
    reader: MaybeGzip<CountedFile>,
    length: u64,
    /// Bytes decoded, if the decoder reads the file by itself.
    decoded: Option<u64>,
}

impl FileSource {
    fn new(input: &FileInput, file: File, is_gzip: bool) -> Result<Self, TransportError> {
        let path = input.path.clone();
        let failed = |source| TransportError::File {
            action: "read",
            path: input.path.clone(),
            source,
        };
        let length = file.metadata().map_err(failed)?.len();
        let mut raw = CountedFile { file, position: 0 };
        let start = input.start.offset;
        let shrank = |length| TransportError::FileShrank {
            path: input.path.clone(),
            length,
            position: start,
        };
        if !is_gzip {
            if start > length {
                return Err(shrank(length));
            }
            raw.position = raw.file.seek(SeekFrom::Start(start)).map_err(failed)?;
        }
        let mut reader = MaybeGzip::new(raw, is_gzip);
        if is_gzip {
            let skipped = skip(&mut reader, start).map_err(failed)?;
            if skipped < start {
                return Err(shrank(skipped));
            }
        }
        Ok(Self {
            path,
            follow: input.follow,
            reader,
            length,
            decoded: None,
        })
    }

    fn skip_to_end(&mut self) -> Result<(), TransportError> {
        let end = self.reader.raw_mut().file.seek(SeekFrom::End(0));
        let end = end.map_err(|source| self.failed("read", source))?;
        self.reader.raw_mut().position = end;
        self.decoded = Some(0);
        Ok(())
    }

    fn failed(&self, action: &'static str, source: std::io::Error) -> TransportError {
        TransportError::File {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl ByteSource for FileSource {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        loop {
            match self.reader.read(buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => return read.map_err(|source| self.failed("read", source)),
            }
        }
    }

    fn at_end(&mut self) -> Result<AtEnd, TransportError> {
        if !self.follow {
            return Ok(AtEnd::Finish);
        }
        let metadata = self.reader.raw().file.metadata();
        self.length = metadata
            .map_err(|source| self.failed("read", source))?
            .len();
        let position = self.reader.raw().position;
        if self.length < position {
            let (path, length) = (self.path.clone(), self.length);
            return Err(TransportError::FileShrank {
                path,
                length,
                position,
            });
        }
        Ok(AtEnd::Wait(FOLLOW_INTERVAL))
    }

    fn decoded(&mut self, bytes: u64) {
        if let Some(decoded) = &mut self.decoded {
            *decoded += bytes;
        }
    }

    fn progress(&self) -> Progress {
        let read = self.reader.raw().position;
        let done = self
            .decoded
            .map_or(read, |decoded| decoded.min(self.length));
        let total = (!self.follow).then_some(self.length.max(done));
        Progress {
            done,
            total,
            unit: ProgressUnit::Bytes,
        }
    }
}
