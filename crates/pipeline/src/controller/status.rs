//! What the pipeline tells of itself.

use highwater_types::stats::{
    EndpointConfig, EndpointHealth, GlobalMetrics, HealthStatus, InputEndpointMetrics,
    InputEndpointStatus, OutputEndpointMetrics, OutputEndpointStatus, PipelineState, PipelineStats,
};
use highwater_types::transaction::{TransactionInitiators, TransactionPhase, TransactionStatus};

use super::inputs::Input;
use super::outputs::Output;
use super::{Controller, State};
use crate::error::{Error, Result};
use crate::event::EndpointId;
use crate::moment::Moment;
use highwater_circuit::dataflow::RelationRef;

impl Controller {
    /// All statistics, apart from those of the process (memory, processor time).
    pub fn stats(&self, now: Moment, with_errors: bool) -> PipelineStats {
        let mut inputs: Vec<_> = self
            .inputs
            .values()
            .map(|input| self.input_status(input, with_errors))
            .collect();
        inputs.sort_by(|left, right| left.endpoint_name.cmp(&right.endpoint_name));
        let mut outputs: Vec<_> = self
            .outputs
            .values()
            .map(|output| self.output_status(output, with_errors))
            .collect();
        outputs.sort_by(|left, right| left.endpoint_name.cmp(&right.endpoint_name));
        PipelineStats {
            global_metrics: self.global_metrics(now),
            inputs,
            outputs,
            suspend_error: self.suspend_error(),
            checkpoint_activity: Some(self.checkpoint_activity()),
            permanent_checkpoint_errors: None,
        }
    }

    fn global_metrics(&self, now: Moment) -> GlobalMetrics {
        let steps = &self.steps;
        let start_time = u64::try_from(self.started.wall.timestamp()).unwrap_or(0);
        let workers = u32::try_from(self.settings.workers).unwrap_or(u32::MAX);
        let mut metrics = GlobalMetrics {
            state: match self.state {
                State::Paused => PipelineState::Paused,
                State::Running => PipelineState::Running,
                State::Terminated(_) | State::Stopped | State::Suspended => {
                    PipelineState::Terminated
                }
            },
            uptime_msecs: millis(now.elapsed.saturating_sub(self.started.elapsed)),
            start_time,
            initial_start_time: u64::try_from(self.initial_start_time.timestamp()).unwrap_or(0),
            incarnation_uuid: self.incarnation,
            runtime_elapsed_msecs: millis(steps.busy.saturating_mul(workers)),
            buffered_input_records: steps.buffered_records,
            buffered_input_bytes: steps.buffered_bytes,
            total_input_records: steps.total_input_records,
            total_input_bytes: steps.total_input_bytes,
            total_processed_records: steps.processed_records,
            total_processed_bytes: steps.processed_bytes,
            total_completed_records: steps.completed_records,
            output_stall_msecs: millis(steps.stalled),
            total_initiated_steps: steps.initiated,
            total_completed_steps: steps.completed,
            pipeline_complete: self.is_complete(),
            ..GlobalMetrics::default()
        };
        self.transaction_metrics(now, &mut metrics);
        metrics
    }

    fn transaction_metrics(&self, now: Moment, metrics: &mut GlobalMetrics) {
        let Some(current) = self.transaction.current() else {
            return;
        };
        let (status, phase) = match current.commit_step {
            None => (
                TransactionStatus::TransactionInProgress,
                TransactionPhase::Started,
            ),
            Some(_) => (
                TransactionStatus::CommitInProgress,
                TransactionPhase::Committed,
            ),
        };
        metrics.transaction_status = status;
        metrics.transaction_id = current.id;
        metrics.transaction_msecs = Some(millis(now.elapsed.saturating_sub(current.started)));
        metrics.transaction_records = Some(current.records);
        metrics.transaction_initiators = TransactionInitiators {
            transaction_id: Some(current.id),
            initiated_by_api: Some(phase),
            ..TransactionInitiators::default()
        };
    }

    /// True if all connectors have ended and all they read is delivered.
    fn is_complete(&self) -> bool {
        let mut connectors = self.inputs.values().filter(|input| !input.is_http());
        connectors.all(|input| input.end_of_input)
            && self.steps.completed_records == self.steps.total_input_records
    }

