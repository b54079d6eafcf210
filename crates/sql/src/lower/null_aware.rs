//! `x NOT IN (SELECT y …)` as a condition: the anti join that knows of NULL.
//!
//! A row passes if the subquery has no rows; or if `x` is not NULL, no `y` is NULL and no `y`
//! equals `x`. With a NULL on either side the comparison is unknown, and unknown rows do not pass.

use datafusion::common::{JoinType, ScalarValue};
use datafusion::logical_expr::{Expr, Join, Operator};
use highwater_circuit::expression as circuit;
use highwater_circuit::plan::NodeIndex;

use super::{LowerError, Lowering};
use crate::expression::constant;
use crate::expression::not_null::not_null;

impl Lowering<'_> {
    pub(super) fn lower_null_aware_join(
        &mut self,
        join: &Join,
        output: &[usize],
    ) -> Result<NodeIndex, LowerError> {
        let join = with_single_pair(join)?;
        let sides = self.sides(&join, output)?;
        let (left, right) = (&sides.left, &sides.right);
        let unequal = {
            let filtered = match left.joinable == left.rows {
                true => left.rows,
                false => self.builder.filter(left.rows, not_null(left.keys.clone())),
            };
            let on = [(left.keys[0], right.keys[0])];
            self.key_semi_join(filtered, right.joinable, &on, true, false)
        };
        let mut parts = Vec::new();
        if right.joinable == right.rows {
            parts.push(unequal);
        } else {
            let nulls = self.null_rows(right.rows, right.keys[0]);
            parts.push(self.if_empty(unequal, nulls));
        }
        if left.joinable != left.rows {
            let nulls = {
                let columns = self.own_columns(left.rows);
                self.builder
                    .map(left.rows, Some(is_null(left.keys[0])), columns)
            };
            let any = self.one_column(right.rows, None);
            parts.push(self.if_empty(nulls, any));
        }
        let passed = self.builder.union(parts);
        Ok(self.builder.select(passed, &left.columns(output)))
    }

    /// One constant column for each row whose key is NULL.
    fn null_rows(&mut self, rows: NodeIndex, key: usize) -> NodeIndex {
        self.one_column(rows, Some(is_null(key)))
    }

    fn one_column(&mut self, rows: NodeIndex, filter: Option<circuit::Expr>) -> NodeIndex {
        let marker = constant(ScalarValue::Boolean(Some(true)));
        self.builder
            .map(rows, filter, vec![("exists".to_owned(), marker)])
    }

    /// The rows, if `other` has none.
    fn if_empty(&mut self, rows: NodeIndex, other: NodeIndex) -> NodeIndex {
        self.builder.semi_join_arranged(rows, other, &[], true)
    }
}

fn is_null(column: usize) -> circuit::Expr {
    crate::expression::not_null::is_null(column)
}

/// The join with the pair of `x` and `y` as its only key. DataFusion leaves the pair in the
/// condition if it is no pair of columns.
fn with_single_pair(join: &Join) -> Result<Join, LowerError> {
    let refused = || {
        LowerError::new(
            "NOT IN",
            "NOT IN with a correlated subquery is not supported; use NOT EXISTS",
        )
    };
    if join.join_type != JoinType::LeftAnti {
        return Err(refused());
    }
    match (&join.on[..], &join.filter) {
        ([_], None) => Ok(join.clone()),
        ([], Some(Expr::BinaryExpr(pair))) if pair.op == Operator::Eq => {
            let (left, right) = (pair.left.as_ref().clone(), pair.right.as_ref().clone());
            let reads_left = |expr: &Expr| {
                let columns = expr.column_refs();
                columns
                    .iter()
                    .all(|column| join.left.schema().has_column(column))
            };
            let reads_right = |expr: &Expr| {
                let columns = expr.column_refs();
                columns
                    .iter()
                    .all(|column| join.right.schema().has_column(column))
            };
            let on = match (reads_left(&left), reads_right(&right)) {
                (true, true) => vec![(left, right)],
                _ if reads_left(&right) && reads_right(&left) => vec![(right, left)],
                _ => return Err(refused()),
            };
            let mut join = join.clone();
            join.on = on;
            join.filter = None;
            Ok(join)
        }
        _ => Err(refused()),
    }
}
