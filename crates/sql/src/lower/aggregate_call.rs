//! Where the value of one aggregate comes from.
//!
//! - Sums of the rows (`COUNT`, `SUM`, `AVG`, …) add up deltas. `FILTER` makes the argument NULL,
//!   `DISTINCT` sums up the distinct rows.
//! - The first row of an order (`MIN`, `MAX`, `ARG_MIN`, `FIRST_VALUE`, …) is the first of an arrangement.
//! - Everything else runs DataFusion's accumulator over the group's rows, in the order of an
//!   ORDER BY inside of the call, or of the arguments.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::{Expr, ExprSchemable, lit, when};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr};
use highwater_circuit::expression::{self as circuit, GroupFunction};
use highwater_circuit::plan::{LinearFunction, NodeIndex, SetOperation};
use highwater_zset::OrderColumn;

use super::aggregate::Grouped;
use super::limit::sort_options;
use super::{LowerError, Lowering};
use crate::expression::arg_extreme::{ARG_MAX, ARG_MIN};
use crate::expression::group::AccumulatorFunction;
use crate::expression::{physical, scalar};

/// Ascending, NULLs last.
const ASCENDING: SortOptions = SortOptions {
    descending: false,
    nulls_first: false,
};

/// Descending, NULLs last.
const DESCENDING: SortOptions = SortOptions {
    descending: true,
    nulls_first: false,
};

/// What the final aggregate reads for one call.
pub(super) enum Source {
    /// A sum over all rows.
    Linear {
        function: LinearFunction,
        argument: Option<circuit::Expr>,
    },
    /// A sum over distinct rows; these begin with the group columns.
    DistinctLinear {
        rows: NodeIndex,
        function: LinearFunction,
        argument: Option<usize>,
    },
    /// `column` of the group's first row in an arrangement.
    First { rows: NodeIndex, column: usize },
    /// A function of the group's rows in an arrangement.
    Group {
        rows: NodeIndex,
        function: Arc<dyn GroupFunction>,
    },
}

pub(super) fn as_aggregate(expr: &Expr) -> Option<&AggregateFunction> {
    match expr {
        Expr::AggregateFunction(function) => Some(function),
        Expr::Alias(alias) => as_aggregate(&alias.expr),
        _ => None,
    }
}

