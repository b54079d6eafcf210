//! A common table expression that is used more than once becomes a relation of its own.
//!
//! DataFusion plans it anew for each use and then optimizes the copies apart, so that their state
//! would be kept twice. Only the outermost `WITH` is looked at; inner ones are rarely shared.

use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::{
    Cte, Ident, ObjectName, Query, SelectItem, SetExpr, TableFactor, TableWithJoins, Visit,
    Visitor, WildcardAdditionalOptions, With,
};

use crate::catalog::CatalogRelation;
use crate::column_type::storable;
use crate::planner::guard::normalized;
use crate::planner::syntax::{self, empty_query};
use crate::planner::{Planner, SharedRelations};

/// Plans the shared expressions of `query`, which then reads them as relations.
pub(crate) fn share(
    planner: &Planner<'_>,
    query: &mut Query,
    view_name: &str,
) -> (Vec<(String, LogicalPlan)>, SharedRelations) {
    let mut plans = Vec::new();
    let mut relations = SharedRelations::new();
    let Some(with) = query.with.clone() else {
        return (plans, relations);
    };
    let mut ctes: Vec<Cte> = Vec::with_capacity(with.cte_tables.len());
    for cte in &with.cte_tables {
        let mut cte = cte.clone();
        let name = normalized(&cte.alias.name);
        if count_uses(query, &name) > 1 {
            let shared_name = format!("{view_name}.{name}");
            let standalone = with_preceding(&with, &ctes, &cte);
            if planner.catalog.relation(&shared_name).is_none()
                && let Some(plan) = plan_shared(planner, standalone, &relations)
            {
                let schema = Arc::new(plan.schema().as_arrow().clone());
                relations.insert(shared_name.clone(), Arc::new(CatalogRelation { schema }));
                cte.query = select_all(&shared_name);
                plans.push((shared_name, plan));
            }
        }
        ctes.push(cte);
    }
    query.with = Some(With {
        cte_tables: ctes,
        ..with
    });
    (plans, relations)
}

/// The plan of a shared expression; nothing if it cannot be a relation, be it that it has mistakes
/// (they show when it is planned in its place) or columns of one name.
fn plan_shared(
    planner: &Planner<'_>,
    query: Query,
    relations: &SharedRelations,
) -> Option<LogicalPlan> {
    let plan = planner.plan_query(query, relations).ok()?;
    let fields = plan.schema().fields();
    let is_storable = |index: usize| {
        let field = &fields[index];
        storable(field.data_type()).as_ref() == Some(field.data_type())
            && fields[..index]
                .iter()
                .all(|other| other.name() != field.name())
    };
    if !(0..fields.len()).all(is_storable) {
        return None;
    }
    planner.optimize(plan).ok()
}

/// `WITH` the expressions before it, the expression's query.
fn with_preceding(with: &With, preceding: &[Cte], cte: &Cte) -> Query {
    let with = (!preceding.is_empty()).then(|| With {
        cte_tables: preceding.to_vec(),
        ..with.clone()
    });
    Query {
        with,
        ..empty_query(SetExpr::Query(cte.query.clone()))
    }
}

fn select_all(name: &str) -> Box<Query> {
    let name = TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', name)]),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    };
    let from = vec![TableWithJoins {
        relation: name,
        joins: Vec::new(),
    }];
    let item = SelectItem::Wildcard(WildcardAdditionalOptions::default());
    Box::new(syntax::select(vec![item], from, None))
}

fn count_uses(query: &Query, name: &str) -> usize {
    struct Counter<'n> {
        name: &'n str,
        uses: usize,
    }
    impl Visitor for Counter<'_> {
        type Break = ();

        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            if let [part] = relation.0.as_slice()
                && part
                    .as_ident()
                    .is_some_and(|ident| normalized(ident) == self.name)
            {
                self.uses += 1;
            }
            ControlFlow::Continue(())
        }
    }
    let mut counter = Counter { name, uses: 0 };
    let _: ControlFlow<()> = query.visit(&mut counter);
    counter.uses
}
