//! Joins of every kind, from inner, semi and anti joins on equal keys.
//!
//! In the circuit NULL keys are equal, so where SQL says that NULL joins nothing, rows with a NULL
//! key are filtered out of the side (or sides) that would only lose them. An outer join is the
//! inner join together with the rows of the anti join, extended by NULLs. If there is a further
//! condition, a row is matched if the inner join has it, so the anti join is one against the inner
//! join's rows.

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};
use highwater_circuit::builder::JoinOptions;
use highwater_circuit::expression as circuit;
use highwater_circuit::plan::{NodeIndex, OperatorSpec};

use super::{LowerError, Lowering};
use crate::expression::not_null::not_null;
use crate::expression::{Scope, constant, null, scalar, scalar_as, used_columns};

/// One input of a join.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// All rows.
    pub(super) rows: NodeIndex,
    /// The rows that may match: where NULL joins nothing, those without a NULL key.
    pub(super) joinable: NodeIndex,
    /// Where each column of the plan node is.
    positions: Vec<usize>,
    /// The key columns of the node.
    pub(super) keys: Vec<usize>,
}

/// Both inputs of a join and its further condition, over the left node's columns, then the right one's.
pub(super) struct Sides {
    pub(super) left: Side,
    pub(super) right: Side,
    residual: Option<circuit::Expr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Left,
    Right,
}