    fn input_status(&self, input: &Input, with_errors: bool) -> InputEndpointStatus {
        InputEndpointStatus {
            endpoint_name: input.name.clone(),
            config: self.endpoint_config(RelationRef::Table(input.table)),
            metrics: InputEndpointMetrics {
                total_bytes: input.total_bytes,
                total_records: input.total_records,
                buffered_records: input.buffered_records,
                buffered_bytes: input.buffered_bytes,
                num_transport_errors: input.transport_errors.total,
                num_parse_errors: input.parse_errors.total,
                end_of_input: input.end_of_input,
                processing_latency_p99_micros: None,
            },
            paused: input.paused,
            barrier: input.is_at_barrier,
            fatal_error: input.fatal_error.clone(),
            health: Some(health(input.fatal_error.as_deref())),
            completed_frontier: None,
            parse_errors: with_errors.then(|| input.parse_errors.list()),
            transport_errors: with_errors.then(|| input.transport_errors.list()),
        }
    }

    fn output_status(&self, output: &Output, with_errors: bool) -> OutputEndpointStatus {
        let delivered = output.delivered_step(self.steps.processed);
        OutputEndpointStatus {
            endpoint_name: output.name.clone(),
            config: self.endpoint_config(output.relation),
            metrics: OutputEndpointMetrics {
                transmitted_records: output.transmitted_records,
                transmitted_bytes: output.transmitted_bytes,
                queued_records: output.queued_records,
                queued_batches: output.queued_batches(),
                num_encode_errors: output.encode_errors.total,
                num_transport_errors: output.transport_errors.total,
                total_processed_input_records: self.records_up_to(delivered),
                total_processed_steps: delivered,
                memory: output.queued_bytes,
                ..OutputEndpointMetrics::default()
            },
            fatal_error: output.fatal_error.clone(),
            health: Some(health(output.fatal_error.as_deref())),
            encode_errors: with_errors.then(|| output.encode_errors.list()),
            transport_errors: with_errors.then(|| output.transport_errors.list()),
        }
    }

    fn endpoint_config(&self, relation: RelationRef) -> EndpointConfig {
        let stream = self.definition.relation(relation);
        EndpointConfig {
            stream: stream.map(|it| it.name.clone()).unwrap_or_default(),
        }
    }

    /// The status of one input, with its errors.
    ///
    /// # Errors
    /// If there is no input of this name.
    pub fn input_status_of(&self, name: &str) -> Result<InputEndpointStatus> {
        let id = self.find_input(name)?;
        let input = self.inputs.get(&id).ok_or(Error::UnknownTokenEndpoint)?;
        Ok(self.input_status(input, true))
    }

    /// The status of one output, with its errors.
    ///
    /// # Errors
    /// If there is no output of this name.
    pub fn output_status_of(&self, name: &str) -> Result<OutputEndpointStatus> {
        let output = self.outputs.values().find(|output| output.name == name);
        let output = output.ok_or_else(|| Error::UnknownEndpoint {
            name: name.to_owned(),
            known: self
                .outputs
                .values()
                .map(|output| output.name.clone())
                .collect(),
        })?;
        Ok(self.output_status(output, true))
    }

    /// Transport, parse and encode errors of all endpoints.
    pub fn errors_total(&self) -> u64 {
        let inputs = self.inputs.values();
        let outputs = self.outputs.values();
        inputs
            .map(|input| input.parse_errors.total + input.transport_errors.total)
            .chain(outputs.map(|output| output.encode_errors.total + output.transport_errors.total))
            .sum()
    }

    /// What the pipeline does.
    ///
    /// # Errors
    /// If it was stopped or terminated.
    pub fn is_running(&self) -> Result<bool> {
        self.check_alive()?;
        Ok(self.state == State::Running)
    }

    /// True if this endpoint still exists.
    pub fn has_output(&self, id: EndpointId) -> bool {
        self.outputs.contains_key(&id)
    }
}

fn health(fatal_error: Option<&str>) -> EndpointHealth {
    EndpointHealth {
        status: if fatal_error.is_some() {
            HealthStatus::Unhealthy
        } else {
            HealthStatus::Healthy
        },
        description: fatal_error.map(str::to_owned),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