impl Lowering<'_> {
    pub(super) fn aggregate_source(
        &mut self,
        function: &AggregateFunction,
        call: &Expr,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let result = call
            .get_type(grouped.schema)
            .map_err(|error| LowerError::of_expression(call, &error))?;
        if let Some(linear) = linear_function(function, &result, grouped)? {
            return self.linear_source(function, linear, grouped);
        }
        let arguments = &function.params.args;
        match (function.func.name(), &arguments[..]) {
            ("min", [argument]) => self.extreme(function, argument, argument, ASCENDING, grouped),
            ("max", [argument]) => self.extreme(function, argument, argument, DESCENDING, grouped),
            (ARG_MIN, [value, key]) => self.extreme(function, value, key, ASCENDING, grouped),
            (ARG_MAX, [value, key]) => self.extreme(function, value, key, DESCENDING, grouped),
            ("first_value", [value]) => self.first_or_last(function, value, false, grouped),
            ("last_value", [value]) => self.first_or_last(function, value, true, grouped),
            _ => self.group_source(function, grouped),
        }
    }

    fn linear_source(
        &mut self,
        function: &AggregateFunction,
        linear: LinearFunction,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let params = &function.params;
        let is_idempotent = matches!(linear, LinearFunction::BoolAnd | LinearFunction::BoolOr);
        if params.distinct && !is_idempotent {
            return self.distinct_source(function, linear, grouped);
        }
        let counted = match linear {
            LinearFunction::Count => counted_argument(&params.args, grouped)?,
            _ => params.args.first().cloned(),
        };
        let argument = match (counted, params.filter.as_deref()) {
            (argument, None) => argument,
            (argument, Some(filter)) => {
                let value = argument.unwrap_or_else(|| lit(true));
                Some(value_if(filter, value)?)
            }
        };
        let argument = argument.map(|expr| scalar(&expr, grouped.scope()));
        Ok(Source::Linear {
            function: linear,
            argument: argument.transpose()?,
        })
    }

    fn distinct_source(
        &mut self,
        function: &AggregateFunction,
        linear: LinearFunction,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let arguments = &function.params.args;
        let not_null = arguments.iter().map(|expr| expr.clone().is_not_null());
        let filter = conjunction_with(function, not_null);
        let rows = self.distinct_rows(arguments, filter, grouped)?;
        let argument = match linear {
            LinearFunction::Count => None,
            _ => Some(grouped.group.len()),
        };
        Ok(Source::DistinctLinear {
            rows,
            function: linear,
            argument,
        })
    }

    /// The group columns and the arguments, each combination once.
    fn distinct_rows(
        &mut self,
        arguments: &[Expr],
        filter: Option<Expr>,
        grouped: &Grouped<'_>,
    ) -> Result<NodeIndex, LowerError> {
        let others: Result<Vec<_>, _> = arguments
            .iter()
            .map(|expr| scalar(expr, grouped.scope()))
            .collect();
        let node = self.narrowed(grouped, others?, filter)?;
        Ok(self.builder.set_operation(SetOperation::Distinct, &[node]))
    }

    /// Just the group columns and some others, in this order.
    fn narrowed(
        &mut self,
        grouped: &Grouped<'_>,
        others: Vec<circuit::Expr>,
        filter: Option<Expr>,
    ) -> Result<NodeIndex, LowerError> {
        let filter = filter.map(|expr| scalar(&expr, grouped.scope()));
        let (node, columns) = self.grouped_columns(grouped, others, filter.transpose()?);
        Ok(self.builder.select(node, &columns))
    }

    /// The value of the row with the first key; rows without a key do not count.
    fn extreme(
        &mut self,
        function: &AggregateFunction,
        value: &Expr,
        key: &Expr,
        options: SortOptions,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let filter = conjunction_with(function, [key.clone().is_not_null()]);
        let mut order = vec![(key.clone(), options)];
        if value != key {
            order.push((value.clone(), ASCENDING));
        }
        self.first_source(&order, value, filter, grouped)
    }

    fn first_or_last(
        &mut self,
        function: &AggregateFunction,
        value: &Expr,
        is_last: bool,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let params = &function.params;
        let ignores_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let filter = conjunction_with(function, ignores_nulls.then(|| value.clone().is_not_null()));
        let mut order: Vec<(Expr, SortOptions)> = params
            .order_by
            .iter()
            .map(|sort| (sort.expr.clone(), sort_options(sort)))
            .collect();
        if order.iter().all(|(expr, _)| expr != value) {
            order.push((value.clone(), ASCENDING));
        }
        if is_last {
            for (_, options) in &mut order {
                options.descending = !options.descending;
                options.nulls_first = !options.nulls_first;
            }
        }
        self.first_source(&order, value, filter, grouped)
    }

    fn first_source(
        &mut self,
        order: &[(Expr, SortOptions)],
        value: &Expr,
        filter: Option<Expr>,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let mut exprs: Vec<&Expr> = order.iter().map(|(expr, _)| expr).collect();
        if !exprs.contains(&value) {
            exprs.push(value);
        }
        let column = exprs.iter().position(|expr| *expr == value).unwrap_or(0);
        let others: Result<Vec<_>, _> = exprs
            .iter()
            .map(|expr| scalar(expr, grouped.scope()))
            .collect();
        let rows = self.narrowed(grouped, others?, filter)?;
        let group_columns = grouped.group.len();
        let options: Vec<SortOptions> = order.iter().map(|(_, options)| *options).collect();
        Ok(Source::First {
            rows: self.arranged_by_group(rows, group_columns, &options),
            column: group_columns + column,
        })
    }

    /// Arranged by group; inside, ordered by the columns behind the group columns.
    fn arranged_by_group(
        &mut self,
        rows: NodeIndex,
        group_columns: usize,
        options: &[SortOptions],
    ) -> NodeIndex {
        let order = options
            .iter()
            .enumerate()
            .map(|(index, options)| OrderColumn {
                column: group_columns + index,
                options: *options,
            });
        let order = order.collect();
        self.builder
            .arrange(rows, (0..group_columns).collect(), order)
    }

    fn group_source(
        &mut self,
        function: &AggregateFunction,
        grouped: &Grouped<'_>,
    ) -> Result<Source, LowerError> {
        let params = &function.params;
        let mut rows = GroupRows::new(grouped.group.len());
        for sort in &params.order_by {
            rows.column(&sort.expr, Some(sort_options(sort)));
        }
        let is_ordered = !params.order_by.is_empty();
        let arguments = params
            .args
            .iter()
            .map(|argument| rows.argument(argument, (!is_ordered).then_some(ASCENDING), grouped))
            .collect::<Result<Vec<_>, _>>()?;
        let group_function = rows.function(function, arguments, grouped)?;
        let filter = conjunction_with(function, []);
        let node = if params.distinct {
            self.distinct_rows(&rows.columns, filter, grouped)?
        } else {
            let others: Result<Vec<_>, _> = rows
                .columns
                .iter()
                .map(|expr| scalar(expr, grouped.scope()))
                .collect();
            self.narrowed(grouped, others?, filter)?
        };
        Ok(Source::Group {
            rows: self.arranged_by_group(node, grouped.group.len(), &rows.options),
            function: Arc::new(group_function),
        })
    }
}

