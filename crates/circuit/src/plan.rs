//! A circuit as plain data: a graph of operators, built bottom-up and hash-consed.
//!
//! Rules of the house for plans:
//! - P1: All fields of all schemas are nullable: nullability is SQL's concern. Columns are used by
//!   position; field names are only labels.
//! - P2: A node's inputs come before it (`inputs < index`), so the node list is in topological order.
//! - P3: An operator that matches rows by key reads *arranged* inputs, and every arrangement is
//!   preceded by an exchange on its key ([`crate::builder::PlanBuilder::arrange`] adds both).
//! - P4: NULL keys are equal in every operator. Where SQL says that NULL joins nothing, the lowering
//!   filters NULL keys out before the arrangement.
//! - P5: A node's id is a hash of its definition and its inputs' ids; equal ids are one node.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use highwater_zset::{Delta, Layout};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::expression::{Expr, FlatMapFunction, GroupFunction, PartitionFunction};

/// Names an operator by what it computes: equal ids mean equal sub-plans, across programs and runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorId(pub u128);

impl fmt::Display for OperatorId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "o{:032x}", self.0)
    }
}

impl FromStr for OperatorId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('o').filter(|digits| digits.len() == 32);
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = digits.filter(is_hex);
        let number = number.and_then(|digits| u128::from_str_radix(digits, 16).ok());
        number
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no id of an operator"))
    }
}

impl Serialize for OperatorId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OperatorId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Position of a node in its plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIndex(pub usize);

/// A circuit: what [`crate::dataflow::Dataflow`] runs.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: Vec<Node>,
    pub tables: Vec<TableDefinition>,
    pub views: Vec<ViewDefinition>,
}

/// One operator of a plan.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: OperatorId,
    pub operator: OperatorSpec,
    pub inputs: Vec<NodeIndex>,
    pub schema: SchemaRef,
    /// For people: what it is and whose, e.g. `join for view v1`.
    pub label: String,
}

/// An input table.
#[derive(Clone, Debug)]
pub struct TableDefinition {
    pub name: String,
    pub schema: SchemaRef,
    /// Column positions; empty if the table has no primary key.
    pub primary_key: Vec<usize>,
    pub node: NodeIndex,
    /// The arrangement to read its contents from, if the table is materialized.
    pub contents: Option<NodeIndex>,
}

/// An output view.
#[derive(Clone, Debug)]
pub struct ViewDefinition {
    pub name: String,
    pub schema: SchemaRef,
    /// The node whose (consolidated) deltas are the view's changes.
    pub node: NodeIndex,
    /// The arrangement to read its contents from, if the view is materialized.
    pub contents: Option<NodeIndex>,
}

/// What a node computes. "Delta" inputs and outputs are [`Delta`]s; "arranged" ones are a spine's
/// snapshots before and after the step with the step's batch between. An arranged output can be
/// read as a delta too.
#[derive(Clone, Debug)]
pub enum OperatorSpec {
    /// Source. With a primary key: upserts against its own spine, arranged by that key. Without: a delta.
    Table { table: usize },
    /// Emits these rows in the first step.
    Constant { rows: Delta },
    /// Keeps the rows for which `filter` is true and computes `columns` of them.
    Map {
        filter: Option<Expr>,
        columns: Vec<Expr>,
    },
    /// Zero or more rows per row.
    FlatMap { function: Arc<dyn FlatMapFunction> },
    /// All rows of all inputs (same column types).
    Union,
    /// Weights with the other sign.
    Negate,
    /// Moves rows to the worker that owns the hash of these columns.
    Exchange { key: Vec<usize> },
    /// Sums the weights of equal rows (input is exchanged on all columns).
    Consolidate,
    /// Keeps the rows in a spine of this layout.
    Arrange { layout: Arc<Layout> },
    /// Inner join of two arranged inputs on their layouts' keys (same types, in order).
    /// `residual` sees the left columns, then the right ones; so does `output`, which picks columns.
    Join {
        residual: Option<Expr>,
        output: Vec<usize>,
    },
    /// Left rows whose key is (`anti`: is not) in the right input. Both arranged by that key.
    SemiJoin { anti: bool },
    /// Bag and set operations over inputs arranged by all columns.
    SetOperation { kind: SetOperation },
    /// Sums up linear aggregates per group of one delta, without state.
    /// Output: group columns, then `row_count: Int64`, then each call's state columns.
    PartialAggregate {
        group: Vec<usize>,
        calls: Vec<LinearCall>,
    },
    /// One row per group, from partial aggregates and arranged inputs; see [`AggregateSpec`].
    Aggregate { spec: AggregateSpec },
    /// The first rows of each partition of an ordered arrangement; see [`TopKSpec`].
    TopK { spec: TopKSpec },
    /// Further columns per row of each partition of an ordered arrangement.
    Window {
        function: Arc<dyn PartitionFunction>,
    },
    /// Fails if a key of the arranged input has more than one row: the check of a scalar subquery.
    SingleRow,
}