impl Lowering<'_> {
    /// The columns `output` (positions in the join's schema) of a join.
    pub(super) fn lower_join(
        &mut self,
        join: &Join,
        output: &[usize],
    ) -> Result<NodeIndex, LowerError> {
        if join.null_aware {
            return self.lower_null_aware_join(join, output);
        }
        let sides = self.sides(join, output)?;
        match join.join_type {
            JoinType::Inner => {
                let (left, right) = (sides.left.joinable, sides.right.joinable);
                Ok(self.inner(&sides, left, right, output))
            }
            JoinType::Left => self.outer(&sides, &[Which::Left], output),
            JoinType::Right => self.outer(&sides, &[Which::Right], output),
            JoinType::Full => self.outer(&sides, &[Which::Left, Which::Right], output),
            JoinType::LeftSemi => {
                let rows = sides.left.joinable;
                Ok(self.semi(&sides, Which::Left, rows, output))
            }
            JoinType::RightSemi => {
                let rows = sides.right.joinable;
                Ok(self.semi(&sides, Which::Right, rows, output))
            }
            JoinType::LeftAnti => Ok(self.anti(&sides, Which::Left, output)),
            JoinType::RightAnti => Ok(self.anti(&sides, Which::Right, output)),
            JoinType::LeftMark => Ok(self.mark(&sides, Which::Left, output)),
            JoinType::RightMark => Ok(self.mark(&sides, Which::Right, output)),
        }
    }

    pub(super) fn sides(&mut self, join: &Join, output: &[usize]) -> Result<Sides, LowerError> {
        let [left_used, right_used] = used_by_sides(join, output)?;
        let nulls_join = join.null_equality == NullEquality::NullEqualsNull;
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = join.on.iter().cloned().unzip();
        let types = common_key_types(join, &left_keys, &right_keys)?;
        let mut left = self.side(&join.left, &left_used, &left_keys, &types, nulls_join)?;
        let mut right = self.side(&join.right, &right_used, &right_keys, &types, nulls_join)?;
        self.order_keys(&mut left, &mut right);
        let residual = match &join.filter {
            None => None,
            Some(filter) => {
                let schema = combined_schema(join)?;
                let positions = self.combined_positions(&left, &right);
                Some(scalar(filter, Scope::at(&schema, &positions))?)
            }
        };
        Ok(Sides {
            left,
            right,
            residual,
        })
    }

    fn side(
        &mut self,
        plan: &LogicalPlan,
        used: &[usize],
        keys: &[Expr],
        types: &[DataType],
        nulls_join: bool,
    ) -> Result<Side, LowerError> {
        let schema = plan.schema();
        let input = self.lower_pruned(plan, used)?;
        let scope = Scope::at(schema, &input.positions);
        let mut expressions = Vec::with_capacity(keys.len());
        let mut nullable = Vec::with_capacity(keys.len());
        for (key, data_type) in keys.iter().zip(types) {
            expressions.push(scalar_as(key, scope, data_type)?);
            let may_be_null = key.nullable(schema.as_ref()).unwrap_or(true);
            nullable.push(may_be_null && !is_filtered_not_null(plan, key));
        }
        let (rows, keys) = self.append(input.node, expressions);
        let side = Side {
            rows,
            joinable: rows,
            positions: input.positions,
            keys,
        };
        let mut side = self.through_table(side);
        let mut nullable_keys: Vec<usize> = side
            .keys
            .iter()
            .zip(nullable)
            .filter_map(|(&key, is_nullable)| is_nullable.then_some(key))
            .collect();
        nullable_keys.sort_unstable();
        nullable_keys.dedup();
        if !nulls_join && !nullable_keys.is_empty() {
            side.joinable = self.builder.filter(side.rows, not_null(nullable_keys));
        }
        Ok(side)
    }

    /// If the side picks columns of a table and joins on the table's primary key, the table is the
    /// arrangement already: joins with the table itself then.
    fn through_table(&self, side: Side) -> Side {
        let Some((table, picked)) = self.picked_from_table(side.rows) else {
            return side;
        };
        let keys: Vec<usize> = side.keys.iter().map(|&key| picked[key]).collect();
        if !is_permutation(&keys, self.builder.primary_key(table)) {
            return side;
        }
        Side {
            rows: table,
            joinable: table,
            positions: side.positions.iter().map(|&at| picked[at]).collect(),
            keys,
        }
    }

    /// The table and its columns that a node copies, if that is all that it does.
    fn picked_from_table(&self, node: NodeIndex) -> Option<(NodeIndex, Vec<usize>)> {
        let node = self.builder.node(node);
        let OperatorSpec::Map { filter, columns } = &node.operator else {
            return None;
        };
        if filter.is_some() || self.builder.primary_key(node.inputs[0]).is_empty() {
            return None;
        }
        let picked: Option<Vec<usize>> = columns.iter().map(|column| column.as_column()).collect();
        picked.map(|picked| (node.inputs[0], picked))
    }

    /// Puts the keys into the order of the primary key of a side that is a table.
    fn order_keys(&self, left: &mut Side, right: &mut Side) {
        for by_left in [false, true] {
            let side = if by_left { &*left } else { &*right };
            let primary_key = self.builder.primary_key(side.rows);
            if !is_permutation(&side.keys, primary_key) {
                continue;
            }
            let order: Vec<usize> = primary_key
                .iter()
                .filter_map(|column| side.keys.iter().position(|key| key == column))
                .collect();
            left.keys = order.iter().map(|&index| left.keys[index]).collect();
            right.keys = order.iter().map(|&index| right.keys[index]).collect();
            return;
        }
    }

    /// Where each column of (left, right) is in the columns of both nodes.
    fn combined_positions(&self, left: &Side, right: &Side) -> Vec<usize> {
        let width = self.builder.schema(left.rows).fields().len();
        let right = right.positions.iter().map(|at| width + at);
        left.positions.iter().copied().chain(right).collect()
    }

    fn inner(
        &mut self,
        sides: &Sides,
        left: NodeIndex,
        right: NodeIndex,
        output: &[usize],
    ) -> NodeIndex {
        let positions = self.combined_positions(&sides.left, &sides.right);
        let output = output.iter().map(|&column| positions[column]).collect();
        self.inner_at(sides, left, right, output)
    }

    fn inner_at(
        &mut self,
        sides: &Sides,
        left: NodeIndex,
        right: NodeIndex,
        output: Vec<usize>,
    ) -> NodeIndex {
        let on: Vec<(usize, usize)> = sides.pairs(Which::Left);
        let options = JoinOptions {
            residual: sides.residual.clone(),
            output: Some(output),
        };
        self.builder.join(left, right, &on, options)
    }

    /// `preserved` sides keep their unmatched rows, with NULLs for the other side's columns.
    fn outer(
        &mut self,
        sides: &Sides,
        preserved: &[Which],
        output: &[usize],
    ) -> Result<NodeIndex, LowerError> {
        // One side without NULL keys is enough, and the other one is arranged for the anti join.
        let (left, right) = match preserved {
            [Which::Right] => (sides.left.joinable, sides.right.rows),
            _ => (sides.left.rows, sides.right.joinable),
        };
        let mut parts = vec![self.inner(sides, left, right, output)];
        for &which in preserved {
            let unmatched = self.without_match(sides, which, true);
            parts.push(self.null_extended(sides, which, unmatched, output)?);
        }
        Ok(self.builder.union(parts))
    }

    fn null_extended(
        &mut self,
        sides: &Sides,
        which: Which,
        unmatched: NodeIndex,
        output: &[usize],
    ) -> Result<NodeIndex, LowerError> {
        let left_width = sides.left.positions.len();
        let columns: Result<Vec<_>, LowerError> = output
            .iter()
            .map(|&column| {
                let (side, index) = match column < left_width {
                    true => (Which::Left, column),
                    false => (Which::Right, column - left_width),
                };
                let Side {
                    rows, positions, ..
                } = sides.side(side);
                let field = self.builder.schema(*rows).field(positions[index]);
                let expression = match side == which {
                    true => circuit::Column::expr(positions[index], field.data_type().clone()),
                    false => null(field.data_type())?,
                };
                Ok((field.name().clone(), expression))
            })
            .collect();
        Ok(self.builder.map(unmatched, None, columns?))
    }

    /// The matched ones of `rows`, which are all or the joinable ones of the side.
    fn semi(
        &mut self,
        sides: &Sides,
        which: Which,
        rows: NodeIndex,
        output: &[usize],
    ) -> NodeIndex {
        let kept = sides.side(which);
        let matched = match sides.residual {
            None => {
                let other = sides.other(which).joinable;
                let on = sides.pairs(which);
                self.key_semi_join(rows, other, &on, false, false)
            }
            Some(_) => self.residual_semi_join(sides, which, false),
        };
        let columns: Vec<usize> = output
            .iter()
            .map(|&column| kept.positions[column])
            .collect();
        self.builder.select(matched, &columns)
    }

    fn anti(&mut self, sides: &Sides, which: Which, output: &[usize]) -> NodeIndex {
        let unmatched = self.without_match(sides, which, false);
        let positions = &sides.side(which).positions;
        let columns: Vec<usize> = output.iter().map(|&column| positions[column]).collect();
        self.builder.select(unmatched, &columns)
    }

    /// The kept side's columns and whether there is a match.
    fn mark(&mut self, sides: &Sides, which: Which, output: &[usize]) -> NodeIndex {
        let kept = sides.side(which);
        let width = kept.positions.len();
        let columns: Vec<usize> = (0..width).collect();
        let parts = [
            (self.semi(sides, which, kept.rows, &columns), true),
            (self.anti(sides, which, &columns), false),
        ];
        let parts = parts.map(|(rows, is_matched)| {
            let columns = output.iter().map(|&column| {
                if column == width {
                    let mark = constant(ScalarValue::Boolean(Some(is_matched)));
                    return ("mark".to_owned(), mark);
                }
                let field = self.builder.schema(rows).field(column);
                let expression = circuit::Column::expr(column, field.data_type().clone());
                (field.name().clone(), expression)
            });
            let columns = columns.collect();
            self.builder.map(rows, None, columns)
        });
        self.builder.union(parts.to_vec())
    }

    /// The rows of a side without a match, with the side's node's columns.
    fn without_match(&mut self, sides: &Sides, which: Which, other_is_arranged: bool) -> NodeIndex {
        match sides.residual {
            None => {
                let (rows, other) = (sides.side(which).rows, sides.other(which).joinable);
                let on = sides.pairs(which);
                self.key_semi_join(rows, other, &on, true, other_is_arranged)
            }
            Some(_) => self.residual_semi_join(sides, which, true),
        }
    }

    /// A semi or anti join on keys. An arrangement of all columns of the right input is used if it
    /// is there anyway; otherwise only its keys are kept.
    pub(super) fn key_semi_join(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        on: &[(usize, usize)],
        anti: bool,
        right_is_arranged: bool,
    ) -> NodeIndex {
        let right_keys: Vec<usize> = on.iter().map(|&(_, right)| right).collect();
        let is_own_key = !right_keys.is_empty() && right_keys == self.builder.primary_key(right);
        if right_is_arranged || is_own_key {
            self.builder.semi_join_arranged(left, right, on, anti)
        } else {
            self.builder.semi_join(left, right, on, anti)
        }
    }

    /// A semi or anti join with a further condition: against the rows that the inner join has.
    fn residual_semi_join(&mut self, sides: &Sides, which: Which, anti: bool) -> NodeIndex {
        let kept = sides.side(which);
        let identity = self.identity(kept.rows);
        let (left, right, offset) = match which {
            Which::Left => (kept.rows, sides.right.joinable, 0),
            Which::Right => {
                let left = sides.left.joinable;
                (left, kept.rows, self.builder.schema(left).fields().len())
            }
        };
        let output = identity.iter().map(|column| offset + column).collect();
        let matched = self.inner_at(sides, left, right, output);
        let on: Vec<_> = identity.iter().copied().zip(0..).collect();
        self.builder.semi_join(kept.rows, matched, &on, anti)
    }

    /// Columns that tell the rows of a node apart: the primary key or all.
    fn identity(&self, node: NodeIndex) -> Vec<usize> {
        let primary_key = self.builder.primary_key(node);
        if !primary_key.is_empty() {
            return primary_key.to_vec();
        }
        let of_table = self.picked_from_table(node).and_then(|(table, picked)| {
            let key = self.builder.primary_key(table).iter();
            key.map(|column| picked.iter().position(|at| at == column))
                .collect::<Option<Vec<_>>>()
        });
        of_table.unwrap_or_else(|| (0..self.builder.schema(node).fields().len()).collect())
    }
}

