//! Tokens, transactions, and what a failed step does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::serve_program;

const PROGRAM: &str = "
    CREATE TABLE accounts (id INT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL) WITH ('materialized' = 'true');
    CREATE MATERIALIZED VIEW total AS SELECT SUM(balance) AS total, COUNT(*) AS n FROM accounts;
    CREATE MATERIALIZED VIEW doubled AS SELECT id, balance * 2 AS twice FROM accounts;
";

const ROWS: &str = "/ingress/accounts?format=json&update_format=raw";

#[test]
fn a_complete_token_means_visible() {
    let served = serve_program(PROGRAM);
    for id in 1..=50 {
        served.insert(ROWS, &format!(r#"{{"id": {id}, "balance": 1}}"#));
        assert_eq!(served.query("SELECT n FROM total"), [json!({"n": id})]);
        let found = served.query(&format!("SELECT id FROM accounts WHERE id = {id}"));
        assert_eq!(found, [json!({"id": id})]);
    }
    let metrics = served.get("/stats").ok()["global_metrics"].clone();
    for counter in [
        "total_input_records",
        "total_processed_records",
        "total_completed_records",
    ] {
        assert_eq!(metrics[counter], 50, "{counter}");
    }
    assert_eq!(metrics["pipeline_complete"], true);
}

#[test]
fn bad_tokens_are_told_apart() {
    let served = serve_program(PROGRAM);
    served
        .get("/completion_status?token=nonsense")
        .error(400, "InvalidParam");
    served.get("/completion_status").error(400, "InvalidParam");
    let other = serve_program(PROGRAM).post(ROWS, "").ok()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    served
        .get(&format!("/completion_status?token={other}"))
        .error(410, "PipelineRestarted");
}

/// Every piece moves money between two accounts; no query sees it on its way.
#[test]
fn queries_see_whole_steps() {
    let served = serve_program(PROGRAM);
    let rows: Vec<_> = (0..20)
        .map(|id| json!({"id": id, "balance": 100}))
        .collect();
    served.insert(
        "/ingress/accounts?format=json&update_format=raw&array=true",
        &json!(rows).to_string(),
    );
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let (served, stop) = (&served, &stop);
            scope.spawn(move || {
                // Each thread owns ten accounts.
                let mut balances = [100_i64; 10];
                let mut round = 0;
                while !stop.load(Ordering::Relaxed) {
                    let (from, to, amount) = (round % 10, (round * 3 + 1) % 10, (round % 7) as i64);
                    round += 1;
                    if from == to {
                        continue;
                    }
                    balances[from] -= amount;
                    balances[to] += amount;
                    let row = |it: usize| json!({"id": worker * 10 + it, "balance": balances[it]});
                    let body = json!([row(from), row(to)]).to_string();
                    served
                        .post(
                            "/ingress/accounts?format=json&update_format=raw&array=true",
                            body,
                        )
                        .ok();
                }
            });
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(1_500) {
            let sql = "SELECT (SELECT total FROM total) AS kept, SUM(balance) AS summed, COUNT(*) AS n FROM accounts";
            assert_eq!(
                served.query(sql),
                [json!({"kept": 2_000, "summed": 2_000, "n": 20})]
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_transaction_is_one_step() {
    let served = serve_program(PROGRAM);
    let id = served.post("/start_transaction", "").ok()["transaction_id"]
        .as_i64()
        .unwrap();
    served
        .post("/start_transaction", "")
        .error(409, "TransactionInProgress");
    let token = |id: i64| {
        let reply = served
            .post(ROWS, format!(r#"{{"id": {id}, "balance": 1}}"#))
            .ok();
        reply["token"].as_str().unwrap().to_owned()
    };
    let tokens: Vec<String> = (0..10).map(token).collect();
    let metrics = served.get("/stats").ok()["global_metrics"].clone();
    assert_eq!(metrics["transaction_status"], "TransactionInProgress");
    assert_eq!(metrics["transaction_id"], id);
    assert!(served.query("SELECT * FROM accounts").is_empty());
    let mut lines = served.follow("/egress/total?format=json");
    lines.next().unwrap();
    served.post("/commit_transaction", "").ok();
    for token in &tokens {
        served.wait(token);
    }
    assert_eq!(served.query("SELECT n FROM total"), [json!({"n": 10})]);
    served
        .post("/commit_transaction", "")
        .error(400, "NoTransactionInProgress");
    let metrics = served.get("/stats").ok()["global_metrics"].clone();
    assert_eq!(
        (&metrics["transaction_id"], &metrics["transaction_status"]),
        (&json!(0), &json!("NoTransaction"))
    );
    served.insert(ROWS, r#"{"id": 10, "balance": 1}"#);
    let changes = lines.until(served.pipeline.contents().step());
    assert_eq!(
        changes.len(),
        2,
        "it starts behind the transaction: {changes:?}"
    );
}

#[test]
fn a_failed_step_ends_the_pipeline_and_not_the_server() {
    let served = serve_program(PROGRAM);
    served.insert(ROWS, r#"{"id": 1, "balance": 1}"#);
    let mut lines = served.follow("/egress/doubled?format=json");
    served
        .post(ROWS, r#"{"id": 2, "balance": 5000000000000000000}"#)
        .ok();
    let mut last = None;
    while let Some(chunk) = lines.next() {
        last = Some(chunk);
    }
    let error = last.unwrap()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(error.contains("doubled"), "names the view: {error}");
    let message = served.get("/status").error(500, "PipelineTerminated");
    assert!(message.contains("verflow"), "{message}");
    served
        .post(ROWS, r#"{"id": 3, "balance": 1}"#)
        .error(500, "PipelineTerminated");
    served
        .get("/query?sql=SELECT%201")
        .error(500, "PipelineTerminated");
    served.post("/start", "").error(500, "PipelineTerminated");
    served
        .post("/egress/total", "")
        .error(500, "PipelineTerminated");
    assert_eq!(
        served.get("/stats").ok()["global_metrics"]["state"],
        "Terminated"
    );
    assert_eq!(served.get("/healthz").status, 200);
}
