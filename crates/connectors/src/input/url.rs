//! `url_input`: a file behind HTTP or HTTPS (or `file://`), read once; gzip by name or content.
//!
//! A connection that breaks is opened again where it broke, with a range request; a server that
//! does not do ranges sends the start again, which is passed over.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use highwater_types::connector::{ConnectorConfig, FormatConfig};
use serde::Deserialize;
use serde_json::Value;
use ureq::http::{StatusCode, header};

use super::stream::{AtEnd, ByteSource, GZIP_MAGIC, MaybeGzip, Pump, skip};
use super::{Finished, InputSink, InputTransport, Opened, Progress, ProgressUnit};
use super::{batch_rows, required_format, stream_position};
use crate::clock::Clock;
use crate::decode::{StreamPosition, decoder, parse_config};
use crate::error::{ConfigError, TransportError};
use crate::table::InputTable;

/// Attempts to get on, without a byte in between.
const ATTEMPTS_MAX: u32 = 5;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);

/// `transport.config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UrlConfig {
    path: String,
    /// Seconds of pause after which the connection is closed.
    #[serde(default = "pause_timeout_seconds")]
    pause_timeout: u64,
}

fn pause_timeout_seconds() -> u64 {
    60
}

/// A URL to read.
struct UrlInput {
    url: String,
    pause_timeout: Duration,
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
    let options: UrlConfig = parse_config(&config.transport.config)
        .map_err(|error| error.within("transport `url_input`"))?;
    if options.path.starts_with("file://") {
        let mut file = config.clone();
        file.transport.config = serde_json::json!({ "path": options.path });
        return super::file::open(&file, table, start);
    }
    if !options.path.starts_with("http://") && !options.path.starts_with("https://") {
        return Err(ConfigError::new(format!(
            "transport `url_input`: `path` must be an http, https or file URL, not `{}`",
            options.path
        ))
        .into());
    }
    let format = required_format(config)?.clone();
    let start = stream_position(start)?;
    decoder(&format, table, start.clone())?;
    Ok(Box::new(UrlInput {
        url: options.path,
        pause_timeout: Duration::from_secs(options.pause_timeout),
        format,
        table: Arc::clone(table),
        start,
        batch_rows: batch_rows(config),
    }))
}

impl InputTransport for UrlInput {
    fn run(
        self: Box<Self>,
        sink: &dyn InputSink,
        clock: &dyn Clock,
    ) -> Result<Finished, TransportError> {
        if !super::wait_while_paused(sink, clock, |_| ()) {
            return Ok(Finished::Stopped);
        }
        let decoder = decoder(&self.format, &self.table, self.start.clone())?;
        let mut source = UrlSource::open(&self, clock)?;
        Pump {
            sink,
            clock,
            decoder,
            batch_rows: self.batch_rows,
        }
        .run(&mut source)
    }
}

/// The bytes of a URL as the server has them.
struct Download<'a> {
    url: String,
    agent: ureq::Agent,
    clock: &'a dyn Clock,
    /// None while there is no connection.
    body: Option<Box<dyn Read + Send>>,
    position: u64,
    total: Option<u64>,
    /// Identifies the content, if the server says so.
    tag: Option<String>,
    /// Attempts since the last byte.
    attempts: u32,
    warning: Option<String>,
    /// Bytes that were read ahead to look at them.
    ahead: Vec<u8>,
}

/// Why a request did not give a body.
enum Refusal {
    /// Asking again may help.
    Transient(String),
    Final(String),
}

impl<'a> Download<'a> {
    fn new(url: &str, clock: &'a dyn Clock) -> Self {
        let agent = ureq::Agent::config_builder()
            .accept_encoding("identity")
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(RESPONSE_TIMEOUT))
            .build()
            .into();
        Self {
            url: url.to_owned(),
            agent,
            clock,
            body: None,
            position: 0,
            total: None,
            tag: None,
            attempts: 0,
            warning: None,
            ahead: Vec::new(),
        }
    }

    /// Asks for the content from `position` on.
    fn request(&mut self) -> Result<Box<dyn Read + Send>, Refusal> {
        let mut request = self.agent.get(&self.url);
        if self.position > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.position));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
                Refusal::Final(error.to_string())
            }
            error => Refusal::Transient(error.to_string()),
        })?;
        let (parts, body) = response.into_parts();
        let text = |name| {
            parts
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let tag = text(header::ETAG).map(str::to_owned);
        if self.tag.is_some() && tag.is_some() && self.tag != tag {
            return Err(Refusal::Final(
                "the content changed while it was read".to_owned(),
            ));
        }
        self.tag = self.tag.take().or(tag);
        let length = body.content_length();
        let mut reader: Box<dyn Read + Send> = Box::new(body.into_reader());
        match parts.status {
            StatusCode::PARTIAL_CONTENT => {
                self.total = length.map(|length| length + self.position);
            }
            // Nothing is left.
            StatusCode::RANGE_NOT_SATISFIABLE if self.position > 0 => {
                reader = Box::new(std::io::empty());
            }
            status if status.is_success() => {
                self.total = length;
                let skipped = skip(&mut *reader, self.position)
                    .map_err(|error| Refusal::Transient(error.to_string()))?;
                if skipped < self.position {
                    return Err(Refusal::Final(format!(
                        "it has {skipped} bytes, fewer than the {} that were read before",
                        self.position
                    )));
                }
            }
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Refusal::Transient(format!("the server answered {status}")));
            }
            status => return Err(Refusal::Final(format!("the server answered {status}"))),
        }
        Ok(reader)
    }

    fn try_read(&mut self, buffer: &mut [u8]) -> Result<usize, Refusal> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => self.request()?,
        };
        let read = body
            .read(buffer)
            .map_err(|error| Refusal::Transient(error.to_string()))?;
        let is_short = read == 0 && self.total.is_some_and(|total| self.position < total);
        if is_short && !buffer.is_empty() {
            return Err(Refusal::Transient("the connection ended early".to_owned()));
        }
        self.position += read as u64;
        self.body = Some(body);
        Ok(read)
    }

    fn error(&self, reason: String) -> TransportError {
        TransportError::Url {
            url: shown(&self.url),
            reason,
        }
    }
}

