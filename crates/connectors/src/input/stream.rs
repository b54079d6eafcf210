//! The loop that all byte transports share: read, decode, hand over, with pauses and stops between.

use std::io::Read;
use std::time::Duration;

use flate2::read::MultiGzDecoder;

use crate::clock::Clock;
use crate::decode::{Decoded, Decoder};
use crate::error::TransportError;
use crate::input::{
    Closed, Finished, InputChunk, InputEvent, InputSink, Progress, WAIT_STEP, wait_while_paused,
};

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// The first bytes of gzip files.
pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Bytes from somewhere.
pub(super) trait ByteSource {
    /// Reads some bytes; 0 means that there are none now.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TransportError>;

    /// What to do when there are none.
    fn at_end(&mut self) -> Result<AtEnd, TransportError>;

    fn progress(&self) -> Progress;

    /// Called with the bytes that a decoded piece took.
    fn decoded(&mut self, _: u64) {}

    /// Called while reading is paused, with the time since the pause began.
    fn idle(&mut self, _: Duration) {}

    /// Something that went wrong and was overcome, once.
    fn take_warning(&mut self) -> Option<String> {
        None
    }
}

/// What the end of the bytes means.
pub(super) enum AtEnd {
    /// The stream is complete.
    Finish,
    /// More may come.
    Wait(Duration),
}

/// Where a stream's pieces go.
pub(super) struct Pump<'a> {
    pub(super) sink: &'a dyn InputSink,
    pub(super) clock: &'a dyn Clock,
    pub(super) decoder: Box<dyn Decoder>,
    pub(super) batch_rows: usize,
}

impl Pump<'_> {
    /// Reads until the stream ends or the sink stops.
    pub(super) fn run(&mut self, source: &mut dyn ByteSource) -> Result<Finished, TransportError> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if !wait_while_paused(self.sink, self.clock, |paused| source.idle(paused)) {
                return Ok(Finished::Stopped);
            }
            let read = source.read(&mut buffer)?;
            if let Some(warning) = source.take_warning()
                && self.sink.push(InputEvent::Warning(warning)).is_err()
            {
                return Ok(Finished::Stopped);
            }
            if read > 0 {
                self.decoder.push(&buffer[..read]);
            } else {
                match source.at_end()? {
                    AtEnd::Wait(duration) => {
                        self.clock.sleep(duration.min(WAIT_STEP));
                        continue;
                    }
                    AtEnd::Finish => self.decoder.finish(),
                }
            }
            if self.drain(source)?.is_err() {
                return Ok(Finished::Stopped);
            }
            if read == 0 {
                return Ok(end_input(self.sink));
            }
        }
    }

    /// Hands over everything that can be decoded.
    pub(super) fn drain(
        &mut self,
        source: &mut dyn ByteSource,
    ) -> Result<Result<(), Closed>, TransportError> {
        while let Some(decoded) = self.decoder.next(self.batch_rows)? {
            if self.sink.should_stop() {
                return Ok(Err(Closed));
            }
            source.decoded(decoded.bytes);
            let chunk = chunk(decoded, source.progress())?;
            if let Err(closed) = self.sink.push(InputEvent::Changes(chunk)) {
                return Ok(Err(closed));
            }
            if !wait_while_paused(self.sink, self.clock, |paused| source.idle(paused)) {
                return Ok(Err(Closed));
            }
        }
        Ok(Ok(()))
    }
}

/// Says that nothing follows.
pub(super) fn end_input(sink: &dyn InputSink) -> Finished {
    match sink.push(InputEvent::EndOfInput) {
        Ok(()) => Finished::EndOfInput,
        Err(Closed) => Finished::Stopped,
    }
}

fn chunk(decoded: Decoded, progress: Progress) -> Result<InputChunk, TransportError> {
    let Decoded {
        changes,
        errors,
        bytes,
        position,
    } = decoded;
    let position = serde_json::to_value(position)
        .map_err(|error| TransportError::Position(error.to_string()))?;
    Ok(InputChunk {
        changes,
        errors,
        bytes,
        position,
        progress,
    })
}

/// A stream that may be compressed.
pub(super) enum MaybeGzip<R: Read> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
}

impl<R: Read> MaybeGzip<R> {
    pub(super) fn new(raw: R, is_gzip: bool) -> Self {
        if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(raw)))
        } else {
            Self::Plain(raw)
        }
    }

    pub(super) fn raw(&self) -> &R {
        match self {
            Self::Plain(raw) => raw,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    pub(super) fn raw_mut(&mut self) -> &mut R {
        match self {
            Self::Plain(raw) => raw,
            Self::Gzip(decoder) => decoder.get_mut(),
        }
    }
}

impl<R: Read> Read for MaybeGzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Plain(raw) => raw.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

/// Reads and forgets `bytes` bytes; gives how many there were.
pub(super) fn skip(reader: &mut dyn Read, bytes: u64) -> std::io::Result<u64> {
    std::io::copy(&mut reader.take(bytes), &mut std::io::sink())
}
