//! Rows as comparable values: exact, except floats, which are compared with a tolerance where two
//! engines may have rounded differently.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// One value of a row.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    Text(String),
    Float(f64),
}

impl Cell {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Float(value) => format!("{value:?}"),
        }
    }
}

pub(crate) type Row = Vec<Cell>;

/// The rows of a batch.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        for (row, cell) in rows.iter_mut().zip(cells_of(column.as_ref())) {
            row.push(cell);
        }
    }
    rows
}

fn cells_of(column: &dyn Array) -> Vec<Cell> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).expect("every type can be formatted");
    let float = |row: usize| match column.data_type() {
        DataType::Float32 => Some(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        _ => None,
    };
    let cell = |row: usize| match float(row) {
        // SQL's equality: zeros are one value, and so are NaNs.
        Some(value) if !column.is_null(row) => Cell::Float(if value.is_nan() {
            f64::NAN
        } else {
            value + 0.0
        }),
        _ => Cell::Text(formatter.value(row).to_string()),
    };
    (0..column.len()).map(cell).collect()
}

/// A row as text, floats in full precision: the identity of a row inside one engine.
pub(crate) fn row_text(row: &Row) -> String {
    let cells: Vec<_> = row.iter().map(Cell::text).collect();
    format!("({})", cells.join(", "))
}

/// A bag of rows, grown by deltas.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bag {
    counts: BTreeMap<String, (Row, i64)>,
}

impl Bag {
    pub(crate) fn add(&mut self, row: Row, weight: i64) {
        let text = row_text(&row);
        let entry = self.counts.entry(text.clone()).or_insert((row, 0));
        entry.1 += weight;
        if entry.1 == 0 {
            self.counts.remove(&text);
        }
    }

    /// The rows, each as often as it occurs.
    ///
    /// # Errors
    /// If a row occurs a negative number of times.
    pub(crate) fn rows(&self) -> Result<Vec<Row>, String> {
        let mut rows = Vec::new();
        for (text, (row, count)) in &self.counts {
            if *count < 0 {
                return Err(format!("row {text} occurs {count} times"));
            }
            rows.extend(std::iter::repeat_n(
                row.clone(),
                usize::try_from(*count).expect("not negative"),
            ));
        }
        Ok(rows)
    }
}

/// Compares two bags of rows; says what differs.
///
/// # Errors
/// A text with the first differences.
pub(crate) fn compare(expected: &[Row], actual: &[Row]) -> Result<(), String> {
    let expected = by_exact_part(expected);
    let actual = by_exact_part(actual);
    let mut differences = Vec::new();
    for key in expected
        .keys()
        .chain(actual.keys().filter(|key| !expected.contains_key(*key)))
    {
        let none = Vec::new();
        let (left, right) = (
            expected.get(key).unwrap_or(&none),
            actual.get(key).unwrap_or(&none),
        );
        let agree = left.len() == right.len()
            && left
                .iter()
                .zip(right)
                .all(|(left, right)| floats_agree(left, right));
        if !agree {
            differences.push(format!(
                "  {key}\n    expected {left:?}\n    actual   {right:?}"
            ));
        }
    }
    if differences.is_empty() {
        return Ok(());
    }
    let shown = differences.len().min(6);
    Err(format!(
        "{} groups of rows differ:\n{}",
        differences.len(),
        differences[..shown].join("\n")
    ))
}

/// Rows by their exact cells; the float cells of each group, sorted.
fn by_exact_part(rows: &[Row]) -> BTreeMap<String, Vec<Vec<f64>>> {
    let mut groups: BTreeMap<String, Vec<Vec<f64>>> = BTreeMap::new();
    for row in rows {
        let mut floats = Vec::new();
        let mut exact = String::new();
        for cell in row {
            match cell {
                Cell::Text(text) => exact.push_str(&format!("{text:?} ")),
                Cell::Float(value) => {
                    floats.push(*value);
                    exact.push_str("~ ");
                }
            }
        }
        groups.entry(exact).or_default().push(floats);
    }
    for group in groups.values_mut() {
        // Rounded first, so that an error in the last bits does not change the order of rows.
        group.sort_by(|left, right| {
            let rounded = |row: &[f64]| {
                row.iter()
                    .map(|value| format!("{value:.6e}"))
                    .collect::<Vec<_>>()
            };
            let by_rounded = left
                .iter()
                .zip(right)
                .map(|(left, right)| {
                    if close(*left, *right) {
                        std::cmp::Ordering::Equal
                    } else {
                        left.total_cmp(right)
                    }
                })
                .find(|order| order.is_ne());
            by_rounded.unwrap_or_else(|| rounded(left).cmp(&rounded(right)))
        });
    }
    groups
}

fn floats_agree(left: &[f64], right: &[f64]) -> bool {
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| close(*left, *right))
}

/// Equal but for rounding: a relative error of 1e-9, or an absolute one of 1e-9 near zero.
fn close(left: f64, right: f64) -> bool {
    let largest = left.abs().max(right.abs());
    left.to_bits() == right.to_bits()
        || left == right
        || (largest.is_finite() && (left - right).abs() <= 1e-9 * largest.max(1.0))
}

#[test]
fn the_judge_itself_sees_differences() {
    let float = |value: f64| vec![Cell::Text("a".to_owned()), Cell::Float(value)];
    assert!(compare(&[float(1.0)], &[float(1.0 + 1e-12)]).is_ok());
    assert!(compare(&[float(1.0)], &[float(1.001)]).is_err());
    assert!(compare(&[float(1.0), float(2.0)], &[float(2.0), float(1.0)]).is_ok());
    assert!(compare(&[float(1.0), float(1.0)], &[float(1.0)]).is_err());
    assert!(compare(&[float(f64::NAN)], &[float(f64::NAN)]).is_ok());
    assert!(compare(&[float(f64::INFINITY)], &[float(1.0)]).is_err());
    assert!(
        compare(
            &[vec![Cell::Text("1".to_owned())]],
            &[vec![Cell::Text("2".to_owned())]]
        )
        .is_err()
    );
}
