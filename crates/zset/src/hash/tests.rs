use super::*;
use crate::testing::{KINDS, Kind};
use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};
use std::sync::Arc;

#[test]
fn hashes_are_a_stable_format() {
    let hasher = RowHasher::new(42);
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(0), Some(-1), None]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["", "highwater", "x"]));
    let alone = hasher.hash(std::slice::from_ref(&numbers), 3);
    // XXH3-64 as published, with the seed.
    assert_eq!(alone[0], xxh3_64_with_seed(&[0; 8], 42));
    assert_eq!(alone[1], xxh3_64_with_seed(&[255; 8], 42));
    assert_eq!(alone[2], NULL_HASH);
    assert_eq!(alone[..2], GOLDEN_NUMBERS);
    assert_eq!(hasher.hash(&[numbers, texts], 3), GOLDEN_PAIRS);
    assert_eq!(hasher.hash(&[], 2), [NO_COLUMNS_HASH; 2]);
}

const GOLDEN_NUMBERS: [u64; 2] = [5014318936221084462, 4695856486794948766];
const GOLDEN_PAIRS: [u64; 3] = [
    1002598877211117670,
    8009714824593525348,
    12813678014317967481,
];

#[test]
fn every_kind_tells_its_values_apart_and_sees_through_slices() {
    for kind in KINDS {
        let values: Vec<u8> = (0..=kind.values()).chain(0..=kind.values()).collect();
        let column = kind.column(&values);
        let hashes = RowHasher::new(1).hash(std::slice::from_ref(&column), values.len());
        let distinct: std::collections::BTreeSet<u64> = hashes.iter().copied().collect();
        assert_eq!(distinct.len(), kind.values() as usize + 1, "{kind:?}");
        // The second half has other spellings of the same values.
        assert_eq!(
            hashes[..values.len() / 2],
            hashes[values.len() / 2..],
            "{kind:?}"
        );
        let slice = column.slice(2, values.len() - 3);
        assert_eq!(
            RowHasher::new(1).hash(&[slice], values.len() - 3),
            hashes[2..values.len() - 1],
            "{kind:?}"
        );
    }
}

#[test]
fn columns_count_in_order() {
    let a: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let b: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let hasher = RowHasher::new(0);
    assert_ne!(
        hasher.hash(&[a.clone(), b.clone()], 1),
        hasher.hash(&[b, a.clone()], 1)
    );
    assert_ne!(
        hasher.hash(&[a.clone(), a.clone()], 1),
        hasher.hash(&[a], 1)
    );
}

#[test]
fn seeds_differ() {
    let column = Kind::Text.column(&[1, 2, 3]);
    let hash = |seed| RowHasher::new(seed).hash(std::slice::from_ref(&column), 3);
    assert_ne!(hash(1), hash(2));
}

#[test]
fn weakened_hashes_collide() {
    let column: ArrayRef = Arc::new(Int32Array::from_iter_values(0..1000));
    let distinct = |bits| {
        let hashes = RowHasher::weakened(5, bits).hash(std::slice::from_ref(&column), 1000);
        hashes
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .len()
    };
    assert_eq!((distinct(0), distinct(2), distinct(64)), (1, 4, 1000));
}

#[test]
fn owners_share_the_hashes_in_contiguous_ranges() {
    for workers in [1, 2, 3, 7] {
        assert_eq!(RowHasher::owner(0, workers), 0);
        assert_eq!(RowHasher::owner(u64::MAX, workers), workers - 1);
        for worker in 0..workers {
            let owned = RowHasher::owned(worker, workers);
            assert_eq!(RowHasher::owner(*owned.start(), workers), worker);
            assert_eq!(RowHasher::owner(*owned.end(), workers), worker);
            let before = owned.start().checked_sub(1);
            assert!(before.is_none_or(|hash| RowHasher::owner(hash, workers) + 1 == worker));
        }
        assert_eq!(*RowHasher::owned(workers - 1, workers).end(), u64::MAX);
        let hashes = RowHasher::new(3).hash(
            &[Arc::new(Float64Array::from_iter_values(
                (0..9000).map(f64::from),
            ))],
            9000,
        );
        let mut sorted: Vec<_> = hashes
            .iter()
            .map(|hash| (*hash, RowHasher::owner(*hash, workers)))
            .collect();
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|pair| pair[0].1 <= pair[1].1));
        for worker in 0..workers {
            let share = sorted.iter().filter(|(_, owner)| *owner == worker).count() * workers;
            assert!((8000..10_000).contains(&share), "{share} of 9000");
        }
    }
}
