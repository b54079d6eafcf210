//! From DataFusion's optimized logical plan to circuit operators.
//!
//! Each kind of plan node has a file in `lower/`; the match in [`Lowering::lower`] is their
//! registry. A node lowers to a circuit node whose columns are the plan node's, in order and of
//! the same types. What has no lowering is refused by name: nothing is approximated.

mod aggregate;
mod aggregate_call;
mod distinct;
mod filter;
mod grouping_sets;
mod join;
mod limit;
mod null_aware;
mod projection;
mod rank_filter;
mod scan;
mod set_operation;
mod union;
mod unnest;
mod values;
mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, DataFusionError, Span};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use highwater_circuit::builder::PlanBuilder;
use highwater_circuit::expression as circuit;
use highwater_circuit::plan::NodeIndex;

use crate::expression::{self, plain_message};

/// The circuit nodes of tables and views, by the name that the plan's scans use.
pub(crate) type Relations = BTreeMap<String, NodeIndex>;

/// Why a query has no circuit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{construct}: {message}")]
pub(crate) struct LowerError {
    /// The SQL construct, e.g. `recursive query`.
    pub(crate) construct: String,
    pub(crate) message: String,
    /// Where it is in the text, if the plan still knows.
    pub(crate) span: Option<Span>,
}

impl LowerError {
    pub(crate) fn new(construct: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            construct: construct.into(),
            message: message.into(),
            span: None,
        }
    }

    /// With the position of the first column that `expr` names.
    pub(crate) fn at(mut self, expr: &Expr) -> Self {
        let spans = expr.column_refs().into_iter();
        let mut positions: Vec<_> = spans.filter_map(|column| column.spans.first()).collect();
        positions.sort_by_key(|span| (span.start.line, span.start.column));
        self.span = positions.first().copied();
        self
    }

    pub(crate) fn from_planning(construct: &str, error: &DataFusionError) -> Self {
        Self::new(construct, plain_message(error))
    }

    pub(crate) fn of_expression(expr: &Expr, error: &DataFusionError) -> Self {
        let message = format!("{} in {}", plain_message(error), expr.human_display());
        Self::new("expression", message).at(expr)
    }

    fn unsupported(construct: &str) -> Self {
        Self::new(construct, format!("{construct} is not supported in a view"))
    }
}

/// Adds the operators that keep a query's result up to date, and returns the last one.
///
/// # Errors
/// If the query uses something that has no incremental form.
pub(crate) fn lower_query(
    plan: &LogicalPlan,
    builder: &mut PlanBuilder,
    relations: &Relations,
    view_name: &str,
) -> Result<NodeIndex, LowerError> {
    builder.set_owner(view_name);
    Lowering { builder, relations }.lower(plan)
}

/// One query on its way into the builder.
struct Lowering<'a> {
    builder: &'a mut PlanBuilder,
    relations: &'a Relations,
}

/// A circuit node that has some of a plan node's columns.
#[derive(Clone, Debug)]
struct Pruned {
    node: NodeIndex,
    /// Where each column of the plan node is. A column that was not asked for has no meaning.
    positions: Vec<usize>,
}

