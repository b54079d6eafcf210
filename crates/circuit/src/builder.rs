//! Builds a plan bottom-up. Equal sub-plans become one node (hash-consing by [`OperatorId`]).
//!
//! Every method returns the node that computes what its name says and adds the exchanges and
//! arrangements that this needs (rule P3 of [`crate::plan`]), so a caller composes relations and
//! never thinks of workers.

mod share;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use highwater_zset::{Delta, Layout, OrderColumn, RowHasher};
use xxhash_rust::xxh3::xxh3_128;

use self::share::share_joins;
use crate::expression::{Column, Expr, FlatMapFunction, PartitionFunction};
use crate::plan::{
    AggregateCall, AggregateSpec, LinearCall, Node, NodeIndex, OperatorId, OperatorSpec, Plan,
    SetOperation, TableDefinition, TopKSpec, ViewDefinition,
};

/// Collects nodes; [`PlanBuilder::finish`] gives the plan.
#[derive(Debug)]
pub struct PlanBuilder {
    hasher: RowHasher,
    nodes: Vec<Node>,
    by_id: HashMap<OperatorId, NodeIndex>,
    tables: Vec<TableDefinition>,
    views: Vec<ViewDefinition>,
    owner: String,
}

/// What a join is asked to do beyond its keys.
#[derive(Clone, Debug, Default)]
pub struct JoinOptions {
    /// Over the left columns, then the right columns.
    pub residual: Option<Expr>,
    /// Columns of (left, right) to keep; `None` keeps all.
    pub output: Option<Vec<usize>>,
}

impl PlanBuilder {
    /// `hasher` orders the state of the circuit; it must be the one the dataflow runs with.
    pub fn new(hasher: RowHasher) -> Self {
        Self {
            hasher,
            nodes: Vec::new(),
            by_id: HashMap::new(),
            tables: Vec::new(),
            views: Vec::new(),
            owner: String::new(),
        }
    }

    /// Nodes made from now on are labelled as belonging to this relation.
    pub fn set_owner(&mut self, owner: &str) {
        owner.clone_into(&mut self.owner);
    }

    pub fn schema(&self, node: NodeIndex) -> &SchemaRef {
        &self.nodes[node.0].schema
    }

    /// The plan so far, by node.
    pub fn node(&self, node: NodeIndex) -> &Node {
        &self.nodes[node.0]
    }

    /// The primary key of a table node, by which it is arranged; empty for all other nodes.
    pub fn primary_key(&self, node: NodeIndex) -> &[usize] {
        match self.nodes[node.0].operator {
            OperatorSpec::Table { table } => self
                .tables
                .get(table)
                .map_or(&[], |table| &table.primary_key),
            _ => &[],
        }
    }

    /// An input table; `primary_key` may be empty. `definition` is a text that changes whenever the
    /// table's stored contents would no longer fit (its columns and types are added to it).
    pub fn table(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        primary_key: Vec<usize>,
        materialized: bool,
        definition: &str,
    ) -> NodeIndex {
        self.set_owner(name);
        let table = self.tables.len();
        let schema = nullable(schema);
        let text = format!(
            "table {name:?} {} key {primary_key:?} {definition}",
            schema_text(&schema)
        );
        let node = self.add_as(
            &text,
            OperatorSpec::Table { table },
            Vec::new(),
            schema.clone(),
        );
        let contents = match (primary_key.is_empty(), materialized) {
            (false, _) => Some(node),
            (true, true) => Some(self.arrange_by_all(node)),
            (true, false) => None,
        };
        self.tables.push(TableDefinition {
            name: name.to_owned(),
            schema,
            primary_key,
            node,
            contents,
        });
        node
    }

    /// An output view of what `input` computes.
    pub fn view(&mut self, name: &str, input: NodeIndex, materialized: bool) {
        self.set_owner(name);
        let schema = self.schema(input).clone();
        let (node, contents) = if materialized {
            let arrangement = self.arrange_by_all(input);
            (arrangement, Some(arrangement))
        } else {
            let key = all_columns(&schema);
            let exchanged = self.exchange(input, key);
            (
                self.add(OperatorSpec::Consolidate, vec![exchanged], schema.clone()),
                None,
            )
        };
        self.views.push(ViewDefinition {
            name: name.to_owned(),
            schema,
            node,
            contents,
        });
    }

