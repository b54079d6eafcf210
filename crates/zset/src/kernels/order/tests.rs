use super::*;
use crate::testing::{Kind, cases};
use proptest::prelude::*;

proptest! {
    #[test]
    fn prefixes_never_contradict_the_order(case in cases(30)) {
        let rows: Vec<Vec<u8>> = case.rows.iter().map(|(row, _)| row.clone()).collect();
        let columns = crate::testing::columns(&case.kinds, &rows);
        let columns = crate::kernels::canonical::canonical_columns(&columns);
        let prefixes = order_prefixes(&columns, &case.layout.order, rows.len());
        for (a, prefix_a) in rows.iter().zip(&prefixes) {
            for (b, prefix_b) in rows.iter().zip(&prefixes) {
                prop_assert!(prefix_a >= prefix_b || case.compare(a, b).is_lt(), "{:?} {:?}", a, b);
            }
        }
    }
}

#[test]
fn narrow_columns_are_told_apart_exactly() {
    for (descending, nulls_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let options = SortOptions {
            descending,
            nulls_first,
        };
        let order = [
            OrderColumn { column: 0, options },
            OrderColumn { column: 1, options },
        ];
        let columns = [
            Kind::Int32.column(&[0, 1, 2, 3, 4, 0]),
            Kind::UInt8.column(&[1, 1, 1, 1, 1, 2]),
        ];
        let mut prefixes = order_prefixes(&columns, &order, 6);
        prefixes.sort_unstable();
        prefixes.dedup();
        assert_eq!(prefixes.len(), 6);
    }
}
