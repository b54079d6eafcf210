//! ORDER BY with LIMIT and OFFSET: the first rows in an order, kept up to date.
//!
//! Ties, and a LIMIT without ORDER BY, are broken by all columns, so the answer depends on the
//! rows alone. An ORDER BY without a limit orders nothing: a view is a bag.

use arrow::compute::SortOptions;
use datafusion::logical_expr::{FetchType, Limit, LogicalPlan, SkipType, Sort, SortExpr};
use highwater_circuit::plan::{NodeIndex, Rank, TopKSpec};
use highwater_zset::OrderColumn;

use super::{LowerError, Lowering, Pruned};
use crate::expression::{Scope, scalar};

/// Rows `offset .. offset + fetch` of the order.
#[derive(Clone, Copy, Debug)]
struct Range {
    offset: u64,
    fetch: u64,
}

impl Lowering<'_> {
    pub(super) fn lower_sort(&mut self, sort: &Sort) -> Result<NodeIndex, LowerError> {
        match sort.fetch {
            None => self.lower(&sort.input),
            Some(fetch) => {
                let range = Range {
                    offset: 0,
                    fetch: fetch as u64,
                };
                self.first_rows(&sort.input, &sort.expr, range)
            }
        }
    }

    pub(super) fn lower_limit(&mut self, limit: &Limit) -> Result<NodeIndex, LowerError> {
        let fail = |error| LowerError::from_planning("LIMIT", &error);
        let not_constant = || LowerError::new("LIMIT", "LIMIT and OFFSET must be constants");
        let offset = match limit.get_skip_type().map_err(fail)? {
            SkipType::Literal(offset) => offset as u64,
            SkipType::UnsupportedExpr => return Err(not_constant()),
        };
        let fetch = match limit.get_fetch_type().map_err(fail)? {
            FetchType::Literal(Some(fetch)) => fetch as u64,
            FetchType::Literal(None) => u64::MAX - offset,
            FetchType::UnsupportedExpr => return Err(not_constant()),
        };
        self.limited(&limit.input, Range { offset, fetch })
    }

    /// The limit of a projection is the projection of the limit: so the ORDER BY below is found.
    fn limited(&mut self, input: &LogicalPlan, range: Range) -> Result<NodeIndex, LowerError> {
        match input {
            LogicalPlan::SubqueryAlias(alias) => self.limited(&alias.input, range),
            LogicalPlan::Projection(projection) if is_ordered(&projection.input) => {
                let schema = projection.input.schema();
                let limited = Pruned {
                    node: self.limited(&projection.input, range)?,
                    positions: (0..schema.fields().len()).collect(),
                };
                let output = (&projection.expr[..], &projection.schema);
                self.project(&limited, schema, None, output)
            }
            LogicalPlan::Sort(sort) => {
                let available = sort.fetch.map_or(u64::MAX, |fetch| fetch as u64);
                let range = Range {
                    offset: range.offset,
                    fetch: range.fetch.min(available.saturating_sub(range.offset)),
                };
                self.first_rows(&sort.input, &sort.expr, range)
            }
            _ => self.first_rows(input, &[], range),
        }
    }

    fn first_rows(
        &mut self,
        input: &LogicalPlan,
        sort: &[SortExpr],
        range: Range,
    ) -> Result<NodeIndex, LowerError> {
        let schema = input.schema();
        let input = self.lower(input)?;
        let (ordered, order) = self.ordered(input, sort, Scope::of(schema))?;
        let spec = TopKSpec {
            rank: Rank::RowNumber,
            offset: range.offset,
            fetch: range.fetch,
            with_rank: false,
        };
        let first = self.builder.top_k(ordered, Vec::new(), order, spec);
        let columns: Vec<usize> = (0..schema.fields().len()).collect();
        Ok(self.builder.select(first, &columns))
    }

    /// Adds the columns that `sort` needs; without any, the order is that of all columns.
    pub(super) fn ordered(
        &mut self,
        node: NodeIndex,
        sort: &[SortExpr],
        scope: Scope<'_>,
    ) -> Result<(NodeIndex, Vec<OrderColumn>), LowerError> {
        if sort.is_empty() {
            let columns = 0..self.builder.schema(node).fields().len();
            let options = SortOptions::default();
            let order = columns.map(|column| OrderColumn { column, options });
            return Ok((node, order.collect()));
        }
        let keys: Result<Vec<_>, _> = sort.iter().map(|sort| scalar(&sort.expr, scope)).collect();
        let (node, positions) = self.append(node, keys?);
        let mut order: Vec<OrderColumn> = Vec::with_capacity(sort.len());
        for (sort, column) in sort.iter().zip(positions) {
            // A column that comes again orders nothing.
            if order.iter().all(|known| known.column != column) {
                let options = sort_options(sort);
                order.push(OrderColumn { column, options });
            }
        }
        Ok((node, order))
    }
}

pub(super) fn sort_options(sort: &SortExpr) -> SortOptions {
    SortOptions {
        descending: !sort.asc,
        nulls_first: sort.nulls_first,
    }
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        _ => false,
    }
}