/// An address as messages may name it: they are logged, shown, and kept in checkpoints, so they lack
/// what may be a secret, which is the user in front of the host and all parameters.
fn shown(url: &str) -> String {
    let (place, parameters) = match url.find(['?', '#']) {
        Some(end) => (&url[..end], "?…"),
        None => (url, ""),
    };
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}{parameters}")
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.ahead.is_empty() {
            let length = self.ahead.len().min(buffer.len());
            buffer[..length].copy_from_slice(&self.ahead[..length]);
            self.ahead.drain(..length);
            return Ok(length);
        }
        loop {
            match self.try_read(buffer) {
                Ok(read) => {
                    self.attempts = 0;
                    return Ok(read);
                }
                Err(Refusal::Final(reason)) => return Err(std::io::Error::other(reason)),
                Err(Refusal::Transient(reason)) => {
                    self.attempts += 1;
                    if self.attempts >= ATTEMPTS_MAX {
                        return Err(std::io::Error::other(reason));
                    }
                    self.warning = Some(format!("`{}`: {reason}; trying again", shown(&self.url)));
                    self.clock
                        .sleep(Duration::from_millis(100 << self.attempts));
                }
            }
        }
    }
}

struct UrlSource<'a> {
    reader: MaybeGzip<Download<'a>>,
    pause_timeout: Duration,
}

impl<'a> UrlSource<'a> {
    fn open(input: &UrlInput, clock: &'a dyn Clock) -> Result<Self, TransportError> {
        let mut download = Download::new(&input.url, clock);
        let start = input.start.offset;
        let path = input.url.split(['?', '#']).next().unwrap_or_default();
        let mut is_gzip = path.ends_with(".gz");
        if !is_gzip {
            let mut magic = vec![0; GZIP_MAGIC.len()];
            let read = read_fully(&mut download, &mut magic);
            let read = read.map_err(|error| download.error(error.to_string()))?;
            magic.truncate(read);
            is_gzip = magic == GZIP_MAGIC;
            if is_gzip || start == 0 {
                download.ahead = magic;
            } else {
                download.body = None;
                download.position = start;
            }
        }
        let mut reader = MaybeGzip::new(download, is_gzip);
        if is_gzip {
            let skipped = skip(&mut reader, start);
            let skipped = skipped.map_err(|error| reader.raw().error(error.to_string()))?;
            if skipped < start {
                let reason = format!("it ends at byte {skipped}, before {start} to go on from");
                return Err(reader.raw().error(reason));
            }
        }
        Ok(Self {
            reader,
            pause_timeout: input.pause_timeout,
        })
    }
}

fn read_fully(reader: &mut dyn Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

impl ByteSource for UrlSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError> {
        let read = self.reader.read(buffer);
        read.map_err(|error| self.reader.raw().error(error.to_string()))
    }

    fn at_end(&mut self) -> Result<AtEnd, TransportError> {
        Ok(AtEnd::Finish)
    }

    fn progress(&self) -> Progress {
        let download = self.reader.raw();
        Progress {
            done: download.position,
            total: download.total,
            unit: ProgressUnit::Bytes,
        }
    }

    fn idle(&mut self, paused: Duration) {
        if paused >= self.pause_timeout {
            self.reader.raw_mut().body = None;
        }
    }

    fn take_warning(&mut self) -> Option<String> {
        self.reader.raw_mut().warning.take()
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn messages_name_no_secrets() {
        let cases = [
            ("http://h:1/a/b.csv", "http://h:1/a/b.csv"),
            ("https://me:pw@h/a?token=x#y", "https://h/a?…"),
            ("http://h?a@b/c", "http://h?…"),
            ("http://h/a@b", "http://h/a@b"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected);
        }
    }
}