/// The rows that a group function sees: group columns, order columns, arguments.
struct GroupRows {
    group_columns: usize,
    columns: Vec<Expr>,
    /// The order, by the first of `columns`.
    options: Vec<SortOptions>,
}

impl GroupRows {
    fn new(group_columns: usize) -> Self {
        Self {
            group_columns,
            columns: Vec::new(),
            options: Vec::new(),
        }
    }

    /// The position of an expression's column, which is added if need be.
    fn column(&mut self, expr: &Expr, options: Option<SortOptions>) -> usize {
        let known = self.columns.iter().position(|known| known == expr);
        let index = known.unwrap_or_else(|| {
            self.columns.push(expr.clone());
            self.options.extend(options);
            self.columns.len() - 1
        });
        self.group_columns + index
    }

    /// An argument: a literal stays one, because functions look at them when they are planned.
    fn argument(
        &mut self,
        expr: &Expr,
        options: Option<SortOptions>,
        grouped: &Grouped<'_>,
    ) -> Result<Arc<dyn PhysicalExpr>, LowerError> {
        let planned = physical(expr, grouped.scope())?;
        if planned.downcast_ref::<Literal>().is_some() {
            return Ok(planned);
        }
        let index = self.column(expr, options);
        Ok(Arc::new(Column::new(
            &expr.schema_name().to_string(),
            index,
        )))
    }

    fn function(
        &self,
        function: &AggregateFunction,
        arguments: Vec<Arc<dyn PhysicalExpr>>,
        grouped: &Grouped<'_>,
    ) -> Result<AccumulatorFunction, LowerError> {
        let name = function.func.name();
        let fail = |error| LowerError::from_planning(&name.to_uppercase(), &error);
        let mut fields = Vec::with_capacity(self.group_columns + self.columns.len());
        for expr in &grouped.group {
            fields.push(arrow::datatypes::Field::new("", expr.data_type(), true));
        }
        for expr in &self.columns {
            let field = expr.to_field(grouped.schema).map_err(fail)?.1;
            fields.push(field.as_ref().clone());
        }
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let params = &function.params;
        // The rows come in order; only WITHIN GROUP needs to know which one.
        let order_by = match function.func.supports_within_group_clause() {
            false => Vec::new(),
            true => params
                .order_by
                .iter()
                .enumerate()
                .map(|(index, sort)| {
                    let index = self.group_columns + index;
                    let column = Column::new(&sort.expr.schema_name().to_string(), index);
                    PhysicalSortExpr::new(Arc::new(column), sort_options(sort))
                })
                .collect(),
        };
        let ignores_nulls = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let built = AggregateExprBuilder::new(function.func.clone(), arguments)
            .schema(schema)
            .alias(name)
            .order_by(order_by)
            .with_ignore_nulls(ignores_nulls)
            .build();
        Ok(AccumulatorFunction::new(built.map_err(fail)?))
    }
}

