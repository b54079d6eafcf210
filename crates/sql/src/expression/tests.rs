//! Expressions over small batches: values, laziness, errors, fingerprints.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use datafusion::prelude::SessionContext;

use super::{Scope, scalar};
use crate::planner::session::session_config;

fn rows() -> RecordBatch {
    let decimals = Decimal128Array::from(vec![Some(10_i128.pow(38) - 1), Some(1), None])
        .with_precision_and_scale(38, 0)
        .unwrap();
    RecordBatch::try_from_iter([
        (
            "a",
            Arc::new(Int32Array::from(vec![Some(7), Some(8), None])) as ArrayRef,
        ),
        (
            "b",
            Arc::new(Int32Array::from(vec![Some(0), Some(2), Some(3)])) as ArrayRef,
        ),
        (
            "s",
            Arc::new(StringArray::from(vec![Some("1"), Some("x"), None])) as ArrayRef,
        ),
        (
            "x",
            Arc::new(Float64Array::from(vec![Some(1.0), Some(-1.0), None])) as ArrayRef,
        ),
        (
            "big",
            Arc::new(Int64Array::from(vec![i64::MIN, 5, i64::MAX])) as ArrayRef,
        ),
        ("d", Arc::new(decimals) as ArrayRef),
    ])
    .unwrap()
}

/// A typed expression, as the analyzer leaves it.
fn parse(text: &str) -> (Expr, DFSchema) {
    let schema = DFSchema::try_from(rows().schema().as_ref().clone()).unwrap();
    let context = SessionContext::new_with_config(session_config());
    let expr = context.parse_sql_expr(text, &schema).unwrap();
    let properties = datafusion::logical_expr::simplify::SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .build();
    let simplifier = datafusion::optimizer::simplify_expressions::ExprSimplifier::new(properties);
    (simplifier.coerce(expr, &schema).unwrap(), schema)
}

fn evaluate(text: &str) -> Result<ArrayRef, String> {
    let (expr, schema) = parse(text);
    let expression = scalar(&expr, Scope::of(&schema)).unwrap();
    let result = expression.evaluate(&rows()).map_err(|error| error.message);
    if let Ok(array) = &result {
        assert_eq!(array.data_type(), &expression.data_type(), "{text}");
        assert_eq!(array.len(), 3, "{text}");
    }
    result
}

fn fingerprint(text: &str) -> String {
    let (expr, schema) = parse(text);
    scalar(&expr, Scope::of(&schema))
        .unwrap()
        .fingerprint()
        .to_owned()
}

#[test]
fn guards_keep_divisions_from_zeros() {
    let quotient = evaluate("CASE WHEN b <> 0 THEN a / b END").unwrap();
    let quotient: Vec<_> = quotient.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(quotient, [None, Some(4), None]);
    for text in [
        "b <> 0 AND a / b > 3",
        "a / b > 3 AND b <> 0",
        "NOT (b = 0 OR a / b <= 3)",
        "b = 0 AND false OR b <> 0 AND a / b > 3",
    ] {
        let truth = evaluate(text).unwrap();
        let expected = BooleanArray::from(vec![Some(false), Some(true), None]);
        assert_eq!(truth.as_boolean(), &expected, "{text}");
    }
    let value = evaluate("CASE WHEN b = 0 THEN 0 WHEN a % b = 0 THEN 1 ELSE 10 / b END").unwrap();
    assert_eq!(value.len(), 3);
}

#[test]
fn failures_name_the_operation() {
    for (text, expected) in [
        ("a / b", "division by zero in a / b"),
        ("a % b", "division by zero in a % b"),
        ("big - 1", "integer overflow in big - 1"),
        ("big + 1", "integer overflow in big + 1"),
        ("big * 2", "integer overflow in big * 2"),
        ("- big", "overflow in - big"),
        ("d + 1", "decimal overflow in"),
        ("d * 10", "decimal overflow in"),
        ("CAST(a AS DECIMAL(5, 2)) / 0", "division by zero in"),
        (
            "CAST(s AS INT)",
            "Cannot cast string 'x' to value of Int32 type",
        ),
        (
            "CAST(big AS INT)",
            "Can't cast value -9223372036854775808 to type Int32",
        ),
        ("1 + a / b", "division by zero in a / b"),
    ] {
        let message = evaluate(text).expect_err(text);
        assert!(message.contains(expected), "{text}: {message}");
    }
}

