//! One join for all views that join the same rows by the same keys.
//!
//! Views that read different columns of a join come here as different joins, each over arrangements
//! of just the columns that it reads. State and lookups are what a join costs; a further output
//! column is cheap. So a join moves into another one of the same sources, filters and keys whose
//! arrangements have all of its columns: nothing is stored that was not stored before, and what only
//! the narrower one stored is gone.
//!
//! Joins over such joins become alike by that, so this is repeated until no join moves.
//!
//! What stands in for a join has its id, as it computes the same: so the state of everything behind
//! it is found again, whatever other views come and go.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::{node_id, select_expressions};
use crate::plan::{Node, NodeIndex, OperatorId, OperatorSpec, Plan};

/// Moves joins into wider ones; nodes that nobody reads any more are left out.
pub(super) fn share_joins(mut plan: Plan) -> Plan {
    loop {
        let moves = moves(&plan);
        if moves.is_empty() {
            return plan;
        }
        plan = Rewriter::rewrite(&plan, &moves);
    }
}

/// Which rows an arrangement holds, and by which key: columns are those of `source`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Rows {
    source: NodeIndex,
    filter: Option<String>,
    key: Vec<usize>,
}

/// An arrangement of some columns of a source.
struct Arranged {
    rows: Rows,
    /// Per column, that of the source.
    columns: Vec<usize>,
}

impl Arranged {
    fn covers(&self, other: &Self) -> bool {
        other
            .columns
            .iter()
            .all(|column| self.columns.contains(column))
    }
}

/// A join without further condition.
struct PlainJoin {
    node: NodeIndex,
    sides: [Arranged; 2],
    output: Vec<usize>,
}

impl PlainJoin {
    fn covers(&self, other: &Self) -> bool {
        let mut sides = self.sides.iter().zip(&other.sides);
        sides.all(|(wide, narrow)| wide.covers(narrow))
    }

    fn width(&self) -> usize {
        self.sides.iter().map(|side| side.columns.len()).sum()
    }

    /// The output of another join that this one covers, in terms of this one's inputs.
    fn translate(&self, other: &Self) -> Vec<usize> {
        let [left, right] = &other.sides;
        let translate = |&column: &usize| {
            let (side, offset, source) = match column.checked_sub(left.columns.len()) {
                None => (&self.sides[0], 0, left.columns[column]),
                Some(column) => (
                    &self.sides[1],
                    self.sides[0].columns.len(),
                    right.columns[column],
                ),
            };
            let position = side.columns.iter().position(|&column| column == source);
            offset + position.expect("the wider side has the column")
        };
        other.output.iter().map(translate).collect()
    }
}

/// What becomes of a join: its columns among the output of `host`, which has this output then.
struct Move {
    host: NodeIndex,
    host_output: Vec<usize>,
    columns: Vec<usize>,
}

/// By join: those that move, and those that others move into.
fn moves(plan: &Plan) -> HashMap<NodeIndex, Move> {
    let mut groups: HashMap<[Rows; 2], Vec<PlainJoin>> = HashMap::new();
    for join in (0..plan.nodes.len()).filter_map(|node| plain_join(plan, NodeIndex(node))) {
        let rows = join.sides.each_ref().map(|side| side.rows.clone());
        groups.entry(rows).or_default().push(join);
    }
    let mut moves = HashMap::new();
    for mut joins in groups.into_values() {
        // The widest first; equals in their order, so that a plan is a function of the program.
        joins.sort_by_key(|join| (Reverse(join.width()), join.node));
        while !joins.is_empty() {
            let host = joins.remove(0);
            let (guests, others) = joins.into_iter().partition(|join| host.covers(join));
            joins = others;
            add_moves(&host, guests, &mut moves);
        }
    }
    moves
}

fn add_moves(host: &PlainJoin, guests: Vec<PlainJoin>, moves: &mut HashMap<NodeIndex, Move>) {
    if guests.is_empty() {
        return;
    }
    let mut wanted = vec![(host.node, host.output.clone())];
    wanted.extend(
        guests
            .iter()
            .map(|guest| (guest.node, host.translate(guest))),
    );
    let mut host_output = Vec::new();
    for column in wanted.iter().flat_map(|(_, columns)| columns) {
        if !host_output.contains(column) {
            host_output.push(*column);
        }
    }
    for (node, columns) in wanted {
        let position = |column: &usize| host_output.iter().position(|other| other == column);
        let columns = columns.iter().filter_map(position).collect();
        let host_output = host_output.clone();
        moves.insert(
            node,
            Move {
                host: host.node,
                host_output,
                columns,
            },
        );
    }
}

fn plain_join(plan: &Plan, node: NodeIndex) -> Option<PlainJoin> {
    let Node {
        operator, inputs, ..
    } = &plan.nodes[node.0];
    let OperatorSpec::Join {
        residual: None,
        output,
    } = operator
    else {
        return None;
    };
    Some(PlainJoin {
        node,
        sides: [arranged(plan, inputs[0])?, arranged(plan, inputs[1])?],
        output: output.clone(),
    })
}

