//! `/metrics`: the counters of `/stats` as Prometheus text, or as JSON.

mod checkpoints;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use highwater_types::api::{Metric, MetricKind, MetricValue};
use highwater_types::error::ErrorResponse;
use highwater_types::stats::{InputEndpointStatus, OutputEndpointStatus, PipelineStats};
use serde::Deserialize;

use crate::error::{ApiError, ApiResult};
use crate::extract::Params;
use crate::state::ServerState;

#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricsParams {
    /// `prometheus` (default) or `json`.
    format: Option<String>,
}

/// Counters and gauges.
#[utoipa::path(get, path = "/metrics", tag = "Pipeline", params(MetricsParams), responses(
    (status = 200, content((String = "text/plain"), (Vec<Metric> = "application/json"))),
    (status = 400, description = "`InvalidParam`: unknown format", body = ErrorResponse),
))]
pub(crate) async fn metrics(
    State(state): State<ServerState>,
    Params(params): Params<MetricsParams>,
) -> ApiResult<Response> {
    let metrics = || async {
        let stats = state.pipeline.stats(false).await?;
        let mut metrics = all_metrics(&stats);
        if state.pipeline.store().is_some() {
            let counters = state.pipeline.checkpoint_counters().await?;
            metrics.extend(checkpoints::metrics(&counters));
        }
        Ok::<_, ApiError>(metrics)
    };
    match params.format.as_deref() {
        None | Some("prometheus") => {
            let text = prometheus(&metrics().await?);
            // Clients compare this type as a whole: no charset.
            Ok(([(header::CONTENT_TYPE, "text/plain")], text).into_response())
        }
        Some("json") => Ok(Json(metrics().await?).into_response()),
        Some(other) => Err(ApiError::invalid(format!(
            "unknown metrics format `{other}`; known are `prometheus`, `json`"
        ))),
    }
}

type OfPipeline = (
    &'static str,
    MetricKind,
    &'static str,
    fn(&PipelineStats) -> f64,
);
type OfInput = (
    &'static str,
    MetricKind,
    &'static str,
    fn(&InputEndpointStatus) -> f64,
);
type OfOutput = (
    &'static str,
    MetricKind,
    &'static str,
    fn(&OutputEndpointStatus) -> f64,
);

use MetricKind::{Counter, Gauge};

const PIPELINE: &[OfPipeline] = &[
    (
        "records_input_total",
        Counter,
        "Records received by all inputs",
        |it| it.global_metrics.total_input_records as f64,
    ),
    (
        "records_processed_total",
        Counter,
        "Records evaluated",
        |it| it.global_metrics.total_processed_records as f64,
    ),
    (
        "records_completed_total",
        Counter,
        "Records evaluated and delivered by all outputs",
        |it| it.global_metrics.total_completed_records as f64,
    ),
    (
        "records_input_buffered",
        Gauge,
        "Records received and not yet in a step",
        |it| it.global_metrics.buffered_input_records as f64,
    ),
    (
        "input_bytes_total",
        Counter,
        "Bytes received by all inputs",
        |it| it.global_metrics.total_input_bytes as f64,
    ),
    ("steps_initiated_total", Counter, "Steps begun", |it| {
        it.global_metrics.total_initiated_steps as f64
    }),
    (
        "steps_completed_total",
        Counter,
        "Steps evaluated and delivered by all outputs",
        |it| it.global_metrics.total_completed_steps as f64,
    ),
    (
        "step_time_msecs_total",
        Counter,
        "Time in steps, times the number of workers",
        |it| it.global_metrics.runtime_elapsed_msecs as f64,
    ),
    (
        "output_stall_msecs_total",
        Counter,
        "Time during which steps waited for an output",
        |it| it.global_metrics.output_stall_msecs as f64,
    ),
    ("rss_bytes", Gauge, "Memory of the process", |it| {
        it.global_metrics.rss_bytes as f64
    }),
    (
        "cpu_msecs_total",
        Counter,
        "Processor time of the process",
        |it| it.global_metrics.cpu_msecs as f64,
    ),
    (
        "uptime_msecs",
        Gauge,
        "Time since the start of the process",
        |it| it.global_metrics.uptime_msecs as f64,
    ),
    (
        "pipeline_complete",
        Gauge,
        "1 if all inputs have ended and all their records are completed",
        |it| f64::from(u8::from(it.global_metrics.pipeline_complete)),
    ),
];

