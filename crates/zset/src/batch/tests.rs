use super::*;
use crate::testing::{Kind, cases, columns, consolidated, delta, read_delta, schema, sum};
use crate::{Keys, RowHasher};
use arrow::array::{Array, Int64Array};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_batch_is_its_delta_summed_up(case in cases(40)) {
        let batch = case.batch(&case.rows);
        prop_assert_eq!(consolidated(&case.kinds, &batch.to_delta()), sum(&case.rows));
        prop_assert!(batch.key_hashes().is_sorted());
        prop_assert!((1..batch.len()).all(|row| batch.rank(row - 1) <= batch.rank(row)));
    }

    #[test]
    fn order_inside_a_key_is_the_asked_one(case in cases(40)) {
        let batch = case.batch(&case.rows);
        let rows = read_delta(&case.kinds, &batch.to_delta());
        for (position, pair) in rows.windows(2).enumerate() {
            if batch.key_hashes()[position] == batch.key_hashes()[position + 1] && case.layout.is_ordered() {
                prop_assert!(case.compare(&pair[0].0, &pair[1].0).is_le(), "{:?} before {:?}", pair[0], pair[1]);
            }
        }
    }

    #[test]
    fn keys_are_the_distinct_keys(case in cases(40)) {
        let batch = case.batch(&case.rows);
        let keys = batch.keys().unwrap();
        let mut expected: Vec<_> = sum(&case.rows).keys().map(|row| case.key_of(row)).collect();
        expected.sort();
        expected.dedup();
        let read = |keys: &Keys| {
            let columns: Vec<_> =
                case.key_kinds().iter().zip(keys.columns()).map(|(kind, column)| kind.read(column)).collect();
            let row = |row: usize| columns.iter().map(|column| column[row]).collect::<Vec<u8>>();
            let mut rows: Vec<_> = (0..keys.len()).map(row).collect();
            rows.sort();
            rows
        };
        prop_assert_eq!(&read(&keys), &expected);
        prop_assert!(keys.hashes().is_sorted());
        let values: Vec<Vec<u8>> = case.rows.iter().map(|(row, _)| case.key_of(row)).collect();
        let given = Keys::new(case.layout.hasher, &columns(&case.key_kinds(), &values), values.len()).unwrap();
        let union = Keys::union(&[keys, given.clone()]).unwrap();
        prop_assert_eq!(read(&union), read(&given));
        prop_assert_eq!(union.hashes(), given.hashes());
    }
}

#[test]
fn many_rows_are_found_in_their_buckets() {
    let layout = Arc::new(Layout::hashed(
        schema(&[Kind::Int64, Kind::Int64]),
        vec![0],
        RowHasher::new(9),
    ));
    let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50_000));
    let rows =
        RecordBatch::try_new(Arc::clone(&layout.schema), vec![column.clone(), column]).unwrap();
    let batch = Batch::from_delta(&layout, &Delta::insertions(rows)).unwrap();
    assert_eq!(batch.len(), 50_000);
    let rows = |hash| {
        let bucket = batch.index().bucket(batch.len(), hash);
        let rows = HashIndex::rows_in(batch.key_hashes(), bucket.clone(), hash);
        let window = HashIndex::rows_in_window(batch.key_hashes(), &bucket, hash);
        assert!(
            window.is_none_or(|window| window == rows || (window.is_empty() && rows.is_empty()))
        );
        rows
    };
    for (row, hash) in batch.key_hashes().iter().enumerate() {
        assert_eq!(rows(*hash), row as u32..row as u32 + 1);
        assert!(rows(hash ^ 1).is_empty());
        assert!(batch.index().may_contain(*hash));
    }
    let others = (1..=10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let passed = others.filter(|hash| batch.index().may_contain(*hash));
    assert!(passed.count() < 1_500);
    assert!(batch.bytes() < 50_000 * 37, "{} bytes", batch.bytes());
}

#[test]
fn the_filter_passes_hashes_that_lie_close_together() {
    for step in [1, 2, 3, 17, 100] {
        let hashes: Vec<u64> = (0..1_000).map(|row| 5_000 + row * step).collect();
        let index = HashIndex::new(&hashes);
        assert!(hashes.iter().all(|hash| index.may_contain(*hash)));
        assert!(!index.may_contain(4_999) && !index.may_contain(hashes[999] + 1));
    }
}

#[test]
fn views_do_not_keep_the_buffers_that_they_came_from() {
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::TextView]),
        RowHasher::new(9),
    ));
    let texts = (0..10_000).map(|row| format!("a text of more than twelve bytes {row}"));
    let column = arrow::array::StringViewArray::from_iter_values(texts).slice(500, 2);
    let rows = RecordBatch::try_new(Arc::clone(&layout.schema), vec![Arc::new(column)]).unwrap();
    let batch = Batch::from_delta(&layout, &Delta::insertions(rows)).unwrap();
    assert!(batch.rows().column(0).get_buffer_memory_size() < 20_000);
}

#[test]
fn a_small_slice_does_not_keep_a_large_buffer() {
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        RowHasher::new(9),
    ));
    let column = Int64Array::from_iter_values(0..100_000).slice(500, 1);
    let rows = RecordBatch::try_new(Arc::clone(&layout.schema), vec![Arc::new(column)]).unwrap();
    let batch = Batch::from_delta(&layout, &Delta::insertions(rows)).unwrap();
    assert!(batch.rows().column(0).get_buffer_memory_size() < 1000);
}

#[test]
fn other_types_are_refused_and_overflow_is_an_error() {
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        RowHasher::new(9),
    ));
    let refused = Batch::from_delta(&layout, &delta(&[Kind::Int32], &[(vec![1], 1)]));
    assert!(matches!(refused, Err(Error::Invalid(_))));
    let rows = [(vec![1], i64::MAX), (vec![1], 1)];
    let overflow = Batch::from_delta(&layout, &delta(&[Kind::Int64], &rows));
    assert!(matches!(overflow, Err(Error::WeightOverflow)));
}
