//! Window functions: one operator for each combination of PARTITION BY and ORDER BY.
//!
//! Rows of a partition are ordered by ORDER BY, then by all other columns, so that functions which
//! tell ties apart depend on the rows alone.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::DFSchemaRef;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::{Expr, SortExpr, Window, WindowFunctionDefinition};
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::window::WindowExpr;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::windows::create_window_expr;
use highwater_circuit::plan::NodeIndex;
use highwater_zset::OrderColumn;

use super::limit::sort_options;
use super::{LowerError, Lowering, conforming_column};
use crate::expression::partition::WindowFunctions;
use crate::expression::{Scope, describe, physical, scalar};

/// Sums of integers are computed in this type, then cast back: the cast fails where DataFusion's
/// own sum would wrap.
const WIDE_INTEGER: DataType = DataType::Decimal128(20, 0);

/// Functions over the same partitions in the same order, with their places in the window node.
struct Group<'a> {
    partition_by: &'a [Expr],
    order_by: &'a [SortExpr],
    functions: Vec<(usize, &'a WindowFunction)>,
}

impl Lowering<'_> {
    pub(super) fn lower_window(&mut self, window: &Window) -> Result<NodeIndex, LowerError> {
        let schema = window.input.schema();
        let width = schema.fields().len();
        let mut node = self.lower(&window.input)?;
        let mut positions: Vec<usize> = (0..width).collect();
        positions.resize(width + window.window_expr.len(), 0);
        for group in groups(&window.window_expr)? {
            let (ordered, partition, order) =
                self.partitioned(node, group.partition_by, group.order_by, schema)?;
            let mut functions = Vec::with_capacity(group.functions.len());
            let mut names = Vec::with_capacity(group.functions.len());
            let first = self.builder.schema(ordered).fields().len();
            for (offset, (index, function)) in group.functions.iter().enumerate() {
                functions.push(window_function(function, schema)?);
                names.push(window.schema.field(width + index).name().clone());
                positions[width + index] = first + offset;
            }
            let function = WindowFunctions::new(functions)
                .map_err(|error| LowerError::from_planning("window function", &error))?;
            node = self
                .builder
                .window(ordered, partition, order, Arc::new(function), &names);
        }
        let types = self.builder.schema(node).clone();
        let columns: Result<Vec<_>, LowerError> = positions
            .iter()
            .zip(window.schema.fields())
            .map(|(&position, field)| {
                let own_type = types.field(position).data_type();
                conforming_column(position, field.name(), own_type, field.data_type())
                    .map(|column| (field.name().clone(), column))
            })
            .collect();
        let columns = columns?;
        let is_same = columns.len() == types.fields().len()
            && columns
                .iter()
                .enumerate()
                .all(|(index, (_, column))| column.as_column() == Some(index));
        Ok(match is_same {
            true => node,
            false => self.builder.map(node, None, columns),
        })
    }

    /// The node with the columns to partition and order by. The plan node's own columns, which are
    /// those of `schema`, stay in front.
    pub(super) fn partitioned(
        &mut self,
        node: NodeIndex,
        partition_by: &[Expr],
        order_by: &[SortExpr],
        schema: &DFSchemaRef,
    ) -> Result<(NodeIndex, Vec<usize>, Vec<OrderColumn>), LowerError> {
        let scope = Scope::of(schema);
        let keys: Result<Vec<_>, _> = partition_by
            .iter()
            .map(|expr| scalar(expr, scope))
            .collect();
        let (keyed, partition) = self.append(node, keys?);
        let (ordered, mut order) = self.ordered(keyed, order_by, scope)?;
        if order_by.is_empty() {
            order.retain(|column| column.column < schema.fields().len());
        }
        Ok((ordered, partition, order))
    }
}

fn groups(expressions: &[Expr]) -> Result<Vec<Group<'_>>, LowerError> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (index, expr) in expressions.iter().enumerate() {
        let function = as_window_function(expr)
            .ok_or_else(|| LowerError::new("window function", "not a window function").at(expr))?;
        let WindowFunctionParams {
            partition_by,
            order_by,
            ..
        } = &function.params;
        let known = groups
            .iter_mut()
            .find(|group| group.partition_by == partition_by && group.order_by == order_by);
        match known {
            Some(group) => group.functions.push((index, function)),
            None => groups.push(Group {
                partition_by,
                order_by,
                functions: vec![(index, function)],
            }),
        }
    }
    Ok(groups)
}

pub(super) fn as_window_function(expr: &Expr) -> Option<&WindowFunction> {
    match expr {
        Expr::WindowFunction(function) => Some(function),
        Expr::Alias(alias) => as_window_function(&alias.expr),
        _ => None,
    }
}

/// DataFusion's window expression and the text that says what it computes.
fn window_function(
    function: &WindowFunction,
    schema: &DFSchemaRef,
) -> Result<(Arc<dyn WindowExpr>, String), LowerError> {
    let scope = Scope::of(schema);
    let WindowFunction { fun, params } = function;
    let planned = |exprs: &[Expr]| -> Result<Vec<Arc<dyn PhysicalExpr>>, LowerError> {
        exprs.iter().map(|expr| physical(expr, scope)).collect()
    };
    let mut arguments = planned(&params.args)?;
    if sums_integers(fun, &arguments, schema) {
        let argument = arguments[0].clone();
        arguments[0] = Arc::new(CastExpr::new(argument, WIDE_INTEGER, None));
    }
    let partition_by = planned(&params.partition_by)?;
    let order_by: Result<Vec<_>, LowerError> = params
        .order_by
        .iter()
        .map(|sort| {
            Ok(PhysicalSortExpr::new(
                physical(&sort.expr, scope)?,
                sort_options(sort),
            ))
        })
        .collect();
    let filter = params.filter.as_deref();
    let filter = filter.map(|expr| physical(expr, scope)).transpose()?;
    let ignore_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
    let texts: Vec<_> = arguments
        .iter()
        .chain(&filter)
        .map(|expr| describe::fingerprint(expr.as_ref()))
        .collect();
    let definition = format!(
        "{} of [{}] filtered {} distinct {} ignore nulls {ignore_nulls}",
        fun.name(),
        texts.join(", "),
        filter.is_some(),
        params.distinct,
    );
    let expression = create_window_expr(
        fun,
        fun.name().to_owned(),
        &arguments,
        &partition_by,
        &order_by?,
        Arc::new(params.window_frame.clone()),
        schema.inner().clone(),
        ignore_nulls,
        params.distinct,
        filter,
    );
    let expression = expression
        .map_err(|error| LowerError::from_planning(&fun.name().to_uppercase(), &error))?;
    Ok((expression, definition))
}

fn sums_integers(
    function: &WindowFunctionDefinition,
    arguments: &[Arc<dyn PhysicalExpr>],
    schema: &DFSchemaRef,
) -> bool {
    let is_sum = matches!(function, WindowFunctionDefinition::AggregateUDF(function)
        if function.name() == "sum");
    is_sum
        && arguments.first().is_some_and(|argument| {
            let data_type = argument.data_type(schema.as_arrow());
            data_type.is_ok_and(|data_type| data_type.is_integer())
        })
}
