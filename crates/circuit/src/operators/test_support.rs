//! What the tests of single operators share: nodes, arranged inputs, and relations as texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use highwater_zset::{Batch, Delta, Layout, MergeService, RowHasher, Spine};

use super::{Arranged, BuildContext, Flow, Operator, OperatorError, StepContext, build};
use crate::plan::{Node, OperatorId, OperatorSpec};

/// Rows as texts with their weights, none of which is zero.
pub(super) type Bag = BTreeMap<Vec<String>, i64>;

pub(super) fn schema(types: &[DataType]) -> SchemaRef {
    let field = |(index, data_type): (usize, &DataType)| {
        Field::new(format!("c{index}"), data_type.clone(), true)
    };
    Arc::new(Schema::new(
        types.iter().enumerate().map(field).collect::<Vec<_>>(),
    ))
}

pub(super) fn delta(columns: Vec<ArrayRef>, weights: Vec<i64>) -> Delta {
    let types: Vec<DataType> = columns
        .iter()
        .map(|column| column.data_type().clone())
        .collect();
    Delta::new(
        RecordBatch::try_new(schema(&types), columns).unwrap(),
        weights.into(),
    )
}

pub(super) fn node(operator: OperatorSpec, schema: SchemaRef) -> Node {
    let label = operator.name().to_owned();
    Node {
        id: OperatorId(0),
        operator,
        inputs: Vec::new(),
        schema,
        label,
    }
}

/// Only its schema matters.
pub(super) fn input(schema: &SchemaRef) -> Node {
    node(OperatorSpec::Union, schema.clone())
}

/// An operator under test on one worker, and what it said so far.
pub(super) struct Subject {
    operator: Box<dyn Operator>,
    context: StepContext,
    pub(super) output: Bag,
}

impl Subject {
    pub(super) fn new(node: &Node, inputs: &[Node], hasher: RowHasher) -> Self {
        let build_context = BuildContext {
            node,
            inputs: inputs.iter().collect(),
            hasher,
            merges: MergeService::inline(1000),
        };
        let context = StepContext {
            is_first: true,
            worker: 0,
            workers: 1,
            hasher,
        };
        Self {
            operator: build(&build_context),
            context,
            output: Bag::new(),
        }
    }

    pub(super) fn step(&mut self, inputs: &[&Flow]) -> Result<Vec<Delta>, OperatorError> {
        let deltas = self.operator.step(inputs, &self.context)?.deltas();
        self.context.is_first = false;
        deltas.iter().for_each(|delta| add(&mut self.output, delta));
        Ok(deltas)
    }

    /// For measurements: does not look at the output.
    pub(super) fn step_only(&mut self, inputs: &[&Flow]) {
        self.operator.step(inputs, &self.context).unwrap();
    }

    pub(super) fn state_rows(&self) -> usize {
        let snapshots = self.operator.spines().into_iter().map(Spine::snapshot);
        snapshots
            .flat_map(|snapshot| snapshot.scan().unwrap())
            .map(|delta| delta.len())
            .sum()
    }
}

/// An arranged input.
pub(super) struct Arrangement {
    spine: Spine,
}

impl Arrangement {
    pub(super) fn new(layout: Layout) -> Self {
        Self {
            spine: Spine::new(Arc::new(layout), MergeService::inline(1000)),
        }
    }

    pub(super) fn step(&mut self, delta: &Delta) -> Flow {
        let before = self.spine.snapshot();
        let delta = Arc::new(Batch::from_delta(self.spine.layout(), delta).unwrap());
        if !delta.is_empty() {
            self.spine.insert(delta.clone()).unwrap();
        }
        Flow::Arranged(Arranged {
            before,
            delta,
            after: self.spine.snapshot(),
        })
    }
}

pub(super) fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let text = |column: &ArrayRef| {
        ArrayFormatter::try_new(column.as_ref(), &options)
            .unwrap()
            .value(row)
            .to_string()
    };
    columns.iter().map(text).collect()
}

pub(super) fn add(bag: &mut Bag, delta: &Delta) {
    for (row, &weight) in delta.weights().iter().enumerate() {
        *bag.entry(texts(delta.rows().columns(), row)).or_default() += weight;
    }
    bag.retain(|_, weight| *weight != 0);
}
