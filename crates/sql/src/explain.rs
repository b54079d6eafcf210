//! A circuit for people: as indented text, as Graphviz DOT and as an SVG picture.
//!
//! All three show the same: one line or box per operator, its short id, and what it computes with
//! columns by name. Names are labels that operators pass on, so they may be those of another view
//! that shares the operator.

mod dot;
mod svg;
mod text;

#[cfg(test)]
mod tests;

use std::fmt::Write;

use arrow::datatypes::SchemaRef;
use highwater_circuit::plan::{
    AggregateCall, Node, NodeIndex, OperatorSpec, Plan, Rank, SetOperation, TopKSpec,
};
use highwater_zset::{Layout, OrderColumn};

pub use self::dot::explain_dot;
pub use self::svg::explain_svg;
pub use self::text::explain_text;

/// The first digits of the operator's id: enough to find it in the statistics.
fn short_id(node: &Node) -> String {
    let id = node.id.to_string();
    id.chars().take(9).collect()
}

/// What an operator computes, on one line.
fn summary(plan: &Plan, index: NodeIndex) -> String {
    let node = &plan.nodes[index.0];
    let name = node.operator.name();
    let detail = detail(plan, node);
    match detail.is_empty() {
        true => name.to_owned(),
        false => format!("{name} {detail}"),
    }
}

fn detail(plan: &Plan, node: &Node) -> String {
    let input = |index: usize| &plan.nodes[node.inputs[index].0].schema;
    match &node.operator {
        OperatorSpec::Table { table } => plan.tables[*table].name.clone(),
        OperatorSpec::Constant { rows } => format!("{} rows", rows.len()),
        OperatorSpec::Map { filter, columns } => {
            let columns = columns
                .iter()
                .map(|column| with_names(column.fingerprint(), input(0)));
            let columns = listed(columns);
            match filter {
                None => columns,
                Some(filter) => {
                    let filter = with_names(filter.fingerprint(), input(0));
                    format!("{columns} where {filter}")
                }
            }
        }
        OperatorSpec::FlatMap { function } => function.fingerprint().to_owned(),
        OperatorSpec::Union
        | OperatorSpec::Negate
        | OperatorSpec::Consolidate
        | OperatorSpec::SingleRow => String::new(),
        OperatorSpec::Exchange { key } => format!("by {}", names(key, &node.schema)),
        OperatorSpec::Arrange { layout } => arrangement(layout),
        OperatorSpec::Join { residual, output } => join_detail(plan, node, residual, output),
        OperatorSpec::SemiJoin { .. } => keys_of(plan, node),
        OperatorSpec::SetOperation { kind } => set_operation(*kind).to_owned(),
        OperatorSpec::PartialAggregate { group, calls } => {
            let schema = input(0);
            let calls = calls.iter().map(|call| {
                let argument = call.argument.map(|column| name_of(column, schema));
                let argument = argument.unwrap_or_else(|| "*".to_owned());
                format!("{}({argument})", function_name(&call.function))
            });
            format!("{} by {}", listed(calls), names(group, schema))
        }
        OperatorSpec::Aggregate { spec } => {
            let calls = spec.calls.iter().map(|call| match call {
                AggregateCall::Linear { function, .. } => function_name(function),
                AggregateCall::First {
                    input: from,
                    column,
                } => {
                    format!("first {}", name_of(*column, input(*from)))
                }
                AggregateCall::Group {
                    input: from,
                    function,
                } => with_names(function.fingerprint(), input(*from)),
            });
            listed(calls)
        }
        OperatorSpec::TopK { spec } => top_k(spec),
        OperatorSpec::Window { function } => with_names(function.fingerprint(), input(0)),
    }
}

fn join_detail(
    plan: &Plan,
    node: &Node,
    residual: &Option<highwater_circuit::expression::Expr>,
    output: &[usize],
) -> String {
    let fields = node
        .inputs
        .iter()
        .flat_map(|input| plan.nodes[input.0].schema.fields().iter().cloned());
    let both = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>()).into();
    let mut text = keys_of(plan, node);
    if let Some(residual) = residual {
        write_text(
            &mut text,
            format_args!(" and {}", with_names(residual.fingerprint(), &both)),
        );
    }
    write_text(&mut text, format_args!(" to {}", names(output, &both)));
    text
}