    /// Fixed rows, there from the first step on.
    pub fn constant(&mut self, rows: Delta) -> NodeIndex {
        let schema = nullable(&rows.schema());
        let text = format!("constant {} {}", schema_text(&schema), contents_text(&rows));
        self.add_as(&text, OperatorSpec::Constant { rows }, Vec::new(), schema)
    }

    /// Filters, then computes columns called `names`.
    pub fn map(
        &mut self,
        input: NodeIndex,
        filter: Option<Expr>,
        columns: Vec<(String, Expr)>,
    ) -> NodeIndex {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, expr)| Field::new(name, expr.data_type(), true))
            .collect();
        let columns: Vec<Expr> = columns.into_iter().map(|(_, expr)| expr).collect();
        let schema = Arc::new(Schema::new(fields));
        self.add(OperatorSpec::Map { filter, columns }, vec![input], schema)
    }

    /// Keeps the rows for which `filter` is true.
    pub fn filter(&mut self, input: NodeIndex, filter: Expr) -> NodeIndex {
        let columns = all_columns(self.schema(input));
        let columns = select_expressions(self.schema(input), &columns);
        self.map(input, Some(filter), columns)
    }

    /// Picks columns by position; the input itself if that changes nothing.
    pub fn select(&mut self, input: NodeIndex, columns: &[usize]) -> NodeIndex {
        if columns
            .iter()
            .copied()
            .eq(0..self.schema(input).fields().len())
        {
            return input;
        }
        let columns = select_expressions(self.schema(input), columns);
        self.map(input, None, columns)
    }

    /// Zero or more rows per row; `schema` is the function's output.
    pub fn flat_map(
        &mut self,
        input: NodeIndex,
        function: Arc<dyn FlatMapFunction>,
        schema: &SchemaRef,
    ) -> NodeIndex {
        self.add(
            OperatorSpec::FlatMap { function },
            vec![input],
            nullable(schema),
        )
    }

    /// All rows of all inputs; the column names are the first one's.
    pub fn union(&mut self, inputs: Vec<NodeIndex>) -> NodeIndex {
        if let [only] = inputs[..] {
            return only;
        }
        let schema = self.schema(inputs[0]).clone();
        self.add(OperatorSpec::Union, inputs, schema)
    }

    /// The other sign.
    pub fn negate(&mut self, input: NodeIndex) -> NodeIndex {
        let schema = self.schema(input).clone();
        self.add(OperatorSpec::Negate, vec![input], schema)
    }

    /// Rows by key, ordered inside a key by `order` (empty: by hash). A table that is already
    /// arranged so is returned as it is.
    pub fn arrange(
        &mut self,
        input: NodeIndex,
        key: Vec<usize>,
        order: Vec<OrderColumn>,
    ) -> NodeIndex {
        if let OperatorSpec::Table { table } = self.nodes[input.0].operator {
            let is_own_key = self
                .tables
                .get(table)
                .is_some_and(|table| table.primary_key == key);
            if is_own_key && !key.is_empty() && order.is_empty() {
                return input;
            }
        }
        let schema = self.schema(input).clone();
        let exchanged = self.exchange(input, key.clone());
        let layout = Arc::new(Layout::ordered(schema.clone(), key, order, self.hasher));
        self.add(OperatorSpec::Arrange { layout }, vec![exchanged], schema)
    }

    fn arrange_by_all(&mut self, input: NodeIndex) -> NodeIndex {
        let key = all_columns(self.schema(input));
        self.arrange(input, key, Vec::new())
    }

    fn exchange(&mut self, input: NodeIndex, key: Vec<usize>) -> NodeIndex {
        let schema = self.schema(input).clone();
        self.add(OperatorSpec::Exchange { key }, vec![input], schema)
    }

    /// Inner join on pairs of equal columns (NULL equals NULL: see rule P4); no pairs is a cross join.
    pub fn join(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        on: &[(usize, usize)],
        options: JoinOptions,
    ) -> NodeIndex {
        let fields: Vec<_> = [left, right]
            .iter()
            .flat_map(|&node| self.schema(node).fields().iter().cloned())
            .collect();
        let output = options
            .output
            .unwrap_or_else(|| (0..fields.len()).collect());
        let schema = Arc::new(Schema::new(
            output
                .iter()
                .map(|&column| fields[column].clone())
                .collect::<Vec<_>>(),
        ));
        let (left, right) = self.arrange_pair(left, right, on);
        self.add(
            OperatorSpec::Join {
                residual: options.residual,
                output,
            },
            vec![left, right],
            schema,
        )
    }

    /// Left rows whose key is (`anti`: is not) among the right rows' keys.
    pub fn semi_join(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        on: &[(usize, usize)],
        anti: bool,
    ) -> NodeIndex {
        let right_keys: Vec<usize> = on.iter().map(|&(_, right)| right).collect();
        let right = self.select(right, &right_keys);
        let on: Vec<_> = on
            .iter()
            .enumerate()
            .map(|(index, &(left, _))| (left, index))
            .collect();
        self.semi_join_arranged(left, right, &on, anti)
    }

    /// As [`Self::semi_join`], against an arrangement of all columns of `right`: better than
    /// another one of its keys if a join or a primary key needs that arrangement anyway.
    pub fn semi_join_arranged(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        on: &[(usize, usize)],
        anti: bool,
    ) -> NodeIndex {
        let schema = self.schema(left).clone();
        let (left, right) = self.arrange_pair(left, right, on);
        self.add(OperatorSpec::SemiJoin { anti }, vec![left, right], schema)
    }

    fn arrange_pair(
        &mut self,
        left: NodeIndex,
        right: NodeIndex,
        on: &[(usize, usize)],
    ) -> (NodeIndex, NodeIndex) {
        let (left_key, right_key) = on.iter().copied().unzip();
        (
            self.arrange(left, left_key, Vec::new()),
            self.arrange(right, right_key, Vec::new()),
        )
    }

    /// `DISTINCT` of one input or a set operation of two; column types agree.
    pub fn set_operation(&mut self, kind: SetOperation, inputs: &[NodeIndex]) -> NodeIndex {
        let schema = self.schema(inputs[0]).clone();
        let inputs = inputs
            .iter()
            .map(|&input| self.arrange_by_all(input))
            .collect();
        self.add(OperatorSpec::SetOperation { kind }, inputs, schema)
    }

    /// Partial sums of linear aggregates per group, exchanged by group: an input of [`Self::aggregate`].
    pub fn partial_aggregate(
        &mut self,
        input: NodeIndex,
        group: Vec<usize>,
        calls: Vec<LinearCall>,
    ) -> NodeIndex {
        let schema = self.schema(input).clone();
        let mut fields: Vec<_> = group
            .iter()
            .map(|&column| schema.fields()[column].clone())
            .collect();
        fields.push(Arc::new(Field::new("row_count", DataType::Int64, true)));
        for call in &calls {
            fields.extend(call.function.state_fields().into_iter().map(Arc::new));
        }
        let key = (0..group.len()).collect();
        let operator = OperatorSpec::PartialAggregate { group, calls };
        let partial = self.add(operator, vec![input], Arc::new(Schema::new(fields)));
        self.exchange(partial, key)
    }

    /// One row per group; see [`AggregateSpec`] for the inputs.
    ///
    /// `names` are those of the calls' columns.
    pub fn aggregate(
        &mut self,
        inputs: Vec<NodeIndex>,
        spec: AggregateSpec,
        names: &[String],
    ) -> NodeIndex {
        let group_fields = &self.schema(inputs[0]).fields()[..spec.group_columns];
        let mut fields: Vec<_> = group_fields.to_vec();
        for (call, name) in spec.calls.iter().zip(names) {
            let result = match call {
                AggregateCall::Linear { function, .. } => function.result_type(),
                AggregateCall::First { input, column } => self
                    .schema(inputs[*input])
                    .field(*column)
                    .data_type()
                    .clone(),
                AggregateCall::Group { function, .. } => function.data_type(),
            };
            fields.push(Arc::new(Field::new(name, result, true)));
        }
        self.add(
            OperatorSpec::Aggregate { spec },
            inputs,
            Arc::new(Schema::new(fields)),
        )
    }

    /// The first rows of each partition in an order.
    pub fn top_k(
        &mut self,
        input: NodeIndex,
        partition: Vec<usize>,
        order: Vec<OrderColumn>,
        spec: TopKSpec,
    ) -> NodeIndex {
        let mut fields = self.schema(input).fields().to_vec();
        if spec.with_rank {
            fields.push(Arc::new(Field::new("rank", DataType::UInt64, true)));
        }
        let arranged = self.arrange(input, partition, order);
        self.add(
            OperatorSpec::TopK { spec },
            vec![arranged],
            Arc::new(Schema::new(fields)),
        )
    }

    /// Window functions; their columns, called `names`, follow the input's.
    pub fn window(
        &mut self,
        input: NodeIndex,
        partition: Vec<usize>,
        order: Vec<OrderColumn>,
        function: Arc<dyn PartitionFunction>,
        names: &[String],
    ) -> NodeIndex {
        let mut fields = self.schema(input).fields().to_vec();
        for (name, data_type) in names.iter().zip(function.data_types()) {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        let arranged = self.arrange(input, partition, order);
        self.add(
            OperatorSpec::Window { function },
            vec![arranged],
            Arc::new(Schema::new(fields)),
        )
    }

    /// Passes the input on, failing if any key has more than one row.
    pub fn single_row(&mut self, input: NodeIndex, key: Vec<usize>) -> NodeIndex {
        let schema = self.schema(input).clone();
        let arranged = self.arrange(input, key, Vec::new());
        self.add(OperatorSpec::SingleRow, vec![arranged], schema)
    }

    /// The plan. Joins that differ in their columns only become one where that costs no state.
    pub fn finish(self) -> Plan {
        share_joins(Plan {
            nodes: self.nodes,
            tables: self.tables,
            views: self.views,
        })
    }

    fn add(
        &mut self,
        operator: OperatorSpec,
        inputs: Vec<NodeIndex>,
        schema: SchemaRef,
    ) -> NodeIndex {
        let text = operator.fingerprint();
        self.add_as(&text, operator, inputs, schema)
    }

    fn add_as(
        &mut self,
        text: &str,
        operator: OperatorSpec,
        inputs: Vec<NodeIndex>,
        schema: SchemaRef,
    ) -> NodeIndex {
        let mut node = Node {
            id: OperatorId(0),
            label: format!("{} for {}", operator.name(), self.owner),
            operator,
            inputs,
            schema,
        };
        node.id = node_id(text, &node, &self.nodes);
        if let Some(&node) = self.by_id.get(&node.id) {
            return node;
        }
        let index = NodeIndex(self.nodes.len());
        self.by_id.insert(node.id, index);
        self.nodes.push(node);
        index
    }
}

