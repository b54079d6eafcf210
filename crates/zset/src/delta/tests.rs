use super::*;
use crate::testing::{Kind, cases, consolidated, delta, read_delta, sum};
use proptest::prelude::*;

proptest! {
    #[test]
    fn concat_take_and_filter_are_those_of_lists(case in cases(30), split in 0_usize..30, picks in prop::collection::vec(0_usize..30, 0..9)) {
        let (kinds, rows) = (&case.kinds, &case.rows);
        let split = split.min(rows.len());
        let parts = [delta(kinds, &rows[..split]), delta(kinds, &[]), delta(kinds, &rows[split..])];
        let whole = Delta::concat(&case.layout.schema, &parts).unwrap();
        prop_assert_eq!(whole.len(), rows.len());
        let whole = Delta::new(
            crate::delta::record_batch(
                &case.layout.schema,
                crate::kernels::canonical::canonical_columns(whole.rows().columns()).into_owned(),
                rows.len(),
            ).unwrap(),
            whole.weights().clone(),
        );
        prop_assert_eq!(&read_delta(kinds, &whole), rows);
        let picks: Vec<u32> = picks.into_iter().filter(|pick| *pick < rows.len()).map(|pick| pick as u32).collect();
        let taken: Vec<_> = picks.iter().map(|pick| rows[*pick as usize].clone()).collect();
        prop_assert_eq!(read_delta(kinds, &whole.take(&picks).unwrap()), taken);
        let keep: BooleanArray = rows.iter().map(|(_, weight)| match weight { 0 => None, w => Some(*w > 0) }).collect();
        let kept: Vec<_> = rows.iter().filter(|(_, weight)| *weight > 0).cloned().collect();
        prop_assert_eq!(read_delta(kinds, &whole.filter(&keep).unwrap()), kept);
    }

    #[test]
    fn consolidated_is_the_sum(case in cases(30)) {
        let given = delta(&case.kinds, &case.rows);
        let result = given.consolidated(case.layout.hasher).unwrap();
        prop_assert_eq!(consolidated(&case.kinds, &result), sum(&case.rows));
        let zero = Delta::concat(&case.layout.schema, &[given.clone(), given.negated()]).unwrap();
        prop_assert!(zero.consolidated(case.layout.hasher).unwrap().is_empty());
    }
}

#[test]
fn expanding_repeats_rows_and_refuses_negative_weights() {
    let kinds = [Kind::Text];
    let bag = delta(&kinds, &[(vec![2], 2), (vec![1], 0), (vec![0], 1)])
        .expanded()
        .unwrap();
    assert_eq!(crate::testing::read_rows(&kinds, &bag), [[2], [2], [0]]);
    assert!(delta(&kinds, &[(vec![2], -1)]).expanded().is_err());
    let empty_row = delta(&[], &[(vec![], 3)]).expanded().unwrap();
    assert_eq!((empty_row.num_rows(), empty_row.num_columns()), (3, 0));
}

#[test]
fn wrong_indices_and_lengths_are_errors() {
    let one = delta(&[Kind::Int64], &[(vec![2], 1)]);
    assert!(one.take(&[1]).is_err());
    assert!(one.filter(&BooleanArray::from(vec![true, true])).is_err());
    assert_eq!(one.bytes(), 16);
}
