//! A failed step ends the pipeline, not the process.

use std::time::Duration;

use highwater_pipeline::event::OutputMessage;
use highwater_pipeline::{Error, FollowerMessage, Pipeline, Settings};
use highwater_types::stats::PipelineState;

use crate::bench::{COPY, LOG, Program, completed, definition, eventually, piece, push, start};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_told_to_everybody() {
    let program = Program {
        with_single: true,
        ..Program::default()
    };
    for workers in [1, 2] {
        let settings = Settings {
            workers,
            ..Settings::default()
        };
        let pipeline = start(&program, settings).await;
        let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
        push(&input, &[(1, 1, 1), (2, 2, 1)]).await;
        completed(&pipeline, &input).await;
        let mut follower = pipeline.follow(COPY, false, false).await.unwrap();
        push(&input, &[(1, 3, 1)]).await;
        eventually("the pipeline is terminated", || async {
            matches!(pipeline.is_running().await, Err(Error::Terminated { .. }))
        })
        .await;
        let message = pipeline.start_transaction().await.unwrap_err().to_string();
        assert!(message.contains("single"), "names the operator: {message}");
        assert!(message.contains('1'), "names the row: {message}");
        let stats = pipeline.stats(true).await.unwrap();
        assert_eq!(stats.global_metrics.state, PipelineState::Terminated);
        loop {
            match follower.next(Duration::from_secs(20)).await {
                FollowerMessage::UpTo(_) => {}
                FollowerMessage::Output(OutputMessage::End { error: Some(_) }) => break,
                other => panic!("no end: {other:?}"),
            }
        }
        let blocking = input.clone();
        let pushed =
            tokio::task::spawn_blocking(move || blocking.push(piece(&[(9, 9, 1)]), 0, false));
        assert!(pushed.await.unwrap().is_err(), "nothing is taken any more");
        pipeline.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connectors_that_cannot_be_used_are_refused_at_the_start() {
    let refused = |log_connectors: &str| {
        let program = Program {
            log_connectors: log_connectors.to_owned(),
            ..Program::default()
        };
        let clock = std::sync::Arc::new(highwater_connectors::clock::SystemClock::new());
        let started = Pipeline::start(definition(&program), Settings::default(), clock);
        started.err().unwrap().to_string()
    };
    let message =
        refused(r#"[{"name": "gen", "transport": {"name": "datagen", "config": {"plan": 3}}}]"#);
    assert!(message.contains("log.gen"), "{message}");
    let message = refused(
        r#"[{"name": "gen", "start_after": "moon", "transport": {"name": "datagen", "config": {"plan": [{"limit": 1}]}}}]"#,
    );
    assert!(message.contains("label `moon`"), "{message}");
}