/// What an arranged node holds. `None` if rows are ordered inside a key.
fn arranged(plan: &Plan, node: NodeIndex) -> Option<Arranged> {
    let of = &plan.nodes[node.0];
    match &of.operator {
        OperatorSpec::Table { table } => Some(Arranged {
            rows: Rows {
                source: node,
                filter: None,
                key: plan.tables[*table].primary_key.clone(),
            },
            columns: (0..of.schema.fields().len()).collect(),
        }),
        OperatorSpec::Arrange { layout } if layout.order.is_empty() => {
            let exchange = &plan.nodes[of.inputs[0].0];
            let (source, filter, columns) = picked(plan, exchange.inputs[0]);
            let key = layout.key.iter().map(|&column| columns[column]).collect();
            Some(Arranged {
                rows: Rows {
                    source,
                    filter,
                    key,
                },
                columns,
            })
        }
        _ => None,
    }
}

/// The node that another one copies columns from, the filter in between, and the columns.
fn picked(plan: &Plan, node: NodeIndex) -> (NodeIndex, Option<String>, Vec<usize>) {
    let mut source = node;
    let mut columns: Vec<usize> = (0..plan.nodes[node.0].schema.fields().len()).collect();
    loop {
        let OperatorSpec::Map {
            filter,
            columns: copied,
        } = &plan.nodes[source.0].operator
        else {
            return (source, None, columns);
        };
        let copied: Option<Vec<usize>> = copied.iter().map(|column| column.as_column()).collect();
        let Some(copied) = copied else {
            return (source, None, columns);
        };
        columns
            .iter_mut()
            .for_each(|column| *column = copied[*column]);
        source = plan.nodes[source.0].inputs[0];
        if let Some(filter) = filter {
            return (source, Some(filter.fingerprint().to_owned()), columns);
        }
    }
}

/// Copies what tables and views need into a new plan.
struct Rewriter<'a> {
    old: &'a Plan,
    moves: &'a HashMap<NodeIndex, Move>,
    nodes: Vec<Node>,
    by_id: HashMap<OperatorId, NodeIndex>,
    /// By old node.
    done: HashMap<NodeIndex, NodeIndex>,
}

impl Rewriter<'_> {
    fn rewrite(old: &Plan, moves: &HashMap<NodeIndex, Move>) -> Plan {
        let mut rewriter = Rewriter {
            old,
            moves,
            nodes: Vec::new(),
            by_id: HashMap::new(),
            done: HashMap::new(),
        };
        let (mut tables, mut views) = (old.tables.clone(), old.views.clone());
        for table in &mut tables {
            table.node = rewriter.copy(table.node);
            table.contents = table.contents.map(|node| rewriter.copy(node));
        }
        for view in &mut views {
            view.node = rewriter.copy(view.node);
            view.contents = view.contents.map(|node| rewriter.copy(node));
        }
        Plan {
            nodes: rewriter.nodes,
            tables,
            views,
        }
    }

    fn copy(&mut self, node: NodeIndex) -> NodeIndex {
        if let Some(&done) = self.done.get(&node) {
            return done;
        }
        let old = self.old;
        let copied = match self.moves.get(&node) {
            Some(step) => self.move_join(&old.nodes[node.0], step),
            None => self.copy_node(&old.nodes[node.0]),
        };
        self.done.insert(node, copied);
        copied
    }

    fn copy_node(&mut self, node: &Node) -> NodeIndex {
        let inputs = node.inputs.iter().map(|&input| self.copy(input)).collect();
        self.add(Node {
            inputs,
            ..node.clone()
        })
    }

    /// The columns of a join, from the one that it has moved into.
    fn move_join(&mut self, join: &Node, step: &Move) -> NodeIndex {
        let host = &self.old.nodes[step.host.0];
        let inputs: Vec<NodeIndex> = host.inputs.iter().map(|&input| self.copy(input)).collect();
        let fields: Vec<_> = inputs
            .iter()
            .flat_map(|input| self.nodes[input.0].schema.fields())
            .collect();
        let fields: Vec<_> = step
            .host_output
            .iter()
            .map(|&column| fields[column].clone())
            .collect();
        let mut shared = Node {
            id: OperatorId(0),
            operator: OperatorSpec::Join {
                residual: None,
                output: step.host_output.clone(),
            },
            inputs,
            schema: Arc::new(Schema::new(fields)),
            label: host.label.clone(),
        };
        shared.id = node_id(&shared.operator.fingerprint(), &shared, &self.nodes);
        let shared = self.add(shared);
        if step.columns.iter().copied().eq(0..step.host_output.len()) {
            return shared;
        }
        let columns = select_expressions(&self.nodes[shared.0].schema, &step.columns);
        self.add(Node {
            operator: OperatorSpec::Map {
                filter: None,
                columns: columns.into_iter().map(|(_, column)| column).collect(),
            },
            inputs: vec![shared],
            ..join.clone()
        })
    }

    fn add(&mut self, node: Node) -> NodeIndex {
        let next = NodeIndex(self.nodes.len());
        let index = *self.by_id.entry(node.id).or_insert(next);
        if index == next {
            self.nodes.push(node);
        }
        index
    }
}
