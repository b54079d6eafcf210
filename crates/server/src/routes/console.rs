//! `/`: a page that shows the pipeline at work. One file, nothing from elsewhere.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use highwater_types::relation::Relation;
use serde_json::{Value, json};

use crate::state::ServerState;

const PAGE: &str = include_str!("console/page.html");

/// The page, with the program's relations written into it.
pub(crate) async fn page(State(state): State<ServerState>) -> Response {
    let describe = |relation: &Relation, kind: &str, materialized: bool| -> Value {
        json!({
            "name": relation.name,
            "kind": kind,
            "materialized": materialized,
            "columns": relation.fields.iter().map(|field| &field.name).collect::<Vec<_>>(),
        })
    };
    let definition = state.pipeline.definition();
    let relations: Vec<Value> = definition
        .relations()
        .map(|(reference, relation)| {
            let is_table = matches!(
                reference,
                highwater_circuit::dataflow::RelationRef::Table(_)
            );
            let kind = if is_table { "table" } else { "view" };
            describe(relation, kind, definition.is_materialized(reference))
        })
        .collect();
    let facts = json!({"name": &*state.name, "relations": relations});
    // Inside a script element only `<` could end it.
    let facts = facts.to_string().replace('<', "\\u003c");
    let page = PAGE.replace("/*FACTS*/null", &facts);
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}
