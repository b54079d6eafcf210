//! Equality of many pairs of rows, column by column. NULL equals NULL.

use arrow::array::{Array, ArrayRef, make_comparator};
use arrow::compute::SortOptions;

use crate::error::Result;
use crate::kernels::column::{Column, Values};

/// Rows of two tables side by side: pair `i` is row `left[i]` of one and row `right[i]` of the other.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<'a> {
    pub(crate) left: &'a [u32],
    pub(crate) right: &'a [u32],
}

/// For each pair: are the rows equal in all columns?
pub(crate) fn equal_pairs<'a>(
    left: impl Iterator<Item = &'a ArrayRef>,
    right: impl Iterator<Item = &'a ArrayRef>,
    pairs: Pairs<'_>,
) -> Result<Vec<bool>> {
    let mut equal = vec![true; pairs.left.len()];
    if !pairs.left.is_empty() {
        for (left, right) in left.zip(right) {
            and_equal(left.as_ref(), right.as_ref(), pairs, &mut equal)?;
        }
    }
    Ok(equal)
}

fn and_equal(
    left: &dyn Array,
    right: &dyn Array,
    pairs: Pairs<'_>,
    equal: &mut [bool],
) -> Result<()> {
    let (l, r) = (Column::new(left), Column::new(right));
    match (&l.values, &r.values) {
        (Values::Width1(a), Values::Width1(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a[i] == b[j])
        }
        (Values::Width2(a), Values::Width2(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a[i] == b[j])
        }
        (Values::Width4(a), Values::Width4(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a[i] == b[j])
        }
        (Values::Width8(a), Values::Width8(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a[i] == b[j])
        }
        (Values::Width16(a), Values::Width16(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a[i] == b[j])
        }
        (Values::Boolean(a), Values::Boolean(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a.value(i) == b.value(j))
        }
        (Values::Bytes(a), Values::Bytes(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a.value(i) == b.value(j))
        }
        (Values::LargeBytes(a), Values::LargeBytes(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a.value(i) == b.value(j));
        }
        (Values::FixedBytes(a), Values::FixedBytes(b)) => {
            and_where(&l, &r, pairs, equal, |i, j| a.value(i) == b.value(j));
        }
        _ => {
            let compare = make_comparator(left, right, SortOptions::default())?;
            for ((equal, &i), &j) in equal.iter_mut().zip(pairs.left).zip(pairs.right) {
                *equal = *equal && compare(i as usize, j as usize).is_eq();
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn and_where(
    left: &Column<'_>,
    right: &Column<'_>,
    pairs: Pairs<'_>,
    equal: &mut [bool],
    values_equal: impl Fn(usize, usize) -> bool,
) {
    let rows = equal.iter_mut().zip(pairs.left).zip(pairs.right);
    if left.nulls.is_none() && right.nulls.is_none() {
        for ((equal, &i), &j) in rows {
            *equal &= values_equal(i as usize, j as usize);
        }
    } else {
        for ((equal, &i), &j) in rows {
            let (i, j) = (i as usize, j as usize);
            let nulls = (left.is_null(i), right.is_null(j));
            *equal &= match nulls {
                (false, false) => values_equal(i, j),
                (left_is_null, right_is_null) => left_is_null == right_is_null,
            };
        }
    }
}
