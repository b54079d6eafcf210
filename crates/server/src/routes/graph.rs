//! `/dataflow_graph`: the circuit as JSON, or as a picture.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use highwater_circuit::plan::{NodeIndex, OperatorSpec, Plan};
use highwater_types::error::ErrorResponse;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::state::ServerState;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct GraphParams {
    /// `json` (default), `svg`, `dot` or `text`.
    format: Option<String>,
}

/// The operators that keep the views right, and how they are connected.
#[utoipa::path(get, path = "/dataflow_graph", tag = "Pipeline", params(GraphParams), responses(
    (status = 200, content((Object = "application/json"), (String = "image/svg+xml"), (String = "text/vnd.graphviz"), (String = "text/plain"))),
    (status = 400, description = "`InvalidParam`: unknown format", body = ErrorResponse),
))]
pub(crate) async fn graph(
    State(state): State<ServerState>,
    Params(params): Params<GraphParams>,
) -> ApiResult<Response> {
    let plan = &state.program.plan;
    let typed = |content_type: &'static str, text: String| {
        ([(header::CONTENT_TYPE, content_type)], text).into_response()
    };
    match params.format.as_deref() {
        None | Some("json") => Ok(Json(graph_json(plan)).into_response()),
        Some("svg") => Ok(typed("image/svg+xml", highwater_sql::explain_svg(plan))),
        Some("dot") => Ok(typed("text/vnd.graphviz", highwater_sql::explain_dot(plan))),
        Some("text") => Ok(typed("text/plain", highwater_sql::explain_text(plan))),
        Some(other) => Err(ApiError::invalid(format!(
            "unknown graph format `{other}`; known are `json`, `svg`, `dot`, `text`"
        ))),
    }
}

fn graph_json(plan: &Plan) -> Value {
    let nodes = plan.nodes.iter().enumerate().map(|(index, node)| {
        let columns = node
            .schema
            .fields()
            .iter()
            .map(|field| json!({"name": field.name(), "type": field.data_type().to_string()}));
        json!({
            "index": index,
            "id": node.id.to_string(),
            "operator": operator_name(&node.operator),
            "label": node.label,
            "inputs": indices(&node.inputs),
            "columns": columns.collect::<Vec<_>>(),
        })
    });
    let tables = plan.tables.iter().map(|table| {
        json!({
            "name": table.name,
            "node": table.node.0,
            "primary_key": table.primary_key,
            "contents": table.contents.map(|node| node.0),
        })
    });
    let views = plan.views.iter().map(|view| {
        json!({
            "name": view.name,
            "node": view.node.0,
            "contents": view.contents.map(|node| node.0),
        })
    });
    json!({
        "nodes": nodes.collect::<Vec<_>>(),
        "tables": tables.collect::<Vec<_>>(),
        "views": views.collect::<Vec<_>>(),
    })
}

fn indices(nodes: &[NodeIndex]) -> Vec<usize> {
    nodes.iter().map(|node| node.0).collect()
}

fn operator_name(operator: &OperatorSpec) -> &'static str {
    match operator {
        OperatorSpec::Table { .. } => "table",
        OperatorSpec::Constant { .. } => "constant",
        OperatorSpec::Map { .. } => "map",
        OperatorSpec::FlatMap { .. } => "flat_map",
        OperatorSpec::Union => "union",
        OperatorSpec::Negate => "negate",
        OperatorSpec::Exchange { .. } => "exchange",
        OperatorSpec::Consolidate => "consolidate",
        OperatorSpec::Arrange { .. } => "arrange",
        OperatorSpec::Join { .. } => "join",
        OperatorSpec::SemiJoin { .. } => "semi_join",
        OperatorSpec::SetOperation { .. } => "set_operation",
        OperatorSpec::PartialAggregate { .. } => "partial_aggregate",
        OperatorSpec::Aggregate { .. } => "aggregate",
        OperatorSpec::TopK { .. } => "top_k",
        OperatorSpec::Window { .. } => "window",
        OperatorSpec::SingleRow => "single_row",
    }
}
