//! A condition on `ROW_NUMBER`, `RANK` or `DENSE_RANK`: the first rows of each partition.
//!
//! `rank <= k` over a window would number every row of a touched partition only to drop most of
//! them; as a top-k, a change beyond the first rows costs nothing.

use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Filter, LogicalPlan, Operator, Window};
use highwater_circuit::plan::{NodeIndex, Rank, TopKSpec};

use super::window::as_window_function;
use super::{LowerError, Lowering, Pruned};
use crate::expression::{Scope, scalar};

/// The ranks that pass: `from ..= to`.
#[derive(Clone, Copy, Debug)]
struct Ranks {
    from: u64,
    to: Option<u64>,
}

impl Lowering<'_> {
    /// The filter's rows if its condition bounds a rank; otherwise `None`.
    pub(super) fn lower_rank_filter(
        &mut self,
        filter: &Filter,
    ) -> Result<Option<NodeIndex>, LowerError> {
        let input = filter.input.as_ref();
        let mut ranks = Ranks { from: 1, to: None };
        let mut ranked = None;
        let mut others = Vec::new();
        for condition in split_conjunction(&filter.predicate) {
            match bound(condition, input) {
                Some((window, bound)) => {
                    ranks.restrict(bound);
                    ranked = Some(window);
                }
                None => others.push(condition.clone()),
            }
        }
        let (Some((window, rank)), Some(to)) = (ranked, ranks.to) else {
            return Ok(None);
        };
        let spec = TopKSpec {
            rank,
            offset: ranks.from - 1,
            fetch: (to + 1).saturating_sub(ranks.from),
            with_rank: true,
        };
        let first = self.first_of_partitions(window, spec)?;
        let node = self.above_window(input, first)?;
        match conjunction(others) {
            None => Ok(Some(node)),
            Some(predicate) => {
                let predicate = scalar(&predicate, Scope::of(input.schema()))?;
                Ok(Some(self.builder.filter(node, predicate)))
            }
        }
    }

    /// The window node's columns for the rows that pass.
    fn first_of_partitions(
        &mut self,
        window: &Window,
        spec: TopKSpec,
    ) -> Result<NodeIndex, LowerError> {
        let schema: &DFSchemaRef = window.input.schema();
        let function = window.window_expr.first().and_then(as_window_function);
        let function =
            function.ok_or_else(|| LowerError::new("window function", "no window function"))?;
        let input = self.lower(&window.input)?;
        let (partition_by, order_by) = (&function.params.partition_by, &function.params.order_by);
        let (ordered, partition, order) =
            self.partitioned(input, partition_by, order_by, schema)?;
        let mut columns: Vec<usize> = (0..schema.fields().len()).collect();
        columns.push(self.builder.schema(ordered).fields().len());
        let first = self.builder.top_k(ordered, partition, order, spec);
        let picked = self.builder.select(first, &columns);
        self.conform(picked, &window.schema)
    }

    /// The projections between the condition and the window.
    fn above_window(
        &mut self,
        plan: &LogicalPlan,
        first: NodeIndex,
    ) -> Result<NodeIndex, LowerError> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.above_window(&alias.input, first),
            LogicalPlan::Projection(projection) => {
                let schema = projection.input.schema();
                let input = Pruned {
                    node: self.above_window(&projection.input, first)?,
                    positions: (0..schema.fields().len()).collect(),
                };
                let output = (&projection.expr[..], &projection.schema);
                self.project(&input, schema, None, output)
            }
            _ => Ok(first),
        }
    }
}

impl Ranks {
    fn restrict(&mut self, other: Ranks) {
        self.from = self.from.max(other.from);
        self.to = match (self.to, other.to) {
            (Some(to), Some(other)) => Some(to.min(other)),
            (to, other) => to.or(other),
        };
    }
}

/// The ranks that a condition `rank <comparison> literal` lets pass, and whose rank it is.
fn bound<'p>(condition: &Expr, input: &'p LogicalPlan) -> Option<((&'p Window, Rank), Ranks)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else {
        return None;
    };
    let (column, operator, literal) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(literal, _)) => (column, *op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) => (column, op.swap()?, literal),
        _ => return None,
    };
    let literal = integer(literal)?;
    let at_most = |to: i128| Ranks {
        from: 1,
        to: Some(u64::try_from(to.max(0)).unwrap_or(u64::MAX - 1)),
    };
    let from = |from: i128| Ranks {
        from: u64::try_from(from.max(1)).unwrap_or(u64::MAX - 1),
        to: None,
    };
    let ranks = match operator {
        Operator::LtEq => at_most(literal),
        Operator::Lt => at_most(literal - 1),
        Operator::GtEq => from(literal),
        Operator::Gt => from(literal + 1),
        Operator::Eq if literal >= 1 => {
            let mut ranks = from(literal);
            ranks.restrict(at_most(literal));
            ranks
        }
        Operator::Eq => at_most(0),
        _ => return None,
    };
    let index = input.schema().index_of_column(column).ok()?;
    Some((ranked_window(input, index)?, ranks))
}

fn integer(literal: &ScalarValue) -> Option<i128> {
    match literal {
        ScalarValue::Int8(value) => value.map(i128::from),
        ScalarValue::Int16(value) => value.map(i128::from),
        ScalarValue::Int32(value) => value.map(i128::from),
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::UInt8(value) => value.map(i128::from),
        ScalarValue::UInt16(value) => value.map(i128::from),
        ScalarValue::UInt32(value) => value.map(i128::from),
        ScalarValue::UInt64(value) => value.map(i128::from),
        _ => None,
    }
}

/// The window whose only function is the rank that is column `index` of `plan`.
fn ranked_window(plan: &LogicalPlan, index: usize) -> Option<(&Window, Rank)> {
    match plan {
        LogicalPlan::SubqueryAlias(alias) => ranked_window(&alias.input, index),
        LogicalPlan::Projection(projection) => {
            let mut expr = &projection.expr[index];
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(column) = expr else {
                return None;
            };
            let index = projection.input.schema().index_of_column(column).ok()?;
            ranked_window(&projection.input, index)
        }
        LogicalPlan::Window(window) => {
            let [expr] = &window.window_expr[..] else {
                return None;
            };
            let rank = match as_window_function(expr)?.fun.name() {
                "row_number" => Rank::RowNumber,
                "rank" => Rank::Rank,
                "dense_rank" => Rank::DenseRank,
                _ => return None,
            };
            (index == window.input.schema().fields().len()).then_some((window, rank))
        }
        _ => None,
    }
}