/// The set operations, over total weights `a` (left) and `b` (right) of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOperation {
    /// One input: 1 if a > 0.
    Distinct,
    /// 1 if a > 0 and not b > 0.
    Except,
    /// max(a - b, 0).
    ExceptAll,
    /// 1 if a > 0 and b > 0.
    Intersect,
    /// min(a, b), at least 0.
    IntersectAll,
}

/// An aggregate whose state is a sum over rows, so that deltas simply add up. NULL arguments do not count.
#[derive(Clone, Debug)]
pub struct LinearCall {
    pub function: LinearFunction,
    /// Column of the partial aggregate's input; `None` is `COUNT(*)`.
    pub argument: Option<usize>,
}

/// The linear aggregates. Result types: `COUNT` Int64; boolean ones Boolean; others as said.
#[derive(Clone, Debug, PartialEq)]
pub enum LinearFunction {
    Count,
    /// Integers, decimals (exact, overflow is an error) or floats (exact, rounded once).
    Sum {
        argument: DataType,
        result: DataType,
    },
    Average {
        argument: DataType,
        result: DataType,
    },
    /// `square_root`: standard deviation. `sample`: divide by n - 1, NULL for fewer than 2 rows.
    Variance {
        argument: DataType,
        sample: bool,
        square_root: bool,
    },
    BoolAnd,
    BoolOr,
    BitXor {
        argument: DataType,
    },
}

/// The final aggregate.
///
/// Input 0 is the exchanged output of the [`OperatorSpec::PartialAggregate`] over all rows: its
/// row count says which groups exist. Further inputs are exchanged partial aggregates of distinct
/// rows (their row count is ignored) or arrangements whose key is the group. All begin with the
/// same group columns. Output: group columns, then one column per call.
#[derive(Clone, Debug)]
pub struct AggregateSpec {
    pub group_columns: usize,
    pub calls: Vec<AggregateCall>,
    /// No GROUP BY: there is one row even if there is no input.
    pub is_global: bool,
}

/// Where one output column of an aggregate comes from.
#[derive(Clone, Debug)]
pub enum AggregateCall {
    /// From the state columns of call number `call` of the partial aggregate that is input `input`.
    Linear {
        input: usize,
        call: usize,
        function: LinearFunction,
    },
    /// `column` of the first row of the group in the order of arranged input `input`; NULL if it
    /// has none: `MIN`, `MAX`, `ARG_MIN`, `FIRST_VALUE`, ….
    First { input: usize, column: usize },
    /// A function of all rows of the group in arranged input `input`.
    Group {
        input: usize,
        function: Arc<dyn GroupFunction>,
    },
}

/// Which rows of each partition pass, by rank in the arrangement's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopKSpec {
    pub rank: Rank,
    /// Rows of rank `offset + 1 ..= offset + fetch` pass.
    pub offset: u64,
    pub fetch: u64,
    /// Appends the rank as a UInt64 column.
    pub with_rank: bool,
}

/// How rows are numbered. Ties are rows equal in all order columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    RowNumber,
    Rank,
    DenseRank,
}
