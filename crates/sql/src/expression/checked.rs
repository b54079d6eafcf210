//! Makes physical expressions safe: no silent overflow, no evaluation of rows that a guard excludes.

pub(crate) mod arithmetic;
pub(crate) mod logic;
pub(crate) mod negation;

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NegativeExpr, NotExpr, TryCastExpr,
};

use self::arithmetic::Arithmetic;
use self::logic::{Connective, LazyConnective};
use self::negation::Negation;

/// The same expression, with arithmetic that fails on overflow and connectives that do not
/// evaluate an operand for a row whose value is decided without it, if the operand may fail.
pub(crate) fn checked(
    physical: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let safe = physical.transform_up(|node| {
        if let Some(binary) = node.downcast_ref::<BinaryExpr>() {
            return checked_binary(binary, schema);
        }
        if let Some(negative) = node.downcast_ref::<NegativeExpr>() {
            let negation = Negation::new(negative.arg().clone());
            return Ok(Transformed::yes(Arc::new(negation) as _));
        }
        Ok(Transformed::no(node))
    })?;
    Ok(safe.data)
}

fn checked_binary(
    binary: &BinaryExpr,
    schema: &Schema,
) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    let (left, right) = (binary.left().clone(), binary.right().clone());
    let connective = match binary.op() {
        Operator::Plus
        | Operator::Minus
        | Operator::Multiply
        | Operator::Divide
        | Operator::Modulo => {
            let arithmetic = Arithmetic::new(left, *binary.op(), right, schema)?;
            return Ok(Transformed::yes(Arc::new(arithmetic)));
        }
        Operator::And => Connective::And,
        Operator::Or => Connective::Or,
        _ => return Ok(Transformed::no(Arc::new(binary.clone()))),
    };
    let fails = |operand: &Arc<dyn PhysicalExpr>| may_fail(operand.as_ref(), schema);
    Ok(match (fails(&left), fails(&right)) {
        (false, false) => Transformed::no(Arc::new(binary.clone())),
        // AND and OR commute, so the safe operand goes first and guards the other one.
        (true, false) => Transformed::yes(Arc::new(LazyConnective::new(right, connective, left))),
        _ => Transformed::yes(Arc::new(LazyConnective::new(left, connective, right))),
    })
}

/// False if the expression has a value for every row, whatever the row.
fn may_fail(physical: &dyn PhysicalExpr, schema: &Schema) -> bool {
    let is_total = physical.downcast_ref::<Column>().is_some()
        || physical.downcast_ref::<Literal>().is_some()
        || physical.downcast_ref::<IsNullExpr>().is_some()
        || physical.downcast_ref::<IsNotNullExpr>().is_some()
        || physical.downcast_ref::<NotExpr>().is_some()
        || physical.downcast_ref::<InListExpr>().is_some()
        || physical.downcast_ref::<LikeExpr>().is_some()
        || physical.downcast_ref::<CaseExpr>().is_some()
        || physical.downcast_ref::<TryCastExpr>().is_some()
        || physical.downcast_ref::<LazyConnective>().is_some()
        || physical
            .downcast_ref::<CastExpr>()
            .is_some_and(|cast| is_lossless(cast, schema))
        || physical
            .downcast_ref::<BinaryExpr>()
            .is_some_and(|binary| is_comparison_or_connective(*binary.op()));
    !is_total
        || physical
            .children()
            .iter()
            .any(|child| may_fail(child.as_ref(), schema))
}

fn is_comparison_or_connective(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::And
            | Operator::Or
            | Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq
            | Operator::IsDistinctFrom
            | Operator::IsNotDistinctFrom
    )
}

/// True if every value has its like in the cast's type.
fn is_lossless(cast: &CastExpr, schema: &Schema) -> bool {
    let Ok(from) = cast.expr().data_type(schema) else {
        return false;
    };
    let to = cast.cast_type();
    match (&from, to) {
        (from, DataType::Utf8) => from.is_numeric() || from == &DataType::Boolean,
        (DataType::Float32, DataType::Float64) => true,
        (from, to) if from.is_integer() && to.is_floating() => true,
        (from, to) if from.is_integer() && to.is_integer() => holds_integer(from, to),
        (
            DataType::Decimal128(precision, scale),
            DataType::Decimal128(wide_precision, wide_scale),
        ) => {
            let integer_digits =
                |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
            scale <= wide_scale
                && integer_digits(precision, scale) <= integer_digits(wide_precision, wide_scale)
        }
        _ => false,
    }
}

fn holds_integer(from: &DataType, to: &DataType) -> bool {
    let bits = |data_type: &DataType| data_type.primitive_width().unwrap_or(0) * 8;
    match (from.is_signed_integer(), to.is_signed_integer()) {
        (true, false) => false,
        (false, true) => bits(from) < bits(to),
        _ => bits(from) <= bits(to),
    }
}
