//! Decides what one step's ordered changes leave of each key: a pure function over row numbers.

use arrow::array::ArrayRef;
use highwater_zset::{Grouping, Keys, RowHasher};

use crate::operators::OperatorError;
use crate::table_input::TableInput;

/// The changes of a step grouped by key, a key's changes in arrival order.
pub(crate) struct KeyRuns {
    pub keys: Keys,
    /// Rows of the input, key by key.
    rows: Vec<u32>,
    /// Where each key's rows begin, and the end.
    starts: Vec<u32>,
}

impl KeyRuns {
    fn runs(&self) -> impl Iterator<Item = &[u32]> {
        self.starts
            .windows(2)
            .map(|bounds| &self.rows[bounds[0] as usize..bounds[1] as usize])
    }
}

/// Groups `rows` rows by these key columns.
pub(crate) fn key_runs(
    hasher: RowHasher,
    columns: &[ArrayRef],
    rows: usize,
) -> Result<KeyRuns, OperatorError> {
    let (keys, key_of_row) = Grouping::new(hasher, columns, rows)?.into_keys()?;
    // A counting sort keeps the order of arrival.
    let mut starts = vec![0u32; keys.len() + 1];
    for &key in &key_of_row {
        starts[key as usize + 1] += 1;
    }
    for key in 0..keys.len() {
        starts[key + 1] += starts[key];
    }
    let mut next = starts.clone();
    let mut sorted = vec![0; rows];
    for (row, &key) in (0u32..).zip(&key_of_row) {
        let position = &mut next[key as usize];
        sorted[*position as usize] = row;
        *position += 1;
    }
    Ok(KeyRuns {
        keys,
        rows: sorted,
        starts,
    })
}

/// Where the row that a key ends up with comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Base {
    /// This row of the input.
    New(u32),
    /// This one of the live rows.
    Live(u32),
}

/// What a step does to a table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Outcome {
    /// Live rows that go (or are replaced).
    pub retracted: Vec<u32>,
    /// Rows that come.
    pub inserted: Vec<Base>,
    /// Per inserted row and column, the input row that sets this column; empty without partial updates.
    patches: Vec<Option<u32>>,
    columns: usize,
}

impl Outcome {
    /// The input row whose value column `column` of inserted row `inserted` takes, if not the base's.
    pub(crate) fn patch(&self, inserted: usize, column: usize) -> Option<u32> {
        self.patches
            .get(inserted * self.columns + column)
            .copied()
            .flatten()
    }
}

/// Plays every key's changes in order, starting from its live row.
pub(crate) fn resolve(runs: &KeyRuns, input: &TableInput, live: &[Option<u32>]) -> Outcome {
    let columns = input.rows.num_columns();
    let mut outcome = Outcome {
        columns,
        ..Outcome::default()
    };
    let mut patches = vec![None; if input.partial.is_some() { columns } else { 0 }];
    for (run, &live) in runs.runs().zip(live) {
        let before = live.map(Base::Live);
        let mut now = before;
        let mut is_patched = false;
        for &row in run {
            let successor = match change(input, row) {
                Change::None => continue,
                Change::Update => {
                    if now.is_some() {
                        is_patched = true;
                        set_patches(input, row, &mut patches);
                    }
                    continue;
                }
                Change::Delete => None,
                Change::Insert => Some(Base::New(row)),
            };
            now = successor;
            is_patched = false;
            patches.fill(None);
        }
        if now == before && !is_patched {
            continue;
        }
        outcome.retracted.extend(live);
        if let Some(base) = now {
            outcome.inserted.push(base);
            outcome.patches.extend_from_slice(&patches);
        }
        patches.fill(None);
    }
    outcome
}

enum Change {
    None,
    Insert,
    Delete,
    Update,
}

fn change(input: &TableInput, row: u32) -> Change {
    let row = row as usize;
    let is_update = input
        .partial
        .as_ref()
        .is_some_and(|partial| partial.is_update.value(row));
    match input.weights[row] {
        _ if is_update => Change::Update,
        0 => Change::None,
        weight if weight > 0 => Change::Insert,
        _ => Change::Delete,
    }
}

fn set_patches(input: &TableInput, row: u32, patches: &mut [Option<u32>]) {
    let is_set = input.partial.iter().flat_map(|partial| &partial.is_set);
    for (patch, is_set) in patches.iter_mut().zip(is_set) {
        if is_set.value(row as usize) {
            *patch = Some(row);
        }
    }
}
