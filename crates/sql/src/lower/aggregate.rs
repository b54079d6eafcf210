//! GROUP BY.
//!
//! One partial aggregate over all rows says which groups exist and sums up the linear aggregates;
//! what is not linear reads further inputs: partial aggregates of distinct rows, or arrangements
//! of the rows of each group ([`super::aggregate_call`]).

use datafusion::common::DFSchema;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use highwater_circuit::expression as circuit;
use highwater_circuit::plan::{
    AggregateCall, AggregateSpec, LinearCall, LinearFunction, NodeIndex, SetOperation,
};

use super::aggregate_call::{Source, as_aggregate};
use super::{LowerError, Lowering, Pruned, conforming_column};
use crate::expression::{Scope, scalar, used_columns};

/// The rows to aggregate and the expressions to group them by.
pub(super) struct Grouped<'a> {
    pub(super) input: &'a Pruned,
    pub(super) schema: &'a DFSchema,
    pub(super) group: Vec<circuit::Expr>,
}

impl Grouped<'_> {
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope::at(self.schema, &self.input.positions)
    }
}

/// One input of the final aggregate that is a sum of linear aggregates.
struct LinearInput {
    /// What is summed up: all rows, or the distinct rows of a filtered map.
    node: NodeIndex,
    group: Vec<usize>,
    calls: Vec<LinearCall>,
}

impl Lowering<'_> {
    pub(super) fn lower_aggregate(
        &mut self,
        aggregate: &Aggregate,
    ) -> Result<NodeIndex, LowerError> {
        let schema = aggregate.input.schema();
        let mut used = Vec::new();
        for expr in aggregate.group_expr.iter().chain(&aggregate.aggr_expr) {
            used_columns(expr, schema, &mut used)?;
        }
        let input = self.lower_pruned(&aggregate.input, &used)?;
        if let [Expr::GroupingSet(set)] = &aggregate.group_expr[..] {
            return self.lower_grouping_sets(aggregate, set, &input);
        }
        let group = distinct_exprs(&aggregate.group_expr);
        let node = self.aggregate(&aggregate.input, &input, &group, &aggregate.aggr_expr)?;
        let node = self.conform(node, &aggregate.schema)?;
        Ok(node)
    }

    /// Group columns, then one column per call; types may differ from the plan node's.
    pub(super) fn aggregate(
        &mut self,
        plan: &LogicalPlan,
        input: &Pruned,
        group: &[&Expr],
        calls: &[Expr],
    ) -> Result<NodeIndex, LowerError> {
        let schema = plan.schema();
        let scope = Scope::at(schema, &input.positions);
        let group: Result<Vec<_>, _> = group.iter().map(|expr| scalar(expr, scope)).collect();
        let grouped = Grouped {
            input,
            schema,
            group: group?,
        };
        let mut sources = Vec::with_capacity(calls.len());
        for call in calls {
            let function = as_aggregate(call)
                .ok_or_else(|| LowerError::new("aggregate", "not an aggregate").at(call))?;
            sources.push(self.aggregate_source(function, call, &grouped)?);
        }
        let is_distinct_only = calls.is_empty() && !grouped.group.is_empty();
        if is_distinct_only {
            let (node, _) = self.grouped_columns(&grouped, Vec::new(), None);
            let width: Vec<usize> = (0..grouped.group.len()).collect();
            let node = self.builder.select(node, &width);
            return Ok(self.builder.set_operation(SetOperation::Distinct, &[node]));
        }
        Ok(self.final_aggregate(&grouped, &sources, calls))
    }

    fn final_aggregate(
        &mut self,
        grouped: &Grouped<'_>,
        sources: &[Source],
        calls: &[Expr],
    ) -> NodeIndex {
        let group_columns = grouped.group.len();
        let mut linear = vec![self.rows_input(grouped, sources)];
        let mut arranged: Vec<NodeIndex> = Vec::new();
        let mut places = Vec::with_capacity(sources.len());
        let mut next_argument = 0;
        for source in sources {
            places.push(match source {
                Source::Linear { function, argument } => {
                    let column = argument.as_ref().map(|_| {
                        next_argument += 1;
                        linear[0].1[next_argument - 1]
                    });
                    linear_place(&mut linear[0].0, 0, function, column)
                }
                Source::DistinctLinear {
                    rows,
                    function,
                    argument,
                } => {
                    let input = distinct_input(&mut linear, *rows, group_columns);
                    linear_place(&mut linear[input].0, input, function, *argument)
                }
                Source::First { rows, column } => AggregateCall::First {
                    input: position_of(&mut arranged, *rows),
                    column: *column,
                },
                Source::Group { rows, function } => AggregateCall::Group {
                    input: position_of(&mut arranged, *rows),
                    function: function.clone(),
                },
            });
        }
        let linear_inputs = linear.len();
        let mut inputs: Vec<NodeIndex> = linear
            .into_iter()
            .map(|(input, _)| {
                self.builder
                    .partial_aggregate(input.node, input.group, input.calls)
            })
            .collect();
        inputs.extend(arranged);
        for place in &mut places {
            if let AggregateCall::First { input, .. } | AggregateCall::Group { input, .. } = place {
                *input += linear_inputs;
            }
        }
        let spec = AggregateSpec {
            group_columns,
            calls: places,
            is_global: group_columns == 0,
        };
        let names: Vec<String> = calls
            .iter()
            .map(|call| call.schema_name().to_string())
            .collect();
        self.builder.aggregate(inputs, spec, &names)
    }

    /// The input of all rows, and the columns of the linear arguments in it.
    fn rows_input(
        &mut self,
        grouped: &Grouped<'_>,
        sources: &[Source],
    ) -> (LinearInput, Vec<usize>) {
        let arguments = sources.iter().filter_map(|source| match source {
            Source::Linear { argument, .. } => argument.clone(),
            _ => None,
        });
        let (node, columns) = self.grouped_columns(grouped, arguments.collect(), None);
        let (group, arguments) = columns.split_at(grouped.group.len());
        let input = LinearInput {
            node,
            group: group.to_vec(),
            calls: Vec::new(),
        };
        (input, arguments.to_vec())
    }

    /// A node with the group columns and some others, and where they are. If all of them are
    /// columns already and there is no filter, it is the input itself.
    pub(super) fn grouped_columns(
        &mut self,
        grouped: &Grouped<'_>,
        others: Vec<circuit::Expr>,
        filter: Option<circuit::Expr>,
    ) -> (NodeIndex, Vec<usize>) {
        let expressions: Vec<circuit::Expr> = grouped.group.iter().cloned().chain(others).collect();
        let columns: Option<Vec<usize>> = expressions.iter().map(|expr| expr.as_column()).collect();
        match columns {
            Some(columns) if filter.is_none() => (grouped.input.node, columns),
            _ => {
                let width = expressions.len();
                let named = expressions
                    .into_iter()
                    .map(|expr| (expr.fingerprint().to_owned(), expr));
                let named = named.collect();
                let node = self.builder.map(grouped.input.node, filter, named);
                (node, (0..width).collect())
            }
        }
    }
}