#[test]
fn floats_follow_ieee() {
    let quotient = evaluate("x / CAST(0 AS DOUBLE)").unwrap();
    let quotient: Vec<_> = quotient.as_primitive::<Float64Type>().iter().collect();
    assert_eq!(
        quotient,
        [Some(f64::INFINITY), Some(f64::NEG_INFINITY), None]
    );
}

#[test]
fn the_smallest_integer_modulo_minus_one_is_zero() {
    let remainder = evaluate("big % CAST(-1 AS BIGINT)").unwrap();
    assert_eq!(remainder.as_primitive::<Int64Type>().value(0), 0);
}

#[test]
fn three_valued_logic() {
    let truth = |text: &str| {
        evaluate(text)
            .unwrap()
            .as_boolean()
            .iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(truth("a > 7 AND b > 1"), [Some(false), Some(true), None]);
    assert_eq!(
        truth("a > 7 OR b > 2"),
        [Some(false), Some(true), Some(true)]
    );
    assert_eq!(truth("a IN (7, NULL)"), [Some(true), None, None]);
    assert_eq!(truth("a NOT IN (7, NULL)"), [Some(false), None, None]);
    assert_eq!(
        truth("a IS DISTINCT FROM NULL"),
        [Some(true), Some(true), Some(false)]
    );
}

#[test]
fn fingerprints_tell_types_and_operands_apart() {
    assert_eq!(fingerprint("a + b"), "(#0 + #1)");
    assert_eq!(
        fingerprint("b > 1 AND s = 'b'"),
        "((cast as Int64(#1) > Int64(1)) AND (#2 = Utf8(\"b\")))"
    );
    let texts = [
        "a + b",
        "a - b",
        "CAST(a AS BIGINT)",
        "CAST(a AS SMALLINT)",
        "s = 'a'",
        "a IN (1, 2)",
        "a NOT IN (1, 2)",
        "s LIKE 'a'",
        "s NOT LIKE 'a'",
        "s ILIKE 'a'",
        "CASE WHEN a > 1 THEN b END",
        "CASE a WHEN 1 THEN b END",
        "CASE a WHEN 1 THEN b ELSE 2 END",
        "upper(s)",
        "lower(s)",
        "a IS NULL",
        "a IS NOT NULL",
        "- a",
        "NOT a > 1",
        "make_array('a, b')",
        "make_array('a', 'b')",
        "make_array(make_array('a'), make_array('b'))",
        "named_struct('x', 'a', 'y', 'b')",
        "named_struct('x', 'a', 'z', 'b')",
        "named_struct('x', 1)",
        "named_struct('x', CAST(1 AS INT))",
    ];
    let mut fingerprints: Vec<_> = texts.iter().map(|text| fingerprint(text)).collect();
    fingerprints.sort();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), texts.len(), "{fingerprints:#?}");
}

#[test]
fn columns_and_constants() {
    let (expr, schema) = parse("b");
    let expression = scalar(&expr, Scope::at(&schema, &[5, 9, 2, 3, 4, 1])).unwrap();
    assert_eq!(expression.as_column(), Some(9));
    assert_eq!(expression.data_type(), DataType::Int32);
    assert_eq!(fingerprint("1 + 2 * 3"), "Int64(7)");
    let (expr, schema) = parse("a + b");
    let moved = scalar(&expr, Scope::at(&schema, &[4, 2, 0, 0, 0, 0])).unwrap();
    assert_eq!(moved.fingerprint(), "(#4 + #2)");
}

#[test]
fn a_constant_that_fails_fails_only_when_needed() {
    assert_eq!(
        evaluate("1 / 0").expect_err("a value"),
        "division by zero in 1 / 0"
    );
    let guarded = evaluate("CASE WHEN a > 100 THEN 1 / 0 ELSE 5 END").unwrap();
    assert_eq!(guarded.len(), 3);
}
