//! The text that names an expression: equal texts compute the same from the same rows.
//!
//! DataFusion's own `Display` will not do: it shows column names, which are labels here, and hides
//! the types of literals. The text goes into operator ids, so changing it makes every pipeline
//! rebuild the state of the operators concerned.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, InListExpr, IsNotNullExpr, IsNullExpr, LikeExpr,
    Literal, NotExpr, TryCastExpr,
};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use super::checked::arithmetic::Arithmetic;
use super::checked::logic::LazyConnective;
use super::checked::negation::Negation;

/// The expression as a term `head(operands)`, with columns by position.
pub(crate) fn fingerprint(physical: &dyn PhysicalExpr) -> String {
    let mut text = String::new();
    write_term(physical, &mut text);
    text
}

fn write_term(physical: &dyn PhysicalExpr, text: &mut String) {
    if let Some(column) = physical.downcast_ref::<Column>() {
        write_text(text, format_args!("#{}", column.index()));
    } else if let Some(literal) = physical.downcast_ref::<Literal>() {
        write_literal(literal.value(), text);
    } else if let Some(operator) = infix_operator(physical) {
        let operands = physical.children();
        text.push('(');
        write_term(operands[0].as_ref(), text);
        write_text(text, format_args!(" {operator} "));
        write_term(operands[1].as_ref(), text);
        text.push(')');
    } else {
        text.push_str(&head(physical));
        text.push('(');
        for (index, operand) in physical.children().into_iter().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            write_term(operand.as_ref(), text);
        }
        text.push(')');
    }
}

/// DataFusion's text of a value neither escapes strings nor tells `['a, b']` from `['a', 'b']`.
fn write_literal(value: &ScalarValue, text: &mut String) {
    let data_type = value.data_type();
    if value.is_null() || !data_type.is_nested() {
        return match value.try_as_str() {
            Some(Some(string)) => write_text(text, format_args!("{data_type}({string:?})")),
            _ => write_text(text, format_args!("{value:?}")),
        };
    }
    write_text(text, format_args!("{data_type}("));
    match value.to_array() {
        Ok(array) => write_parts(&array, text),
        Err(_) => write_text(text, format_args!("{value:?}")),
    }
    text.push(')');
}

/// The parts of a nested value, which is the only one of the array.
fn write_parts(array: &ArrayRef, text: &mut String) {
    let parts: Vec<ArrayRef> = match array.data_type() {
        DataType::List(_) => vec![array.as_list::<i32>().value(0)],
        DataType::LargeList(_) => vec![array.as_list::<i64>().value(0)],
        DataType::FixedSizeList(..) => vec![array.as_fixed_size_list().value(0)],
        DataType::Map(..) => array.as_map().value(0).columns().to_vec(),
        DataType::Struct(_) => array.as_struct().columns().to_vec(),
        _ => {
            write_text(text, format_args!("{array:?}"));
            return;
        }
    };
    for part in parts {
        text.push('[');
        for row in 0..part.len() {
            match ScalarValue::try_from_array(&part, row) {
                Ok(value) => write_literal(&value, text),
                Err(error) => write_text(text, format_args!("{error}")),
            }
            text.push(' ');
        }
        text.push(']');
    }
}

fn write_text(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}

fn infix_operator(physical: &dyn PhysicalExpr) -> Option<String> {
    if let Some(binary) = physical.downcast_ref::<BinaryExpr>() {
        return Some(binary.op().to_string());
    }
    if let Some(arithmetic) = physical.downcast_ref::<Arithmetic>() {
        return Some(arithmetic.operator().to_string());
    }
    let connective = physical.downcast_ref::<LazyConnective>()?;
    Some(connective.name().to_owned())
}

/// Everything about the expression but its operands.
fn head(physical: &dyn PhysicalExpr) -> String {
    if let Some(function) = physical.downcast_ref::<ScalarFunctionExpr>() {
        return format!("{} as {}", function.name(), function.return_type());
    }
    if let Some(cast) = physical.downcast_ref::<CastExpr>() {
        return format!("cast as {}", cast.cast_type());
    }
    if let Some(cast) = physical.downcast_ref::<TryCastExpr>() {
        return format!("try_cast as {}", cast.cast_type());
    }
    if let Some(case) = physical.downcast_ref::<CaseExpr>() {
        let subject = if case.expr().is_some() { " of" } else { "" };
        let other = if case.else_expr().is_some() {
            " else"
        } else {
            ""
        };
        return format!("case{subject} {}{other} ", case.when_then_expr().len());
    }
    if let Some(list) = physical.downcast_ref::<InListExpr>() {
        return if list.negated() { "not in" } else { "in" }.to_owned();
    }
    if let Some(like) = physical.downcast_ref::<LikeExpr>() {
        let negated = if like.negated() { "not " } else { "" };
        let kind = if like.case_insensitive() {
            "ilike"
        } else {
            "like"
        };
        return format!("{negated}{kind}");
    }
    let unary = [
        (physical.downcast_ref::<Negation>().is_some(), "-"),
        (physical.downcast_ref::<NotExpr>().is_some(), "not"),
        (physical.downcast_ref::<IsNullExpr>().is_some(), "is null"),
        (
            physical.downcast_ref::<IsNotNullExpr>().is_some(),
            "is not null",
        ),
    ];
    match unary.iter().find(|(is_kind, _)| *is_kind) {
        Some((_, name)) => (*name).to_owned(),
        None => physical.to_string(),
    }
}
