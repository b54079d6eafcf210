use super::*;
use crate::testing::{Case, Kind, Shelf, cases, columns, consolidated, read_rows, sum};
use arrow::array::RecordBatch;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The rows in several batches, some of them in files.
fn snapshot(case: &Case, parts: usize, shelf: &Shelf, in_files: u8) -> Snapshot {
    let part = |part| {
        let rows = case
            .rows
            .iter()
            .enumerate()
            .filter(|(row, _)| row % parts == part);
        case.batch(&rows.map(|(_, row)| row.clone()).collect::<Vec<_>>())
    };
    let batches = (0..parts).map(|number| shelf.place(number, &part(number), in_files));
    Snapshot::new(Arc::clone(&case.layout), batches)
}

/// Keys to ask for, in no order and with repeats: those of all rows, and some that are not there.
fn probes(case: &Case) -> Vec<Vec<u8>> {
    let kinds = case.key_kinds();
    let there = case.rows.iter().map(|(row, _)| case.key_of(row));
    let others = (0..3_u8).map(|salt| {
        kinds
            .iter()
            .map(|kind| (salt * 7 + 3) % (kind.values() + 1))
            .collect()
    });
    there.chain(others).collect()
}

fn key_hashes(case: &Case, probes: &[Vec<u8>]) -> (Vec<u64>, Vec<ArrayRef>) {
    let columns = columns(&case.key_kinds(), probes);
    (case.layout.hasher.hash(&columns, probes.len()), columns)
}

proptest! {
    #[test]
    fn probes_find_all_rows_of_their_key(case in cases(40), parts in 1_usize..5, in_files: u8) {
        let shelf = Shelf::new(0);
        let snapshot = snapshot(&case, parts, &shelf, in_files);
        let probes = probes(&case);
        let (hashes, keys) = key_hashes(&case, &probes);
        let matches = snapshot.probe(&hashes, &keys).unwrap();
        let positions: Vec<usize> = (0..case.kinds.len()).collect();
        let gathered = snapshot.gather(&matches, &positions).unwrap();
        let rows = crate::delta::record_batch(&case.layout.schema, gathered, matches.len()).unwrap();
        let mut found: BTreeMap<u32, Vec<(Vec<u8>, i64)>> = BTreeMap::new();
        for (match_, row) in read_rows(&case.kinds, &rows).into_iter().enumerate() {
            found.entry(matches.probes[match_]).or_default().push((row, matches.weights[match_]));
        }
        let all = sum(&case.rows);
        let weights = snapshot.key_weights(&hashes, &keys).unwrap();
        let enough = |probe: usize| probe as i64 % 4;
        let bounded = snapshot.key_weights_up_to(&hashes, &keys, enough).unwrap();
        for (probe, (bounded, exact)) in bounded.into_iter().zip(&weights).enumerate() {
            prop_assert!(bounded == *exact || (enough(probe)..=*exact).contains(&bounded));
        }
        for (probe, key) in probes.iter().enumerate() {
            let expected: BTreeMap<_, _> =
                all.iter().filter(|(row, _)| case.key_of(row) == *key).map(|(row, w)| (row.clone(), *w)).collect();
            let found = found.remove(&(probe as u32)).unwrap_or_default();
            prop_assert_eq!(sum(&found), expected.clone());
            prop_assert_eq!(weights[probe], expected.values().sum::<i64>());
        }
    }

    #[test]
    fn groups_are_consolidated_ordered_and_limited(case in cases(60), parts in 1_usize..5, limit in 0_u64..6, in_files: u8) {
        let shelf = Shelf::new(0);
        let snapshot = snapshot(&case, parts, &shelf, in_files);
        let probes = probes(&case);
        let keys = Keys::new(case.layout.hasher, &columns(&case.key_kinds(), &probes), probes.len()).unwrap();
        let all = snapshot.read_groups(&keys, ReadLimit::All).unwrap();
        let limited = snapshot.read_groups(&keys, ReadLimit::Weight(limit)).unwrap();
        let contents = sum(&case.rows);
        let key_columns: Vec<_> = case.key_kinds().iter().zip(keys.columns()).map(|(k, c)| k.read(c)).collect();
        for key in 0..keys.len() {
            let value: Vec<u8> = key_columns.iter().map(|column| column[key]).collect();
            let rows = group(&case, &all, key);
            let expected: BTreeMap<_, _> = contents.iter().filter(|(row, _)| case.key_of(row) == value).collect();
            prop_assert_eq!(rows.iter().map(|(row, weight)| (row, weight)).collect::<BTreeMap<_, _>>(), expected);
            prop_assert!(rows.windows(2).all(|pair| case.compare(&pair[0].0, &pair[1].0).is_le()));
            // A limited read is the shortest prefix with enough positive weight.
            let mut left = limit as i64;
            let enough = rows.iter().position(|(_, weight)| { left -= (*weight).max(0); left <= 0 });
            let length = if limit == 0 { 0 } else { enough.map_or(rows.len(), |last| last + 1) };
            prop_assert_eq!(group(&case, &limited, key), &rows[..length]);
        }
    }

    #[test]
    fn a_scan_is_everything_in_one_order(case in cases(40), parts in 1_usize..5, in_files: u8) {
        let shelf = Shelf::new(0);
        let scan = |parts| {
            let pieces = snapshot(&case, parts, &shelf, in_files).scan().unwrap();
            Delta::concat(&case.layout.schema, &pieces).unwrap()
        };
        prop_assert_eq!(consolidated(&case.kinds, &scan(parts)), sum(&case.rows));
        let (many, one) = (scan(parts), scan(1));
        prop_assert_eq!(many.rows(), one.rows());
    }
}

fn group(case: &Case, groups: &Groups, key: usize) -> Vec<(Vec<u8>, i64)> {
    let range = groups.range(key);
    let rows: RecordBatch = groups.rows.slice(range.start, range.len());
    read_rows(&case.kinds, &rows)
        .into_iter()
        .zip(groups.weights[range].iter().copied())
        .collect()
}

#[test]
fn keys_of_another_type_are_refused() {
    let layout = crate::Layout::hashed(
        crate::testing::schema(&[Kind::Int64]),
        vec![0],
        crate::RowHasher::new(1),
    );
    let snapshot = Snapshot::empty(Arc::new(layout));
    assert!(snapshot.probe(&[1], &[Kind::Int32.column(&[1])]).is_err());
    assert!(snapshot.probe(&[1], &[]).is_err());
}
