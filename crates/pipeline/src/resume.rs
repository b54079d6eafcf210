//! Goes on from a checkpoint, also with a changed program.
//!
//! State of operators that the checkpoint knows is taken as it is; what is new is computed from stored
//! rows (`highwater_circuit::bootstrap`). A connector goes on at its position if it reads or writes the
//! same as before; otherwise it begins anew: an input from its start, an output with the whole contents of
//! its view. All that is one step behind the checkpoint's, without input.

use std::collections::BTreeSet;
use std::sync::Arc;

use highwater_circuit::bootstrap::{Bootstrap, ViewContents};
use highwater_circuit::checkpoint::restore;
use highwater_circuit::dataflow::{CircuitState, Dataflow, DataflowConfig, RelationRef};
use highwater_circuit::plan::Plan;
use highwater_types::difference::PipelineDiff;
use highwater_types::record::PipelineRecord;
use highwater_zset::BlockCache;

use crate::contents::Contents;
use crate::controller::Controller;
use crate::definition::Definition;
use crate::difference::{before, difference};
use crate::error::{Error, Result};
use crate::event::Action;
use crate::moment::TimeSource;
use crate::settings::{BootstrapPolicy, Settings};
use crate::storage::SavedPipeline;

/// A checkpoint and the program that goes on from it.
pub(crate) struct Resuming {
    definition: Arc<Definition>,
    settings: Settings,
    saved: SavedPipeline,
    /// What of the checkpoint's record still holds.
    record: PipelineRecord,
    is_changed: bool,
}

impl Resuming {
    /// # Errors
    /// If the program has changed and that is to be refused.
    pub(crate) fn new(
        definition: &Arc<Definition>,
        settings: &Settings,
        saved: SavedPipeline,
    ) -> Result<Self> {
        let program = definition.recorded_program();
        let diff = difference(&saved.record.program, &program);
        if settings.bootstrap == BootstrapPolicy::Reject && !diff.is_empty() {
            return Err(Error::BootstrapRejected(Box::new(diff)));
        }
        let mut record = saved.record.clone();
        forget_changed(&mut record, definition, &diff);
        Ok(Self {
            definition: definition.clone(),
            settings: settings.clone(),
            saved,
            record,
            is_changed: !diff.is_empty(),
        })
    }

    /// What connectors go on from.
    pub(crate) fn record(&self) -> &PipelineRecord {
        &self.record
    }

    /// Starts the dataflow with the state of the checkpoint, and the controller behind its step.
    ///
    /// # Errors
    /// If a file cannot be used, or something new cannot be computed.
    pub(crate) fn resume(
        self,
        config: DataflowConfig,
        controller: &mut Controller,
        clock: &dyn TimeSource,
    ) -> Result<(Dataflow, Vec<Action>)> {
        let steps = self.record.steps;
        let plan = Arc::new(self.definition.plan_with_table_views());
        let mut state = self.restored(&plan, &config)?;
        let began = clock.now();
        let views = self.views_to_send(controller);
        let bootstrapped = self.bootstrap(&plan, &config, &views, &mut state)?;
        if bootstrapped.is_some() {
            state.epoch += 1;
        }
        let dataflow = Dataflow::restore(plan, config, state)?;
        controller.restore(&self.record, &mut || self.settings.http_gate());
        let contents = Contents::restored(steps, dataflow.contents());
        let mut actions = controller.begin_restored(contents, clock.moment());
        if self.is_changed {
            controller.note_changed_program(clock.moment());
        }
        if let Some(contents) = bootstrapped {
            let busy = clock.now().saturating_sub(began);
            controller.bootstrapped(contents, &self.record, busy, &mut actions);
        }
        Ok((dataflow, actions))
    }

    fn restored(&self, plan: &Plan, config: &DataflowConfig) -> Result<CircuitState> {
        let state_files = config.state_files.as_ref();
        let cache = state_files.map_or_else(|| BlockCache::new(0), |files| files.cache.clone());
        let mut open = |name: &str| self.saved.checkpoint.open_batch(name);
        let workers = &self.saved.workers;
        let steps = self.record.steps;
        let restored = restore(plan, config.hasher, steps, workers, &cache, &mut open)?;
        Ok(restored.state.redistributed(config.workers)?)
    }

    /// Views whose outputs begin anew.
    fn views_to_send(&self, controller: &Controller) -> Vec<usize> {
        let anew = controller.outputs_not_in(&self.record);
        let views = anew.into_iter().filter_map(|relation| match relation {
            RelationRef::View(view) => Some(view),
            RelationRef::Table(_) => None,
        });
        let views: BTreeSet<usize> = views.collect();
        views.into_iter().collect()
    }

    fn bootstrap(
        &self,
        plan: &Plan,
        config: &DataflowConfig,
        views: &[usize],
        state: &mut CircuitState,
    ) -> Result<Option<ViewContents>> {
        let workers = &self.saved.workers;
        let before = before(
            &self.definition,
            config.hasher,
            &self.saved.record.program,
            workers,
        );
        let bootstrap = Bootstrap::new(plan, config.hasher, &before, views)?;
        let Some(bootstrap) = bootstrap else {
            return Ok(None);
        };
        tracing::info!(
            operators = before.new_operators.len(),
            "computing what is new in the program"
        );
        Ok(Some(bootstrap.run(state, config)?))
    }
}

/// Connectors that read or write something else, and those of relations that are other ones now, have
/// nothing to go on from.
fn forget_changed(record: &mut PipelineRecord, definition: &Definition, diff: &PipelineDiff) {
    let changed = diff.program_diff.clone().unwrap_or_default();
    let is_other = |name: &String, list: &[String]| list.contains(name);
    record.inputs.retain(|endpoint, input| {
        !is_other(&input.table, &changed.modified_tables)
            && !is_other(&input.table, &changed.removed_tables)
            && !is_other(endpoint, &diff.modified_input_connectors)
            && !is_other(endpoint, &diff.removed_input_connectors)
    });
    let modified_views = definition
        .views
        .iter()
        .filter(|view| is_other(&view.relation.name, &changed.modified_views));
    let restarted: BTreeSet<String> = modified_views
        .flat_map(|view| {
            let name = &view.relation.name;
            let connectors = view.connectors.iter();
            connectors.map(move |config| crate::definition::endpoint_name(name, config))
        })
        .collect();
    record.outputs.retain(|endpoint, _| {
        !restarted.contains(endpoint)
            && !is_other(endpoint, &diff.modified_output_connectors)
            && !is_other(endpoint, &diff.removed_output_connectors)
    });
}
