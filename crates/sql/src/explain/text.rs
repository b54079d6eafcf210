//! The circuit as indented text: each view's operators, inputs below the operator that reads them.

use std::collections::HashSet;

use highwater_circuit::plan::{NodeIndex, OperatorSpec, Plan};

use super::{short_id, summary, write_text};

/// One tree per view. An operator that was shown before is only named again.
pub fn explain_text(plan: &Plan) -> String {
    let mut text = String::new();
    for table in &plan.tables {
        let kind = if table.contents.is_some() {
            "materialized "
        } else {
            ""
        };
        let columns: Vec<_> = table
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect();
        let name = &table.name;
        write_text(
            &mut text,
            format_args!("{kind}table {name} ({})\n", columns.join(", ")),
        );
    }
    let mut shown = HashSet::new();
    for view in &plan.views {
        let kind = if view.contents.is_some() {
            "materialized "
        } else {
            ""
        };
        write_text(&mut text, format_args!("\n{kind}view {}\n", view.name));
        write_tree(plan, view.node, 1, &mut shown, &mut text);
    }
    text
}

fn write_tree(
    plan: &Plan,
    index: NodeIndex,
    depth: usize,
    shown: &mut HashSet<NodeIndex>,
    text: &mut String,
) {
    let node = &plan.nodes[index.0];
    let indent = "  ".repeat(depth);
    let id = short_id(node);
    let is_table = matches!(node.operator, OperatorSpec::Table { .. });
    if !shown.insert(index) && !is_table {
        let name = node.operator.name();
        write_text(text, format_args!("{indent}{id} {name} (see above)\n"));
        return;
    }
    write_text(
        text,
        format_args!("{indent}{id} {}\n", summary(plan, index)),
    );
    for &input in &node.inputs {
        write_tree(plan, input, depth + 1, shown, text);
    }
}
