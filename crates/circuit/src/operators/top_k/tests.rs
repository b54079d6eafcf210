//! Against sorting each partition anew after every step.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use highwater_zset::{OrderColumn, RowHasher};
use proptest::prelude::*;

use super::super::test_support::{Arrangement, Bag, Subject, delta, input, node, schema};
use super::*;
use crate::plan::OperatorSpec;

/// Partition, order column (descending, NULLs last), another column.
type Row = (Option<i64>, Option<i64>, i64);

fn to_delta(rows: &[(Row, i64)]) -> Delta {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|(row, _)| row.0).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|(row, _)| row.1).collect::<Int64Array>()),
        Arc::new(
            rows.iter()
                .map(|(row, _)| Some(row.2))
                .collect::<Int64Array>(),
        ),
    ];
    delta(columns, rows.iter().map(|(_, weight)| *weight).collect())
}

fn subject(spec: &TopKSpec, hasher: RowHasher) -> (Arrangement, Subject) {
    let table = schema(&[DataType::Int64, DataType::Int64, DataType::Int64]);
    let options = SortOptions {
        descending: true,
        nulls_first: false,
    };
    let order = vec![OrderColumn { column: 1, options }];
    let layout = Layout::ordered(table.clone(), vec![0], order, hasher);
    let mut types = vec![DataType::Int64; 3];
    types.extend(spec.with_rank.then_some(DataType::UInt64));
    let node = node(OperatorSpec::TopK { spec: spec.clone() }, schema(&types));
    (
        Arrangement::new(layout),
        Subject::new(&node, &[input(&table)], hasher),
    )
}

fn text(value: Option<i64>) -> String {
    value.map_or("NULL".to_owned(), |value| value.to_string())
}

fn expected(spec: &TopKSpec, rows: &[Row]) -> Bag {
    let mut partitions: BTreeMap<Option<i64>, Vec<Row>> = BTreeMap::new();
    rows.iter()
        .for_each(|row| partitions.entry(row.0).or_default().push(*row));
    let mut bag = Bag::new();
    for rows in partitions.values_mut() {
        // Beyond the order columns rows are ascending by all columns.
        rows.sort_by_key(|row| (row.1.is_none(), row.1.map(|value| -value), row.2));
        let (mut rank, mut dense) = (0, 0);
        for (index, row) in rows.iter().enumerate() {
            if index == 0 || rows[index - 1].1 != row.1 {
                rank = index as u64 + 1;
                dense += 1;
            }
            let rank = match spec.rank {
                Rank::RowNumber => index as u64 + 1,
                Rank::Rank => rank,
                Rank::DenseRank => dense,
            };
            if rank > spec.offset && rank - spec.offset <= spec.fetch {
                let mut text = vec![text(row.0), text(row.1), row.2.to_string()];
                text.extend(spec.with_rank.then(|| rank.to_string()));
                *bag.entry(text).or_default() += 1;
            }
        }
    }
    bag
}

fn rows() -> impl Strategy<Value = Row> {
    (
        prop::option::of(0_i64..2),
        prop::option::of(0_i64..4),
        0_i64..3,
    )
}

type Plan = Vec<(Vec<(Row, i64)>, Vec<prop::sample::Index>)>;

fn plans() -> impl Strategy<Value = Plan> {
    let insertions = prop::collection::vec((rows(), 1_i64..4), 0..8);
    let deletions = prop::collection::vec(any::<prop::sample::Index>(), 0..10);
    prop::collection::vec((insertions, deletions), 1..7)
}

fn specs() -> impl Strategy<Value = TopKSpec> {
    let rank = prop::sample::select(vec![Rank::RowNumber, Rank::Rank, Rank::DenseRank]);
    let fetch = prop_oneof![0_u64..6, Just(u64::MAX)];
    (rank, 0_u64..4, fetch, any::<bool>()).prop_map(|(rank, offset, fetch, with_rank)| TopKSpec {
        rank,
        offset,
        fetch,
        with_rank,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn heads_are_right_after_every_step(
        spec in specs(),
        plan in plans(),
        bits in prop::sample::select(vec![0_u32, 64]),
    ) {
        let (mut arrangement, mut subject) = subject(&spec, RowHasher::weakened(9, bits));
        let mut present: Vec<Row> = Vec::new();
        for (mut changes, deletions) in plan {
            for (row, weight) in &changes {
                present.extend(std::iter::repeat_n(*row, *weight as usize));
            }
            for deletion in deletions {
                if !present.is_empty() {
                    changes.push((present.swap_remove(deletion.index(present.len())), -1));
                }
            }
            subject.step(&[&arrangement.step(&to_delta(&changes))]).unwrap();
            prop_assert_eq!(&subject.output, &expected(&spec, &present));
        }
    }
}

#[test]
fn changes_below_the_head_do_not_go_out() {
    let spec = TopKSpec {
        rank: Rank::RowNumber,
        offset: 0,
        fetch: 2,
        with_rank: true,
    };
    let (mut arrangement, mut subject) = subject(&spec, RowHasher::new(1));
    let row = |order| (Some(1), Some(order), 0);
    let first = [(row(9), 1), (row(8), 1), (row(7), 1)];
    subject
        .step(&[&arrangement.step(&to_delta(&first))])
        .unwrap();
    let changes = [(row(7), -1), (row(5), 1)];
    assert!(
        subject
            .step(&[&arrangement.step(&to_delta(&changes))])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn many_ties_are_read_to_the_end() {
    let spec = TopKSpec {
        rank: Rank::Rank,
        offset: 0,
        fetch: 1,
        with_rank: true,
    };
    let (mut arrangement, mut subject) = subject(&spec, RowHasher::new(1));
    let rows: Vec<(Row, i64)> = (0..500)
        .map(|other| ((Some(1), Some(3), other), 1))
        .collect();
    subject
        .step(&[&arrangement.step(&to_delta(&rows))])
        .unwrap();
    assert_eq!(subject.output.len(), 500);
    subject
        .step(&[&arrangement.step(&to_delta(&[((Some(1), Some(4), 0), 1)]))])
        .unwrap();
    assert_eq!(subject.output.len(), 1);
}

#[test]
fn a_negative_multiplicity_names_the_partition() {
    let spec = TopKSpec {
        rank: Rank::RowNumber,
        offset: 0,
        fetch: 2,
        with_rank: false,
    };
    let (mut arrangement, mut subject) = subject(&spec, RowHasher::new(1));
    let changes = [((Some(1), Some(1), 0), 1), ((Some(2), Some(1), 0), -1)];
    let error = subject
        .step(&[&arrangement.step(&to_delta(&changes))])
        .unwrap_err();
    assert_eq!(error.row, "(2)");
}
