//! Everything else: life cycle, metrics, connectors, graph, documents.

use serde_json::{Value, json};

use crate::client::serve_program;

const PROGRAM: &str = r#"
    CREATE TABLE made (id BIGINT NOT NULL PRIMARY KEY, "Value" BIGINT) WITH ('materialized' = 'true', 'connectors' = '[
        {"name": "gen", "paused": true, "transport": {"name": "datagen", "config": {"plan": [{"limit": 100}]}}}]');
    CREATE MATERIALIZED VIEW counted AS SELECT COUNT(*) AS n FROM made;
    CREATE VIEW dropped WITH ('connectors' = '[{"transport": {"name": "null_output"}}]') AS SELECT * FROM made;
"#;

#[test]
fn status_start_and_pause() {
    let served = serve_program(PROGRAM);
    let status = served.get("/status").ok();
    let expected = json!({
        "runtime_status": "Running",
        "runtime_status_details": {"connector_stats": {"num_errors": 0}},
        "runtime_desired_status": "Running",
        "storage_status_details": {"checkpoints": []},
    });
    assert_eq!(status, expected);
    assert_eq!(served.get("/pause").status, 202);
    assert_eq!(
        served.get("/v0/pipelines/test/status").ok()["runtime_status"],
        "Paused"
    );
    assert_eq!(
        served.get("/stats").ok()["global_metrics"]["state"],
        "Paused"
    );
    assert_eq!(served.post("/v0/pipelines/test/resume", "").status, 202);
    assert_eq!(served.get("/status").ok()["runtime_status"], "Running");
    assert_eq!(served.get("/healthz").ok()["status"], "healthy");
    assert_eq!(served.get("/v0/config").ok()["edition"], "Open source");
}

#[test]
fn connectors_obey() {
    let served = serve_program(PROGRAM);
    let stats = served.get("/tables/MADE/connectors/gen/stats").ok();
    assert_eq!(stats["endpoint_name"], "made.gen");
    assert_eq!(stats["paused"], true);
    let nothing = served
        .get("/tables/made/connectors/gen/completion_token")
        .ok();
    served.wait(nothing["token"].as_str().unwrap());
    assert_eq!(
        served.post("/tables/made/connectors/gen/start", "").status,
        200
    );
    let start = std::time::Instant::now();
    while served.get("/stats").ok()["global_metrics"]["pipeline_complete"] != true {
        assert!(start.elapsed().as_secs() < 20);
    }
    assert_eq!(served.query("SELECT n FROM counted"), [json!({"n": 100})]);
    let stats = served.get("/input_endpoints/made.gen/stats").ok();
    assert_eq!(stats["metrics"]["end_of_input"], true);
    assert_eq!(stats["metrics"]["total_records"], 100);
    assert_eq!(stats["parse_errors"], json!([]));
    let output = served.get("/views/dropped/connectors/unnamed-0/stats").ok();
    assert_eq!(output["metrics"]["transmitted_records"], 100);
    assert_eq!(
        served.get("/output_endpoints/dropped.unnamed-0/stats").ok()["endpoint_name"],
        "dropped.unnamed-0"
    );
    served
        .post("/tables/made/connectors/gen/explode", "")
        .error(400, "InvalidConnectorAction");
    served
        .post("/tables/made/connectors/none/start", "")
        .error(404, "UnknownInputEndpoint");
    served
        .post("/tables/mad/connectors/gen/start", "")
        .error(404, "ConfigError.UnknownInputStream");
    served
        .get("/output_endpoints/none/stats")
        .error(404, "UnknownOutputEndpoint");
}

#[test]
fn metrics_are_text_or_json() {
    let served = serve_program(PROGRAM);
    served.insert("/ingress/made", "1,2\n");
    let text = served.get("/metrics");
    assert_eq!(text.content_type, "text/plain");
    assert!(
        text.text()
            .contains("# TYPE records_processed_total counter\nrecords_processed_total 1\n"),
        "{}",
        text.text()
    );
    assert!(
        text.text()
            .contains("input_connector_records_total{endpoint=\"made.api-ingress-"),
        "{}",
        text.text()
    );
    let metrics = served.get("/metrics?format=json").ok();
    let processed = metrics
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["key"] == "records_processed_total");
    assert_eq!(processed.unwrap()["values"][0]["value"], 1.0);
    served.get("/metrics?format=xml").error(400, "InvalidParam");
}

#[test]
fn the_circuit_can_be_looked_at() {
    let served = serve_program(PROGRAM);
    let graph = served.get("/dataflow_graph").ok();
    let nodes = graph["nodes"].as_array().unwrap();
    assert!(nodes.iter().any(|node| node["operator"] == "aggregate"));
    for (index, node) in nodes.iter().enumerate() {
        let inputs = node["inputs"].as_array().unwrap();
        assert!(
            inputs
                .iter()
                .all(|input| input.as_u64().unwrap() < index as u64)
        );
    }
    assert_eq!(graph["views"][0]["name"], "counted");
    let svg = served.get("/dataflow_graph?format=svg");
    assert_eq!(svg.content_type, "image/svg+xml");
    assert!(svg.text().contains("<svg"));
    assert!(
        served
            .get("/dataflow_graph?format=dot")
            .text()
            .contains("digraph")
    );
    served
        .get("/dataflow_graph?format=gif")
        .error(400, "InvalidParam");
}

#[test]
fn the_interface_describes_itself() {
    let served = serve_program(PROGRAM);
    let document = served.get("/openapi.json").ok();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/ingress/{table}",
        "/egress/{relation}",
        "/query",
        "/stats",
        "/metrics",
        "/completion_status",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    check_references(&document, &document);
    let page = served.get("/");
    assert!(page.content_type.starts_with("text/html"));
    assert!(page.text().contains(r#""name":"counted""#));
}

/// Every `$ref` must lead somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.trim_start_matches('#');
                assert!(
                    document.pointer(pointer).is_some(),
                    "{reference} leads nowhere"
                );
            }
            fields
                .values()
                .for_each(|value| check_references(document, value));
        }
        Value::Array(values) => values
            .iter()
            .for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[test]
fn unknown_routes_and_methods_are_errors_of_ours() {
    let served = serve_program(PROGRAM);
    served.get("/nowhere").error(404, "UnknownRoute");
    served.get("/Start").error(404, "UnknownRoute");
    served.get("/start_transaction").error(405, "WrongMethod");
}