/// Rule P5 of [`crate::plan`]: the id of a node that computes what `text` says.
fn node_id(text: &str, node: &Node, nodes: &[Node]) -> OperatorId {
    let mut definition = format!("{text} -> {}", types_text(&node.schema));
    for input in &node.inputs {
        definition.push_str(&format!(" {}", nodes[input.0].id));
    }
    OperatorId(xxh3_128(definition.as_bytes()))
}

/// Columns of a schema by position, with their names.
fn select_expressions(schema: &SchemaRef, columns: &[usize]) -> Vec<(String, Expr)> {
    let expression = |&index: &usize| {
        let field = schema.field(index);
        (
            field.name().clone(),
            Column::expr(index, field.data_type().clone()),
        )
    };
    columns.iter().map(expression).collect()
}

fn all_columns(schema: &SchemaRef) -> Vec<usize> {
    (0..schema.fields().len()).collect()
}

/// Rule P1 of [`crate::plan`].
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone().with_nullable(true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn schema_text(schema: &SchemaRef) -> String {
    let columns: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| format!("{:?} {}", field.name(), field.data_type()))
        .collect();
    columns.join(", ")
}

/// All rows: the debug format of an array leaves out the middle of a long one.
fn contents_text(rows: &Delta) -> String {
    let hashes = RowHasher::new(0).hash(rows.rows().columns(), rows.len());
    let weights: Vec<i64> = rows.weights().to_vec();
    format!("{:?} {hashes:?} {weights:?}", rows.rows().columns())
}

