//! Keeps a relation's rows in a spine, for operators that look rows up by key.

use std::sync::Arc;

use highwater_zset::{Batch, Delta, Layout, Spine};

use super::{Arranged, BuildContext, Flow, Operator, OperatorError, StepContext};

/// A spine of all rows so far.
pub(crate) struct Arrange {
    spine: Spine,
    empty: Arc<Batch>,
}

impl Arrange {
    pub(crate) fn new(layout: &Arc<Layout>, context: &BuildContext<'_>) -> Self {
        let empty = Arc::new(Batch::empty(layout.clone()));
        Self {
            spine: Spine::new(layout.clone(), context.merges.clone()),
            empty,
        }
    }
}

impl Operator for Arrange {
    fn step(&mut self, inputs: &[&Flow], _context: &StepContext) -> Result<Flow, OperatorError> {
        let deltas = inputs[0].deltas();
        let layout = self.spine.layout().clone();
        let batch = match &deltas[..] {
            [] => return Ok(self.at_rest()),
            [delta] => Batch::from_delta(&layout, delta)?,
            many => Batch::from_delta(&layout, &Delta::concat(&layout.schema, many)?)?,
        };
        Ok(Flow::Arranged(Arranged::insert(&mut self.spine, batch)?))
    }

    fn spines(&self) -> Vec<&Spine> {
        vec![&self.spine]
    }

    fn spines_mut(&mut self) -> Vec<&mut Spine> {
        vec![&mut self.spine]
    }

    fn at_rest(&self) -> Flow {
        Flow::Arranged(Arranged::at_rest(&self.spine, &self.empty))
    }
}
