//! Integer overflow in constants: DataFusion's optimizer would compute them with wrap-around.
//!
//! A constant that overflows is refused, even if no row would ever need it.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

use crate::diagnostics::{ErrorKind, SqlError};
use crate::expression::evaluate_constant;

/// Refuses constants that overflow.
pub(crate) fn check(plan: &LogicalPlan) -> Result<()> {
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                check_constant(part)?;
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(())
}

fn check_constant(expression: &Expr) -> Result<()> {
    let is_arithmetic = match expression {
        Expr::BinaryExpr(BinaryExpr { op, .. }) => {
            matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply)
        }
        Expr::Negative(_) => true,
        _ => false,
    };
    if !is_arithmetic || !is_constant(expression)? {
        return Ok(());
    }
    let data_type = expression.get_type(&datafusion::common::DFSchema::empty())?;
    if !data_type.is_integer() {
        return Ok(());
    }
    match evaluate_constant(expression, &data_type) {
        Ok(_) => Ok(()),
        Err(error) => {
            let message = format!("this constant cannot be computed: {}", error.message);
            Err(SqlError::new(ErrorKind::Planning, Default::default(), message).into())
        }
    }
}

/// Made of literals, casts and operators only?
fn is_constant(expression: &Expr) -> Result<bool> {
    let other = expression.exists(|part| {
        Ok(!matches!(
            part,
            Expr::Literal(..)
                | Expr::BinaryExpr(_)
                | Expr::Negative(_)
                | Expr::Cast(_)
                | Expr::Alias(_)
        ))
    })?;
    Ok(!other)
}