/// Adds a call to a linear input, unless it is there.
fn linear_place(
    input: &mut LinearInput,
    index: usize,
    function: &LinearFunction,
    argument: Option<usize>,
) -> AggregateCall {
    let is_same = |call: &LinearCall| call.function == *function && call.argument == argument;
    let call = input.calls.iter().position(is_same).unwrap_or_else(|| {
        input.calls.push(LinearCall {
            function: function.clone(),
            argument,
        });
        input.calls.len() - 1
    });
    AggregateCall::Linear {
        input: index,
        call,
        function: function.clone(),
    }
}

fn distinct_input(
    linear: &mut Vec<(LinearInput, Vec<usize>)>,
    rows: NodeIndex,
    group_columns: usize,
) -> usize {
    let known = linear
        .iter()
        .skip(1)
        .position(|(input, _)| input.node == rows);
    known.map_or_else(
        || {
            let input = LinearInput {
                node: rows,
                group: (0..group_columns).collect(),
                calls: Vec::new(),
            };
            linear.push((input, Vec::new()));
            linear.len() - 1
        },
        |index| index + 1,
    )
}

fn position_of(nodes: &mut Vec<NodeIndex>, node: NodeIndex) -> usize {
    nodes
        .iter()
        .position(|known| *known == node)
        .unwrap_or_else(|| {
            nodes.push(node);
            nodes.len() - 1
        })
}

/// Without repetitions, as the plan node's schema has them.
pub(super) fn distinct_exprs(exprs: &[Expr]) -> Vec<&Expr> {
    let mut distinct: Vec<&Expr> = Vec::with_capacity(exprs.len());
    for expr in exprs {
        if !distinct.contains(&expr) {
            distinct.push(expr);
        }
    }
    distinct
}

/// Column `index` of a node, as `name`, of the wanted type.
pub(super) fn output_column(
    lowering: &Lowering<'_>,
    node: NodeIndex,
    index: usize,
    field: &arrow::datatypes::Field,
) -> Result<(String, circuit::Expr), LowerError> {
    let own_type = lowering.builder.schema(node).field(index).data_type();
    let column = conforming_column(index, field.name(), own_type, field.data_type())?;
    Ok((field.name().clone(), column))
}
