//! Lets a query return two columns of one name, which DataFusion does not plan.
//!
//! Repeated items of the outermost select list get other names while the query runs.

use std::collections::{HashMap, HashSet};

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr};

use crate::planner::guard::normalized;

/// The names that were given, and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Renamed {
    originals: HashMap<String, String>,
}

impl Renamed {
    pub(super) fn original<'n>(&'n self, name: &'n str) -> &'n str {
        self.originals.get(name).map_or(name, String::as_str)
    }
}

/// Renames repeated items of the select list.
pub(super) fn rename(query: &mut Query) -> Renamed {
    let mut renamed = Renamed::default();
    let SetExpr::Select(select) = query.body.as_mut() else {
        return renamed;
    };
    let mut seen = HashSet::new();
    for item in &mut select.projection {
        let (name, expression) = match item {
            SelectItem::UnnamedExpr(expression) => (column_name(expression), expression.clone()),
            SelectItem::ExprWithAlias { expr, alias } => (normalized(alias), expr.clone()),
            _ => continue,
        };
        if !seen.insert(name.clone()) {
            let alias = format!("__repeated_{}", renamed.originals.len());
            renamed.originals.insert(alias.clone(), name);
            *item = SelectItem::ExprWithAlias {
                expr: expression,
                alias: Ident::new(alias),
            };
        }
    }
    renamed
}

/// The name that an item without `AS` has.
fn column_name(expression: &Expr) -> String {
    match expression {
        Expr::Identifier(ident) => normalized(ident),
        Expr::CompoundIdentifier(parts) => parts.last().map(normalized).unwrap_or_default(),
        other => other.to_string(),
    }
}
