//! The total order of rows with equal hashes: columns compared by value, through Arrow's comparators.
//!
//! It is asked only for ties, so that dynamic dispatch per column does not matter.

use std::cmp::Ordering;

use arrow::array::{ArrayRef, DynComparator, make_comparator};
use arrow::compute::SortOptions;

use crate::batch::Batch;
use crate::error::Result;
use crate::layout::Layout;

/// Compares rows of two tables: by the layout's order columns, then by all others ascending with
/// NULLs first.
pub(crate) struct RowComparator {
    columns: Vec<DynComparator>,
}

impl RowComparator {
    pub(crate) fn new(layout: &Layout, left: &[ArrayRef], right: &[ArrayRef]) -> Result<Self> {
        let ascending = SortOptions {
            descending: false,
            nulls_first: true,
        };
        let is_order_column =
            |column: usize| layout.order.iter().any(|order| order.column == column);
        let others = (0..left.len()).filter(|column| !is_order_column(*column));
        let order = layout
            .order
            .iter()
            .map(|order| (order.column, order.options));
        let columns = order
            .chain(others.map(|column| (column, ascending)))
            .map(|(column, options)| {
                make_comparator(left[column].as_ref(), right[column].as_ref(), options)
            })
            .collect::<std::result::Result<_, arrow::error::ArrowError>>()?;
        Ok(Self { columns })
    }

    /// All columns ascending.
    pub(crate) fn of_columns(left: &[ArrayRef], right: &[ArrayRef]) -> Result<Self> {
        let ascending = SortOptions {
            descending: false,
            nulls_first: true,
        };
        let columns = left
            .iter()
            .zip(right)
            .map(|(left, right)| make_comparator(left.as_ref(), right.as_ref(), ascending))
            .collect::<std::result::Result<_, arrow::error::ArrowError>>()?;
        Ok(Self { columns })
    }

    pub(crate) fn compare(&self, left: u32, right: u32) -> Ordering {
        self.columns
            .iter()
            .map(|compare| compare(left as usize, right as usize))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// Comparators between any two of several batches, made when first needed.
pub(crate) struct TieBreaks {
    sources: usize,
    comparators: Vec<Option<RowComparator>>,
}

impl TieBreaks {
    pub(crate) fn new(sources: usize) -> Self {
        Self {
            sources,
            comparators: Vec::new(),
        }
    }

    /// Compares rows `(batch, row)` of these batches, which must be the same in every call.
    pub(crate) fn compare<B: AsRef<Batch>>(
        &mut self,
        batches: &[B],
        left: (u32, u32),
        right: (u32, u32),
    ) -> Result<Ordering> {
        if self.comparators.is_empty() {
            self.comparators
                .resize_with(self.sources * self.sources, || None);
        }
        let slot = left.0 as usize * self.sources + right.0 as usize;
        if self.comparators[slot].is_none() {
            let (left, right) = (
                batches[left.0 as usize].as_ref(),
                batches[right.0 as usize].as_ref(),
            );
            let comparator =
                RowComparator::new(left.layout(), left.rows().columns(), right.rows().columns())?;
            self.comparators[slot] = Some(comparator);
        }
        let comparator = self.comparators[slot].as_ref().expect("made above");
        Ok(comparator.compare(left.1, right.1))
    }
}