fn types_text(schema: &SchemaRef) -> String {
    let types: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.data_type().to_string())
        .collect();
    types.join(", ")
}

impl OperatorSpec {
    /// The kind, in the words of the glossary.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Table { .. } => "table",
            Self::Constant { .. } => "constant",
            Self::Map { .. } => "map",
            Self::FlatMap { .. } => "flat map",
            Self::Union => "union",
            Self::Negate => "negate",
            Self::Exchange { .. } => "exchange",
            Self::Consolidate => "consolidate",
            Self::Arrange { .. } => "arrange",
            Self::Join { .. } => "join",
            Self::SemiJoin { anti: false } => "semi join",
            Self::SemiJoin { anti: true } => "anti join",
            Self::SetOperation { .. } => "set operation",
            Self::PartialAggregate { .. } => "partial aggregate",
            Self::Aggregate { .. } => "aggregate",
            Self::TopK { .. } => "top k",
            Self::Window { .. } => "window",
            Self::SingleRow => "single row",
        }
    }

    /// Everything that decides what the operator computes, as text that is stable between runs.
    /// Inputs and schema are not part of it.
    pub fn fingerprint(&self) -> String {
        let name = self.name();
        match self {
            Self::Table { .. }
            | Self::Union
            | Self::Negate
            | Self::Consolidate
            | Self::SingleRow => name.to_owned(),
            Self::Constant { rows } => {
                format!("{name} {}", contents_text(rows))
            }
            Self::Map { filter, columns } => {
                let columns: Vec<_> = columns.iter().map(|column| column.fingerprint()).collect();
                let filter = filter.as_ref().map(|filter| filter.fingerprint());
                format!("{name} {columns:?} where {filter:?}")
            }
            Self::FlatMap { function } => format!("{name} {}", function.fingerprint()),
            Self::Exchange { key } => format!("{name} by {key:?}"),
            Self::Arrange { layout } => {
                format!("{name} by {:?} order {:?}", layout.key, layout.order)
            }
            Self::Join { residual, output } => {
                let residual = residual.as_ref().map(|residual| residual.fingerprint());
                format!("{name} if {residual:?} to {output:?}")
            }
            Self::SemiJoin { .. } => name.to_owned(),
            Self::SetOperation { kind } => format!("{name} {kind:?}"),
            Self::PartialAggregate { group, calls } => format!("{name} by {group:?} of {calls:?}"),
            Self::Aggregate { spec } => format!("{name} {}", spec.fingerprint()),
            Self::TopK { spec } => format!("{name} {spec:?}"),
            Self::Window { function } => format!("{name} {}", function.fingerprint()),
        }
    }
}

impl AggregateSpec {
    fn fingerprint(&self) -> String {
        let call = |call: &AggregateCall| match call {
            AggregateCall::Linear {
                input,
                call,
                function,
            } => format!("{function:?} of {input}.{call}"),
            AggregateCall::First { input, column } => format!("first {column} of {input}"),
            AggregateCall::Group { input, function } => {
                format!("{} of {input}", function.fingerprint())
            }
        };
        let calls: Vec<_> = self.calls.iter().map(call).collect();
        format!(
            "of {} groups, global {}: {calls:?}",
            self.group_columns, self.is_global
        )
    }
}