impl Lowering<'_> {
    fn lower(&mut self, plan: &LogicalPlan) -> Result<NodeIndex, LowerError> {
        match plan {
            LogicalPlan::TableScan(scan) => self.lower_scan(scan),
            LogicalPlan::Projection(projection) => self.lower_projection(projection),
            LogicalPlan::Filter(filter) => self.lower_filter(filter),
            LogicalPlan::Join(join) => {
                let columns: Vec<usize> = (0..join.schema.fields().len()).collect();
                self.lower_join(join, &columns)
            }
            LogicalPlan::Aggregate(aggregate) => self.lower_aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => self.lower_distinct(input),
            LogicalPlan::Distinct(Distinct::On(distinct)) => self.lower_distinct_on(distinct),
            LogicalPlan::Union(union) => self.lower_union(union),
            LogicalPlan::Window(window) => self.lower_window(window),
            LogicalPlan::Sort(sort) => self.lower_sort(sort),
            LogicalPlan::Limit(limit) => self.lower_limit(limit),
            LogicalPlan::Unnest(unnest) => self.lower_unnest(unnest),
            LogicalPlan::Values(values) => self.lower_values(values),
            LogicalPlan::EmptyRelation(empty) => self.lower_empty_relation(empty),
            LogicalPlan::SubqueryAlias(alias) => self.lower(&alias.input),
            // The number of workers is not the query's concern.
            LogicalPlan::Repartition(repartition) => self.lower(&repartition.input),
            LogicalPlan::Extension(extension) => self.lower_extension(extension),
            LogicalPlan::Subquery(_) => Err(LowerError::new(
                "LATERAL",
                "this subquery depends on its outer query in a way that cannot be decorrelated",
            )),
            LogicalPlan::RecursiveQuery(_) => Err(LowerError::unsupported("recursive query")),
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) => {
                Err(LowerError::unsupported("EXPLAIN"))
            }
            LogicalPlan::DescribeTable(_) => Err(LowerError::unsupported("DESCRIBE")),
            LogicalPlan::Dml(_) => Err(LowerError::unsupported("data manipulation")),
            LogicalPlan::Ddl(_) => Err(LowerError::unsupported("data definition")),
            LogicalPlan::Copy(_) => Err(LowerError::unsupported("COPY")),
            LogicalPlan::Statement(_) => Err(LowerError::unsupported("statement")),
        }
    }

    /// Lowers at least the columns `used`; an operator that can leave out the others does so.
    fn lower_pruned(&mut self, plan: &LogicalPlan, used: &[usize]) -> Result<Pruned, LowerError> {
        match plan {
            LogicalPlan::SubqueryAlias(alias) => self.lower_pruned(&alias.input, used),
            LogicalPlan::Join(join) => {
                let width = join.schema.fields().len();
                let mut columns = used.to_vec();
                columns.sort_unstable();
                columns.dedup();
                if columns.is_empty() {
                    columns.extend((width > 0).then_some(0));
                }
                let node = self.lower_join(join, &columns)?;
                let mut positions = vec![0; width];
                for (position, &column) in columns.iter().enumerate() {
                    positions[column] = position;
                }
                Ok(Pruned { node, positions })
            }
            _ => Ok(Pruned {
                node: self.lower(plan)?,
                positions: (0..plan.schema().fields().len()).collect(),
            }),
        }
    }

    /// Puts `expressions` behind a node's own columns and returns where each is found. A
    /// column needs no copy.
    fn append(
        &mut self,
        node: NodeIndex,
        expressions: Vec<circuit::Expr>,
    ) -> (NodeIndex, Vec<usize>) {
        let schema = self.builder.schema(node).clone();
        let mut columns = self.own_columns(node);
        let mut fingerprints: Vec<String> = Vec::new();
        let width = columns.len();
        let mut positions = Vec::with_capacity(expressions.len());
        for expression in expressions {
            if let Some(column) = expression.as_column() {
                positions.push(column);
                continue;
            }
            let fingerprint = expression.fingerprint().to_owned();
            let known = fingerprints.iter().position(|known| *known == fingerprint);
            let position = known.unwrap_or_else(|| {
                columns.push((fingerprint.clone(), expression));
                fingerprints.push(fingerprint);
                fingerprints.len() - 1
            });
            positions.push(width + position);
        }
        if columns.len() == schema.fields().len() {
            return (node, positions);
        }
        (self.builder.map(node, None, columns), positions)
    }

    /// The node's columns as expressions that copy them.
    fn own_columns(&self, node: NodeIndex) -> Vec<(String, circuit::Expr)> {
        let fields = self.builder.schema(node).fields().iter().enumerate();
        fields
            .map(|(index, field)| {
                let column = circuit::Column::expr(index, field.data_type().clone());
                (field.name().clone(), column)
            })
            .collect()
    }

    /// Casts the columns whose types are not the wanted ones, and drops those behind them.
    fn conform(&mut self, node: NodeIndex, wanted: &DFSchema) -> Result<NodeIndex, LowerError> {
        let fields = self.builder.schema(node).fields().clone();
        let is_same = fields.len() == wanted.fields().len()
            && fields
                .iter()
                .zip(wanted.fields())
                .all(|(own, wanted)| own.data_type() == wanted.data_type());
        if is_same {
            return Ok(node);
        }
        let columns = fields.iter().zip(wanted.fields()).enumerate();
        let columns: Result<Vec<_>, LowerError> = columns
            .map(|(index, (own, wanted))| {
                let name = wanted.name().clone();
                conforming_column(index, &name, own.data_type(), wanted.data_type())
                    .map(|column| (name, column))
            })
            .collect();
        Ok(self.builder.map(node, None, columns?))
    }
}

fn conforming_column(
    index: usize,
    name: &str,
    from: &DataType,
    to: &DataType,
) -> Result<circuit::Expr, LowerError> {
    if from == to {
        return Ok(circuit::Column::expr(index, to.clone()));
    }
    if !arrow::compute::can_cast_types(from, to) {
        let message = format!("column {name} of type {from} cannot become {to}");
        return Err(LowerError::new("CAST", message));
    }
    Ok(expression::cast_column(index, name, to))
}
