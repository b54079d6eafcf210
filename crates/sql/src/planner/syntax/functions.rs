//! Calls of the program's functions become their bodies.
//!
//! `f(a)` becomes `CAST(body AS result)` with `CAST(a AS type)` for each parameter. A parameter
//! that occurs twice is computed once later on, by common subexpression elimination.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Spanned, VisitMut,
    VisitorMut,
};

use crate::catalog::Catalog;
use crate::diagnostics::{ErrorKind, SqlError, SqlResult, position};
use crate::parser::statement::FunctionStatement;
use crate::planner::guard::normalized;
use crate::planner::syntax::{cast, single_name};

/// The body of the function that is called, if it is one of the program.
pub(crate) fn inline(call: &Function, catalog: &Catalog) -> SqlResult<Option<Expr>> {
    let Some(function) = single_name(&call.name).and_then(|name| catalog.function(&name)) else {
        return Ok(None);
    };
    let arguments = arguments(call, function)?;
    let mut body = function.body.clone();
    let parameters = function.parameters.iter().zip(arguments);
    let values = parameters
        .map(|((name, column_type), argument)| {
            (
                name.value.clone(),
                cast(CastKind::Cast, argument, column_type),
            )
        })
        .collect();
    let _: ControlFlow<()> = body.visit(&mut Substitution { values });
    let body = Expr::Nested(Box::new(body));
    Ok(Some(cast(CastKind::Cast, body, &function.result)))
}

fn arguments(call: &Function, function: &FunctionStatement) -> SqlResult<Vec<Expr>> {
    let place = position(call.name.span());
    let name = &function.name.value;
    let error = |message: String| Err(SqlError::new(ErrorKind::Planning, place, message));
    if call.over.is_some() || call.filter.is_some() || call.null_treatment.is_some() {
        return error(format!(
            "{name} is a scalar function: it has no FILTER and no OVER"
        ));
    }
    let FunctionArguments::List(list) = &call.args else {
        return error(format!("{name} needs its arguments in parentheses"));
    };
    let mut arguments = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        let FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) = argument else {
            return error(format!("{name} takes plain arguments, by position"));
        };
        arguments.push(expression.clone());
    }
    if arguments.len() != function.parameters.len() {
        return error(format!(
            "{name} takes {} arguments, but here it has {}",
            function.parameters.len(),
            arguments.len()
        ));
    }
    Ok(arguments)
}

/// Puts values for the parameters.
struct Substitution {
    values: Vec<(String, Expr)>,
}

impl Substitution {
    fn value(&self, name: &str) -> Option<&Expr> {
        self.values
            .iter()
            .find(|(parameter, _)| parameter == name)
            .map(|(_, value)| value)
    }
}

impl VisitorMut for Substitution {
    type Break = ();

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        let replacement = match expression {
            Expr::Identifier(ident) => self.value(&normalized(ident)).cloned(),
            Expr::CompoundIdentifier(parts) => {
                let root = parts
                    .first()
                    .and_then(|ident| self.value(&normalized(ident)));
                root.map(|root| Expr::CompoundFieldAccess {
                    root: Box::new(root.clone()),
                    access_chain: parts[1..].iter().map(super::field).collect(),
                })
            }
            _ => None,
        };
        if let Some(replacement) = replacement {
            *expression = Expr::Nested(Box::new(replacement));
        }
        ControlFlow::Continue(())
    }
}
