//! Where JSON records end, without parsing them.
//!
//! The splitter looks only at brackets, quotes and line ends, so that one broken record does not
//! take the rest of the stream with it. A bracket or quote that is never closed would; therefore a
//! record also ends
//! - at a line end inside a string (JSON strings have none), and
//! - before a `{` or `[` that begins a line where JSON cannot continue with one, which is where the
//!   next record of NDJSON begins.
//!
//! Invariants
//! - I1: the ends found do not depend on how the stream was cut into pieces.
//! - I2: every byte is looked at once.

use super::Lines;

/// Finds record ends in a stream whose bytes come in pieces.
pub(super) struct Splitter {
    lines: Lines,
    state: State,
    /// Open brackets.
    depth: usize,
    /// The last byte that is no blank, outside strings.
    previous: u8,
    /// True if there was a line end since `previous`.
    line_began: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between records.
    Between,
    /// In a record, outside strings.
    Inside,
    /// In a string.
    Text,
    /// Behind a backslash in a string.
    Escape,
}

impl Splitter {
    pub(super) fn new(lines: Lines) -> Self {
        Self {
            lines,
            state: State::Between,
            depth: 0,
            previous: 0,
            line_began: false,
        }
    }

    /// Goes on looking at `bytes[from..]` and gives the end of the record if it is there. The
    /// record begins where the last one ended (with blanks in front). After an end, the next call's
    /// `from` is that end; else it is `bytes.len()`.
    pub(super) fn find_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        match self.lines {
            Lines::Multiple => self.find_bracket_end(bytes, from),
            Lines::Single => self.find_line_end(bytes, from),
        }
    }

    /// At the end of the stream: is there an unfinished record?
    pub(super) fn is_inside(&self) -> bool {
        self.state != State::Between
    }

    /// Begins between records.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.lines);
    }

    fn find_line_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut from = from;
        if self.state == State::Between {
            from += bytes[from..]
                .iter()
                .position(|byte| !byte.is_ascii_whitespace())?;
            self.state = State::Inside;
        }
        let end = from + memchr::memchr(b'\n', &bytes[from..])?;
        self.state = State::Between;
        Some(end)
    }

    fn find_bracket_end(&mut self, bytes: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while at < bytes.len() {
            let end = match self.state {
                State::Between => {
                    at += bytes[at..]
                        .iter()
                        .position(|byte| !byte.is_ascii_whitespace())?;
                    self.state = State::Inside;
                    (self.depth, self.previous, self.line_began) = (0, 0, false);
                    None
                }
                State::Inside => self.step_inside(bytes[at], &mut at),
                State::Escape => {
                    self.state = State::Text;
                    at += 1;
                    None
                }
                State::Text => self.step_text(bytes, &mut at),
            };
            if end.is_some() {
                self.state = State::Between;
                return end;
            }
        }
        None
    }

    fn step_text(&mut self, bytes: &[u8], at: &mut usize) -> Option<usize> {
        let Some(found) = memchr::memchr3(b'"', b'\\', b'\n', &bytes[*at..]) else {
            *at = bytes.len();
            return None;
        };
        *at += found;
        match bytes[*at] {
            b'\n' => return Some(*at),
            b'\\' => self.state = State::Escape,
            _ => {
                self.state = State::Inside;
                if self.depth == 0 {
                    return Some(*at + 1);
                }
            }
        }
        *at += 1;
        None
    }

    fn step_inside(&mut self, byte: u8, at: &mut usize) -> Option<usize> {
        match byte {
            b'\n' if self.depth == 0 => return Some(*at),
            b' ' | b'\t' | b'\r' if self.depth == 0 => return Some(*at),
            b'\n' => self.line_began = true,
            b' ' | b'\t' | b'\r' => {}
            b'{' | b'[' => {
                let scalar_before = self.depth == 0 && self.previous != 0;
                let misplaced = self.depth > 0
                    && self.line_began
                    && !matches!(self.previous, b',' | b':' | b'[');
                if scalar_before || misplaced {
                    return Some(*at);
                }
                self.depth += 1;
                self.set_previous(byte);
            }
            b'}' | b']' if self.depth > 0 => {
                self.depth -= 1;
                self.set_previous(byte);
                if self.depth == 0 {
                    return Some(*at + 1);
                }
            }
            b'"' => {
                self.state = State::Text;
                self.set_previous(byte);
            }
            _ => self.set_previous(byte),
        }
        *at += 1;
        None
    }

    fn set_previous(&mut self, byte: u8) {
        self.previous = byte;
        self.line_began = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits a stream that comes in pieces of `step` bytes.
    fn split(lines: Lines, text: &str, step: usize) -> Vec<String> {
        let mut splitter = Splitter::new(lines);
        let (mut records, mut start, mut from) = (Vec::new(), 0, 0);
        let bytes = text.as_bytes();
        let cuts = (step..bytes.len()).step_by(step).chain([bytes.len()]);
        for cut in cuts {
            while let Some(end) = splitter.find_end(&bytes[..cut], from) {
                records.push(text[start..end].trim().to_owned());
                (start, from) = (end, end);
            }
            from = cut;
        }
        if splitter.is_inside() {
            records.push(text[start..].trim().to_owned());
        }
        records
    }

    #[track_caller]
    fn check(lines: Lines, text: &str, expected: &[&str]) {
        for step in 1..=text.len().max(1) {
            assert_eq!(split(lines, text, step), expected, "pieces of {step} bytes");
        }
    }

    #[test]
    fn values_end_at_their_last_bracket() {
        check(Lines::Multiple, "", &[]);
        check(Lines::Multiple, " \n", &[]);
        check(
            Lines::Multiple,
            r#"{"a":1}{"a":2}"#,
            &[r#"{"a":1}"#, r#"{"a":2}"#],
        );
        check(
            Lines::Multiple,
            "{\n \"a\":\n {}\n}\n[1]",
            &["{\n \"a\":\n {}\n}", "[1]"],
        );
        check(
            Lines::Multiple,
            r#"{"a":"}\"{"} 1 "x""#,
            &[r#"{"a":"}\"{"}"#, "1", "\"x\""],
        );
        check(
            Lines::Multiple,
            "[\n{\"a\":1},\n{\"a\":2}\n]",
            &["[\n{\"a\":1},\n{\"a\":2}\n]"],
        );
    }

    #[test]
    fn broken_records_do_not_swallow_the_next() {
        check(
            Lines::Multiple,
            "{\"a\": 1\n{\"a\": 2}\n",
            &["{\"a\": 1", "{\"a\": 2}"],
        );
        check(Lines::Multiple, "{\"a\n{\"a\": 2}", &["{\"a", "{\"a\": 2}"]);
        check(Lines::Multiple, "}}x{\"a\": 2}", &["}}x", "{\"a\": 2}"]);
        check(
            Lines::Multiple,
            "{\"a\": [1}\n{\"a\":2}",
            &["{\"a\": [1}", "{\"a\":2}"],
        );
    }

    #[test]
    fn lines_end_records_if_asked() {
        check(
            Lines::Single,
            "{\"a\":\n1}\r\n\n{}",
            &["{\"a\":", "1}", "{}"],
        );
    }
}