/// `on left.a = right.b, …` of an operator with two arranged inputs.
fn keys_of(plan: &Plan, node: &Node) -> String {
    let sides: Vec<Vec<String>> = node
        .inputs
        .iter()
        .map(|&input| key_names(plan, input))
        .collect();
    let pairs = sides[0].iter().zip(&sides[1]);
    let pairs: Vec<String> = pairs
        .map(|(left, right)| format!("{left} = {right}"))
        .collect();
    match pairs.is_empty() {
        true => "without key".to_owned(),
        false => format!("on {}", pairs.join(", ")),
    }
}

fn key_names(plan: &Plan, input: NodeIndex) -> Vec<String> {
    let node = &plan.nodes[input.0];
    let key = match &node.operator {
        OperatorSpec::Arrange { layout } => &layout.key,
        OperatorSpec::Table { table } => &plan.tables[*table].primary_key,
        _ => return Vec::new(),
    };
    key.iter()
        .map(|&column| name_of(column, &node.schema))
        .collect()
}

fn arrangement(layout: &Layout) -> String {
    let mut text = format!("by {}", names(&layout.key, &layout.schema));
    if layout.is_ordered() {
        let order = layout
            .order
            .iter()
            .map(|column| order_name(column, &layout.schema));
        write_text(&mut text, format_args!(" ordered by {}", listed(order)));
    }
    text
}

fn order_name(column: &OrderColumn, schema: &SchemaRef) -> String {
    let direction = if column.options.descending {
        " desc"
    } else {
        ""
    };
    let is_default = column.options.nulls_first == column.options.descending;
    let nulls = match (is_default, column.options.nulls_first) {
        (true, _) => "",
        (false, true) => " nulls first",
        (false, false) => " nulls last",
    };
    format!("{}{direction}{nulls}", name_of(column.column, schema))
}

fn set_operation(kind: SetOperation) -> &'static str {
    match kind {
        SetOperation::Distinct => "distinct",
        SetOperation::Except => "except",
        SetOperation::ExceptAll => "except all",
        SetOperation::Intersect => "intersect",
        SetOperation::IntersectAll => "intersect all",
    }
}

fn top_k(spec: &TopKSpec) -> String {
    let rank = match spec.rank {
        Rank::RowNumber => "rows",
        Rank::Rank => "ranks",
        Rank::DenseRank => "dense ranks",
    };
    let last = spec.offset.saturating_add(spec.fetch);
    format!("{rank} {} to {last}", spec.offset + 1)
}

/// `Sum` of `Sum { argument: Int64, … }`.
fn function_name(function: &highwater_circuit::plan::LinearFunction) -> String {
    let text = format!("{function:?}");
    let end = text.find(|letter: char| !letter.is_alphanumeric());
    text[..end.unwrap_or(text.len())].to_lowercase()
}

fn listed(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn names(columns: &[usize], schema: &SchemaRef) -> String {
    listed(columns.iter().map(|&column| name_of(column, schema)))
}

/// A column's name; one that is itself an expression over positions says nothing here.
fn name_of(column: usize, schema: &SchemaRef) -> String {
    match schema.fields().get(column) {
        Some(field) if !field.name().is_empty() && !field.name().contains('#') => {
            field.name().clone()
        }
        _ => format!("#{column}"),
    }
}

/// Puts names for the positions `#0`, `#1`, … of a fingerprint.
fn with_names(fingerprint: &str, schema: &SchemaRef) -> String {
    let mut text = String::with_capacity(fingerprint.len());
    let mut rest = fingerprint;
    while let Some(start) = rest.find('#') {
        text.push_str(&rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.find(|letter: char| !letter.is_ascii_digit());
        let end = end.unwrap_or(rest.len());
        match rest[..end].parse() {
            Ok(column) => text.push_str(&name_of(column, schema)),
            Err(_) => text.push('#'),
        }
        rest = &rest[end..];
    }
    text.push_str(rest);
    text
}

fn write_text(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments)
        .expect("writing to a string cannot fail");
}