impl Sides {
    fn side(&self, which: Which) -> &Side {
        match which {
            Which::Left => &self.left,
            Which::Right => &self.right,
        }
    }

    fn other(&self, which: Which) -> &Side {
        match which {
            Which::Left => &self.right,
            Which::Right => &self.left,
        }
    }

    /// Pairs of equal columns, those of `which` first.
    fn pairs(&self, which: Which) -> Vec<(usize, usize)> {
        let (first, second) = (&self.side(which).keys, &self.other(which).keys);
        first.iter().copied().zip(second.iter().copied()).collect()
    }
}

impl Side {
    /// Where the plan node's columns are in the node.
    pub(super) fn columns(&self, output: &[usize]) -> Vec<usize> {
        output
            .iter()
            .map(|&column| self.positions[column])
            .collect()
    }
}

fn is_permutation(keys: &[usize], primary_key: &[usize]) -> bool {
    !primary_key.is_empty()
        && keys.len() == primary_key.len()
        && primary_key.iter().all(|column| keys.contains(column))
}

/// True if a filter in the plan drops the rows whose `key` is NULL already: DataFusion adds such
/// filters to some joins.
fn is_filtered_not_null(plan: &LogicalPlan, key: &Expr) -> bool {
    let Expr::Column(column) = key else {
        return false;
    };
    let position = |plan: &LogicalPlan| plan.schema().index_of_column(column).ok();
    match plan {
        LogicalPlan::SubqueryAlias(alias) => position(plan).is_some_and(|index| {
            let inner = alias.input.schema().qualified_field(index);
            is_filtered_not_null(&alias.input, &Expr::Column(inner.into()))
        }),
        LogicalPlan::Projection(projection) => position(plan).is_some_and(|index| {
            let mut expr = &projection.expr[index];
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            is_filtered_not_null(&projection.input, expr)
        }),
        LogicalPlan::Filter(filter) => {
            let is_not_null =
                |condition: &&Expr| matches!(condition, Expr::IsNotNull(of) if **of == *key);
            split_conjunction(&filter.predicate).iter().any(is_not_null)
                || is_filtered_not_null(&filter.input, key)
        }
        _ => false,
    }
}

