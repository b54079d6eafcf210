//! Cuts a plan into fragments: what runs between two exchanges without waiting for other workers.
//!
//! A node's level is the largest number of exchanges on any path from a source to it; all nodes of
//! one level are one fragment. An exchange thus always leads from one level to the next, so the
//! fragments form a chain, and a fragment runs an epoch when all workers have run the one before
//! it. A timely operator costs a microsecond or two per epoch, a direct call a tenth of that: hence
//! few operators, each with many nodes.
//!
//! With one worker an exchange moves nothing, and the whole plan is one fragment.

use crate::plan::{OperatorSpec, Plan};

/// The nodes of each level, in topological order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fragments {
    pub levels: Vec<Vec<usize>>,
    /// The exchanges whose input is in the level: what it sends to the next one.
    pub sends: Vec<Vec<usize>>,
}

impl Fragments {
    pub(super) fn new(plan: &Plan, workers: usize) -> Self {
        let mut level_of = vec![0; plan.nodes.len()];
        let mut sends = Vec::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            let below = node
                .inputs
                .iter()
                .map(|input| level_of[input.0])
                .max()
                .unwrap_or(0);
            let crosses = workers > 1 && matches!(node.operator, OperatorSpec::Exchange { .. });
            level_of[index] = below + usize::from(crosses);
            if crosses {
                sends.push((below, index));
            }
        }
        let count = level_of.iter().max().map_or(1, |&level| level + 1);
        let mut fragments = Self {
            levels: vec![Vec::new(); count],
            sends: vec![Vec::new(); count],
        };
        for (index, &level) in level_of.iter().enumerate() {
            fragments.levels[level].push(index);
        }
        for (level, index) in sends {
            fragments.sends[level].push(index);
        }
        fragments
    }

    pub(super) fn count(&self) -> usize {
        self.levels.len()
    }
}
