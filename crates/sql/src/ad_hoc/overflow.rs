//! Overflow is an error in ad-hoc queries too: DataFusion's batch engine would wrap around.
//!
//! An optimizer rule, because what it replaces stands in every kind of plan node. It is the last
//! one, so that the others see arithmetic that they know; all of its results are fixed points.
//! - `+ - *` and unary minus of integers and decimals become functions around the expressions that
//!   views use. Division and modulo fail by themselves.
//! - `SUM` of integers is taken as a decimal, which holds 2^63 summands of 64 bits, and cast back.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, exec_err};
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunctionDefinition};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions as physical;

use crate::expression::checked::arithmetic::Arithmetic;
use crate::expression::checked::negation::Negation;

/// Digits of the largest 64-bit integer; `SUM` adds ten, so that a sum has 30.
const INTEGER_DIGITS: u8 = 20;

/// The rule.
#[derive(Debug)]
pub(crate) struct CheckOverflow;

impl OptimizerRule for CheckOverflow {
    fn name(&self) -> &str {
        "check_overflow"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let schema = match &plan {
            LogicalPlan::TableScan(scan) => DFSchema::clone(&scan.projected_schema),
            _ => merge_schema(&plan.inputs()),
        };
        let original = Arc::clone(plan.schema());
        let names = NamePreserver::new(&plan);
        let mut wide_sums = false;
        let plan = plan.map_expressions(|expression| {
            let name = names.save(&expression);
            let checked = expression.transform_up(|part| {
                let wide = wide_sum(part, &schema)?;
                wide_sums |= wide.transformed;
                wide.transform_data(|part| checked(part, &schema))
            })?;
            Ok(checked.update_data(|expression| name.restore(expression)))
        })?;
        match wide_sums {
            true => Ok(Transformed::yes(narrow_sums(
                plan.data.recompute_schema()?,
                &original,
            )?)),
            false => Ok(plan),
        }
    }
}

/// `SUM` of a 64-bit integer (the analyzer has made one of shorter ones) as one of a decimal.
fn wide_sum(mut expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let arguments = match &mut expression {
        Expr::AggregateFunction(call) if call.func.name() == "sum" => &mut call.params.args,
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) if function.name() == "sum" => {
                &mut call.params.args
            }
            _ => return Ok(Transformed::no(expression)),
        },
        _ => return Ok(Transformed::no(expression)),
    };
    match &arguments[..] {
        [argument] if argument.get_type(schema)?.is_integer() => {
            let wide = DataType::Decimal128(INTEGER_DIGITS, 0);
            *arguments = vec![cast(argument.clone(), wide)];
            Ok(Transformed::yes(expression))
        }
        _ => Ok(Transformed::no(expression)),
    }
}

/// Casts the decimal sums of an aggregate or window back to the integers that they were.
fn narrow_sums(plan: LogicalPlan, original: &DFSchema) -> Result<LogicalPlan> {
    // An aggregate's and a window's calls are their last columns.
    let calls = match &plan {
        LogicalPlan::Aggregate(aggregate) => &aggregate.aggr_expr,
        LogicalPlan::Window(window) => &window.window_expr,
        other => return exec_err!("SUM in {}", other.display()),
    };
    let before = plan.schema().fields().len() - calls.len();
    let columns = plan.schema().iter().enumerate();
    let expressions = columns.map(|(position, (relation, field))| {
        let column = Expr::Column(Column::new(relation.cloned(), field.name()));
        let is_sum = position >= before && is_wide_sum(&calls[position - before]);
        match is_sum {
            true => cast(column, original.field(position).data_type().clone())
                .alias_qualified(relation.cloned(), field.name()),
            false => column,
        }
    });
    let expressions = expressions.collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        expressions,
        Arc::new(plan),
    )?))
}

fn is_wide_sum(call: &Expr) -> bool {
    let (name, arguments) = match call {
        Expr::Alias(alias) => return is_wide_sum(&alias.expr),
        Expr::AggregateFunction(call) => (call.func.name(), &call.params.args),
        Expr::WindowFunction(call) => (call.fun.name(), &call.params.args),
        _ => return false,
    };
    let wide = DataType::Decimal128(INTEGER_DIGITS, 0);
    name == "sum" && matches!(&arguments[..], [Expr::Cast(cast)] if *cast.field.data_type() == wide)
}

/// Arithmetic that fails on overflow in place of arithmetic that does not.
fn checked(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_exact = |data_type: DataType| data_type.is_integer() || data_type.is_decimal();
    let operation = match &expression {
        Expr::BinaryExpr(BinaryExpr { op, .. })
            if matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply) =>
        {
            Operation::Binary(*op)
        }
        Expr::Negative(_) => Operation::Negation,
        _ => return Ok(Transformed::no(expression)),
    };
    if !is_exact(expression.get_type(schema)?) {
        return Ok(Transformed::no(expression));
    }
    let arguments = match expression {
        Expr::BinaryExpr(BinaryExpr { left, right, .. }) => vec![*left, *right],
        Expr::Negative(argument) => vec![*argument],
        other => return Ok(Transformed::no(other)),
    };
    let function = Checked {
        operation,
        operands: arguments
            .iter()
            .map(|a| a.human_display().to_string())
            .collect(),
        signature: Signature::any(arguments.len(), Volatility::Immutable),
    };
    let function = Arc::new(ScalarUDF::new_from_impl(function));
    let call = ScalarFunction::new_udf(function, arguments);
    Ok(Transformed::yes(Expr::ScalarFunction(call)))
}

/// An operation as a function.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    /// Their texts, for messages.
    operands: Vec<String>,
    signature: Signature,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Operation {
    Binary(Operator),
    Negation,
}

impl Checked {
    fn operand(&self, position: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(physical::Column::new(&self.operands[position], position))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Binary(Operator::Plus) => "checked_add",
            Operation::Binary(Operator::Minus) => "checked_subtract",
            Operation::Binary(_) => "checked_multiply",
            Operation::Negation => "checked_negate",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, operands: &[DataType]) -> Result<DataType> {
        match (&self.operation, operands) {
            (Operation::Binary(operator), [left, right]) => {
                BinaryTypeCoercer::new(left, operator, right).get_result_type()
            }
            (Operation::Negation, [operand]) => Ok(operand.clone()),
            _ => exec_err!("{} of {} operands", self.name(), operands.len()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&call.args)?;
        let fields = self.operands.iter().zip(&columns);
        let fields =
            fields.map(|(name, column)| Field::new(name, column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let operation: Arc<dyn PhysicalExpr> = match self.operation {
            Operation::Binary(operator) => {
                let (left, right) = (self.operand(0), self.operand(1));
                Arc::new(Arithmetic::new(left, operator, right, &schema)?)
            }
            Operation::Negation => Arc::new(Negation::new(self.operand(0))),
        };
        let is_scalar = call
            .args
            .iter()
            .all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let result = operation.evaluate(&RecordBatch::try_new(schema, columns)?)?;
        match result {
            // DataFusion expects a scalar of scalars.
            ColumnarValue::Array(array) if is_scalar => Ok(ColumnarValue::Scalar(
                datafusion::common::ScalarValue::try_from_array(&array, 0)?,
            )),
            result => Ok(result),
        }
    }
}