/// The linear form of a call, if it has one.
fn linear_function(
    function: &AggregateFunction,
    result: &DataType,
    grouped: &Grouped<'_>,
) -> Result<Option<LinearFunction>, LowerError> {
    let name = function.func.name();
    if name == "count" {
        return Ok(Some(LinearFunction::Count));
    }
    let [argument] = &function.params.args[..] else {
        return Ok(None);
    };
    let argument = argument
        .get_type(grouped.schema)
        .map_err(|error| LowerError::of_expression(argument, &error))?;
    let is_number = argument.is_integer()
        || matches!(
            argument,
            DataType::Float32 | DataType::Float64 | DataType::Decimal128(..)
        );
    let variance = |sample, square_root| LinearFunction::Variance {
        argument: argument.clone(),
        sample,
        square_root,
    };
    Ok(match name {
        "sum" if is_number => Some(LinearFunction::Sum {
            result: result.clone(),
            argument,
        }),
        "avg" if is_number => Some(LinearFunction::Average {
            result: result.clone(),
            argument,
        }),
        "var" if is_number => Some(variance(true, false)),
        "var_pop" if is_number => Some(variance(false, false)),
        "stddev" if is_number => Some(variance(true, true)),
        "stddev_pop" if is_number => Some(variance(false, true)),
        "bool_and" if argument == DataType::Boolean => Some(LinearFunction::BoolAnd),
        "bool_or" if argument == DataType::Boolean => Some(LinearFunction::BoolOr),
        "bit_xor" if argument.is_integer() => Some(LinearFunction::BitXor { argument }),
        _ => None,
    })
}

/// What `COUNT` counts: `None` for every row.
fn counted_argument(arguments: &[Expr], grouped: &Grouped<'_>) -> Result<Option<Expr>, LowerError> {
    let is_value = |expr: &Expr| match expr {
        Expr::Literal(value, _) => !value.is_null(),
        expr => !expr.nullable(grouped.schema).unwrap_or(true),
    };
    let nullable: Vec<&Expr> = arguments.iter().filter(|expr| !is_value(expr)).collect();
    if let [only] = nullable[..] {
        return Ok(Some(only.clone()));
    }
    let conditions = nullable.into_iter().map(|expr| expr.clone().is_not_null());
    let all_values = conditions.reduce(Expr::and);
    all_values.map(|all| value_if(&all, lit(true))).transpose()
}

/// `CASE WHEN condition THEN value END`.
fn value_if(condition: &Expr, value: Expr) -> Result<Expr, LowerError> {
    when(condition.clone(), value)
        .end()
        .map_err(|error| LowerError::of_expression(condition, &error))
}

/// The call's FILTER and further conditions.
fn conjunction_with(
    function: &AggregateFunction,
    conditions: impl IntoIterator<Item = Expr>,
) -> Option<Expr> {
    let filter = function.params.filter.as_deref().cloned();
    let always = |condition: &Expr| {
        matches!(
            condition,
            Expr::Literal(ScalarValue::Boolean(Some(true)), _)
        )
    };
    filter
        .into_iter()
        .chain(conditions)
        .filter(|condition| !always(condition))
        .reduce(Expr::and)
}
