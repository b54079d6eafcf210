use super::*;

fn schema(names: &[&str]) -> SchemaRef {
    let fields: Vec<_> = names
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, true))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Views of `left`'s columns (by position, the first is the key) joined with a keyed table.
fn plan_of(views: &[&[usize]]) -> Plan {
    let mut builder = PlanBuilder::new(RowHasher::new(1));
    let left = builder.table("l", &schema(&["k", "a", "b"]), vec![], false, "");
    let right = builder.table("r", &schema(&["k", "v"]), vec![0], true, "");
    for (number, columns) in views.iter().enumerate() {
        let picked = builder.select(left, columns);
        let key = columns
            .iter()
            .position(|&column| column == 0)
            .expect("a key");
        let width = columns.len();
        let options = JoinOptions {
            residual: None,
            output: Some((0..width).chain([width + 1]).collect()),
        };
        let joined = builder.join(picked, right, &[(key, 0)], options);
        builder.view(&format!("v{number}"), joined, false);
    }
    builder.finish()
}

fn count(plan: &Plan, name: &str) -> usize {
    plan.nodes
        .iter()
        .filter(|node| node.operator.name() == name)
        .count()
}

#[test]
fn a_join_of_fewer_columns_moves_into_a_wider_one() {
    let plan = plan_of(&[&[0], &[2, 0, 1], &[0, 2]]);
    assert_eq!((count(&plan, "join"), count(&plan, "arrange")), (1, 1));
    for (index, node) in plan.nodes.iter().enumerate() {
        assert!(node.inputs.iter().all(|input| input.0 < index), "rule P2");
    }
    let types: Vec<usize> = plan
        .views
        .iter()
        .map(|view| plan.nodes[view.node.0].schema.fields().len())
        .collect();
    assert_eq!(types, [2, 4, 3]);
}

#[test]
fn no_join_moves_where_more_would_be_stored() {
    let plan = plan_of(&[&[0, 1], &[0, 2]]);
    assert_eq!((count(&plan, "join"), count(&plan, "arrange")), (2, 2));
}

#[test]
fn state_keeps_its_id_whatever_other_views_there_are() {
    let [alone, together] = [plan_of(&[&[0, 1]]), plan_of(&[&[0], &[0, 1, 2], &[0, 1]])];
    assert_eq!(count(&together, "join"), 1);
    let [last_alone, last_together] = [&alone.views[0], &together.views[2]];
    let id = |plan: &Plan, view: &ViewDefinition| plan.nodes[view.node.0].id;
    assert_eq!(id(&alone, last_alone), id(&together, last_together));
}