/// The columns of each side that the output, the keys and the condition read.
fn used_by_sides(join: &Join, output: &[usize]) -> Result<[Vec<usize>; 2], LowerError> {
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let left_width = left_schema.fields().len();
    let [mut left, mut right] = output_of_sides(join, output);
    for (left_key, right_key) in &join.on {
        used_columns(left_key, left_schema, &mut left)?;
        used_columns(right_key, right_schema, &mut right)?;
    }
    if let Some(filter) = &join.filter {
        let mut used = Vec::new();
        used_columns(filter, &combined_schema(join)?, &mut used)?;
        for column in used {
            match column.checked_sub(left_width) {
                None => left.push(column),
                Some(column) => right.push(column),
            }
        }
    }
    Ok([left, right])
}

fn output_of_sides(join: &Join, output: &[usize]) -> [Vec<usize>; 2] {
    let left_width = join.left.schema().fields().len();
    let right_width = join.right.schema().fields().len();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for &column in output {
        match join.join_type {
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                right.extend((column < right_width).then_some(column));
            }
            _ if column < left_width => left.push(column),
            // The mark is a column of neither side.
            JoinType::LeftMark => {}
            _ => right.push(column - left_width),
        }
    }
    [left, right]
}

fn combined_schema(join: &Join) -> Result<DFSchema, LowerError> {
    let combined = join.left.schema().join(join.right.schema());
    combined.map_err(|error| LowerError::from_planning("JOIN", &error))
}

/// The types to compare keys in. DataFusion has coerced them; only nested types may still differ.
fn common_key_types(
    join: &Join,
    left: &[Expr],
    right: &[Expr],
) -> Result<Vec<DataType>, LowerError> {
    let (left_schema, right_schema) = (join.left.schema(), join.right.schema());
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| {
            let fail = |error| LowerError::of_expression(left, &error);
            let left_type = left.get_type(left_schema.as_ref()).map_err(fail)?;
            let right_type = right.get_type(right_schema.as_ref()).map_err(fail)?;
            if left_type == right_type {
                return Ok(left_type);
            }
            let common = datafusion::logical_expr::type_coercion::binary::comparison_coercion(
                &left_type,
                &right_type,
            );
            common.ok_or_else(|| {
                let message = format!("{left_type} and {right_type} cannot be compared");
                LowerError::new("JOIN", message).at(left)
            })
        })
        .collect()
}
