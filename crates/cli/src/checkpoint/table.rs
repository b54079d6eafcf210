//! Text for people: aligned columns, sizes, times.

use std::fmt;

use chrono::{DateTime, Utc};
use indicatif::{BinaryBytes, HumanCount};
use uuid::Uuid;

/// Between two columns.
const GAP: &str = "  ";

/// Rows under headers. Numbers are aligned to the right.
pub(super) struct Table {
    headers: Vec<&'static str>,
    /// Columns that are aligned to the right.
    numbers: &'static [usize],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const N: usize>(
        headers: [&'static str; N],
        numbers: &'static [usize],
    ) -> Self {
        Self {
            headers: headers.to_vec(),
            numbers,
            rows: Vec::new(),
        }
    }

    pub(super) fn push<const N: usize>(&mut self, row: [String; N]) {
        self.rows.push(row.to_vec());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|cell| cell.chars().count());
        let header = self.headers.get(column).map_or(0, |header| header.len());
        cells.chain([header]).max().unwrap_or(0)
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
        let mut line = String::new();
        for (column, (cell, width)) in cells.zip(widths).enumerate() {
            if column > 0 {
                line.push_str(GAP);
            }
            let padding = " ".repeat(width - cell.chars().count());
            if self.numbers.contains(&column) {
                line.push_str(&padding);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&padding);
            }
        }
        line.trim_end().to_owned()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = 0..self.headers.len();
        let widths: Vec<usize> = columns.map(|column| self.width(column)).collect();
        let headers = self.headers.iter().copied();
        writeln!(formatter, "{}", self.line(headers, &widths))?;
        for row in &self.rows {
            let cells = row.iter().map(String::as_str);
            writeln!(formatter, "{}", self.line(cells, &widths))?;
        }
        Ok(())
    }
}

/// `1.46 KiB`.
pub(super) fn size(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// `1.46 KiB (1,500 bytes)`, `35 bytes`.
pub(super) fn exact_size(bytes: u64) -> String {
    if bytes < 1_024 {
        return format!("{bytes} bytes");
    }
    format!("{} ({} bytes)", size(bytes), count(bytes))
}

/// With commas.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// `3 files`, `1 file`, `2 batches`.
pub(super) fn plural(number: usize, noun: &str) -> String {
    let suffix = match number {
        1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{} {noun}{suffix}", count(number as u64))
}

pub(super) fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// When a uuid was drawn, if it says so.
pub(super) fn time_of(uuid: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanoseconds) = uuid.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
}

/// What is not known.
pub(super) fn or_unknown(text: Option<String>) -> String {
    text.unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["NAME", "BYTES", "STATE"], &[1]);
        table.push(["ä".to_owned(), count(1_234), "ok".to_owned()]);
        table.push(["longer".to_owned(), count(5), String::new()]);
        let expected = "NAME    BYTES  STATE\nä       1,234  ok\nlonger      5\n";
        assert_eq!(table.to_string(), expected);
        assert_eq!(exact_size(1_500), "1.46 KiB (1,500 bytes)");
        assert_eq!(exact_size(35), "35 bytes");
        assert_eq!(
            [plural(1, "file"), plural(2, "batch")],
            ["1 file", "2 batches"]
        );
    }

    #[test]
    fn a_uuid_tells_when_it_was_drawn() {
        let uuid = Uuid::try_parse("019aab14-5db0-7000-8000-000000000000").unwrap();
        assert_eq!(time(time_of(uuid).unwrap()), "2025-11-22 10:20:30 UTC");
        assert_eq!(time_of(Uuid::nil()), None);
    }
}
