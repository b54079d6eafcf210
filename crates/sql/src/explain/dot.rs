//! The circuit in the language of Graphviz.

use highwater_circuit::plan::{NodeIndex, Plan};

use super::{short_id, summary, write_text};

/// A directed graph from the tables (top) to the views (bottom).
pub fn explain_dot(plan: &Plan) -> String {
    let mut text =
        String::from("digraph circuit {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (index, node) in plan.nodes.iter().enumerate() {
        let label = format!("{}\n{}", summary(plan, NodeIndex(index)), short_id(node));
        let label = quoted(&label);
        write_text(&mut text, format_args!("  n{index} [label={label}];\n"));
        for input in &node.inputs {
            write_text(&mut text, format_args!("  n{} -> n{index};\n", input.0));
        }
    }
    for (index, view) in plan.views.iter().enumerate() {
        let label = quoted(&format!("view {}", view.name));
        write_text(
            &mut text,
            format_args!("  v{index} [label={label}, shape=ellipse];\n"),
        );
        write_text(&mut text, format_args!("  n{} -> v{index};\n", view.node.0));
    }
    text.push_str("}\n");
    text
}

fn quoted(label: &str) -> String {
    let escaped = label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("\"{escaped}\"")
}