const INPUTS: &[OfInput] = &[
    (
        "input_connector_records_total",
        Counter,
        "Good records read",
        |it| it.metrics.total_records as f64,
    ),
    ("input_connector_bytes_total", Counter, "Bytes read", |it| {
        it.metrics.total_bytes as f64
    }),
    (
        "input_connector_buffered_records",
        Gauge,
        "Records read and not yet in a step",
        |it| it.metrics.buffered_records as f64,
    ),
    (
        "input_connector_buffered_bytes",
        Gauge,
        "Bytes read and not yet in a step",
        |it| it.metrics.buffered_bytes as f64,
    ),
    (
        "input_connector_errors_parse_total",
        Counter,
        "Bad records",
        |it| it.metrics.num_parse_errors as f64,
    ),
    (
        "input_connector_errors_transport_total",
        Counter,
        "Errors of the transport",
        |it| it.metrics.num_transport_errors as f64,
    ),
    (
        "input_connector_end_of_input",
        Gauge,
        "1 at the end of input",
        |it| f64::from(u8::from(it.metrics.end_of_input)),
    ),
];

const OUTPUTS: &[OfOutput] = &[
    (
        "output_connector_records_total",
        Counter,
        "Changes delivered",
        |it| it.metrics.transmitted_records as f64,
    ),
    (
        "output_connector_bytes_total",
        Counter,
        "Bytes delivered",
        |it| it.metrics.transmitted_bytes as f64,
    ),
    (
        "output_connector_queued_records",
        Gauge,
        "Changes not yet delivered",
        |it| it.metrics.queued_records as f64,
    ),
    (
        "output_connector_errors_encode_total",
        Counter,
        "Errors of the format",
        |it| it.metrics.num_encode_errors as f64,
    ),
    (
        "output_connector_errors_transport_total",
        Counter,
        "Errors of the transport",
        |it| it.metrics.num_transport_errors as f64,
    ),
];

fn all_metrics(stats: &PipelineStats) -> Vec<Metric> {
    let pipeline = PIPELINE
        .iter()
        .map(|&(key, kind, description, read)| metric(key, kind, description, plain(read(stats))));
    let inputs = INPUTS.iter().map(|&(key, kind, description, read)| {
        let values = stats.inputs.iter();
        let values = values.map(|it| labelled(read(it), &it.endpoint_name, &it.config.stream));
        metric(key, kind, description, values.collect())
    });
    let outputs = OUTPUTS.iter().map(|&(key, kind, description, read)| {
        let values = stats.outputs.iter();
        let values = values.map(|it| labelled(read(it), &it.endpoint_name, &it.config.stream));
        metric(key, kind, description, values.collect())
    });
    pipeline.chain(inputs).chain(outputs).collect()
}

fn plain(value: f64) -> Vec<MetricValue> {
    vec![MetricValue {
        value,
        labels: BTreeMap::new(),
    }]
}

fn metric(key: &str, kind: MetricKind, description: &str, values: Vec<MetricValue>) -> Metric {
    Metric {
        key: key.to_owned(),
        kind,
        description: description.to_owned(),
        values,
    }
}

fn labelled(value: f64, endpoint: &str, relation: &str) -> MetricValue {
    let labels = [("endpoint", endpoint), ("relation", relation)];
    let labels = labels.map(|(label, text)| (label.to_owned(), text.to_owned()));
    MetricValue {
        value,
        labels: labels.into(),
    }
}

fn prometheus(metrics: &[Metric]) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    for metric in metrics.iter().filter(|metric| !metric.values.is_empty()) {
        let kind = match metric.kind {
            Counter => "counter",
            Gauge => "gauge",
        };
        let _ = writeln!(text, "# HELP {} {}", metric.key, metric.description);
        let _ = writeln!(text, "# TYPE {} {kind}", metric.key);
        for value in &metric.values {
            let labels: Vec<String> = value
                .labels
                .iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escape(text)))
                .collect();
            let labels = match labels.is_empty() {
                true => String::new(),
                false => format!("{{{}}}", labels.join(",")),
            };
            let _ = writeln!(text, "{}{labels} {}", metric.key, value.value);
        }
    }
    text
}

fn escape(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_type_line_per_metric_and_escaped_labels() {
        let metrics = [
            metric(
                "a_total",
                Counter,
                "All a",
                vec![MetricValue {
                    value: 3.0,
                    labels: BTreeMap::new(),
                }],
            ),
            metric("b", Gauge, "Now b", vec![labelled(0.5, "t.\"x\"", "t")]),
            metric("c", Gauge, "Nobody", Vec::new()),
        ];
        let expected = "# HELP a_total All a\n# TYPE a_total counter\na_total 3\n\
            # HELP b Now b\n# TYPE b gauge\nb{endpoint=\"t.\\\"x\\\"\",relation=\"t\"} 0.5\n";
        assert_eq!(prometheus(&metrics), expected);
    }
}
