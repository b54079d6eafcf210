//! Back-pressure: what is queued stays within its bounds, and nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use highwater_pipeline::event::OutputMessage;
use highwater_pipeline::{FollowerMessage, Settings};

use crate::bench::{ACCOUNTS, COPY, LOG, Program, completed, eventually, piece, start, total_of};

/// Pushes single rows from a thread; counts them.
fn pushing(
    input: &highwater_pipeline::HttpInput,
    rows: i64,
) -> (Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
    let pushed = Arc::new(AtomicU64::new(0));
    let (input, counter) = (input.clone(), pushed.clone());
    let thread = tokio::task::spawn_blocking(move || {
        for id in 0..rows {
            input.push(piece(&[(id, 1, 1)]), 0, false).unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (pushed, thread)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_makes_the_pusher_wait() {
    let settings = Settings {
        http_queued_records_max: 10,
        // Nothing is stepped until this many rows wait, which the bound does not allow.
        batch_records_min: 1_000,
        buffering_delay_max: Duration::from_millis(400),
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    let (pushed, thread) = pushing(&input, 25);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(pushed.load(Ordering::Relaxed), 10);
    let metrics = pipeline.stats(false).await.unwrap().global_metrics;
    assert_eq!(metrics.buffered_input_records, 10);
    thread.await.unwrap();
    completed(&pipeline, &input).await;
    assert_eq!(total_of(&pipeline.contents()), (25, Some(25)));
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_read_makes_steps_wait_if_it_asked_for_that() {
    let settings = Settings {
        output_queued_records_max: 5,
        http_queued_records_max: 3,
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
    let mut follower = pipeline.follow(COPY, false, true).await.unwrap();
    let (pushed, thread) = pushing(&input, 200);
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(pushed.load(Ordering::Relaxed) < 50, "the pusher waits");
    let mut rows = 0;
    while rows < 200 {
        if let FollowerMessage::Output(OutputMessage::Changes { step, deltas }) =
            follower.next(Duration::from_secs(20)).await
        {
            rows += deltas.iter().map(|delta| delta.len()).sum::<usize>();
            follower.delivered(step, 0, 0);
        }
    }
    thread.await.unwrap();
    completed(&pipeline, &input).await;
    let metrics = pipeline.stats(false).await.unwrap().global_metrics;
    assert!(metrics.output_stall_msecs > 0);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_does_not_read_is_cut_off_otherwise() {
    let settings = Settings {
        follower_queued_records_max: 5,
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
    let follower = pipeline.follow(COPY, false, false).await.unwrap();
    for round in 0..20 {
        crate::bench::push(&input, &[(round, 1, 1)]).await;
        completed(&pipeline, &input).await;
    }
    eventually("it is cut off", || async {
        pipeline.stats(false).await.unwrap().outputs.is_empty()
    })
    .await;
    drop(follower);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_chunks_become_bounded_steps() {
    let settings = Settings {
        step_rows_max: 100,
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    let before = pipeline
        .stats(false)
        .await
        .unwrap()
        .global_metrics
        .total_initiated_steps;
    let rows: Vec<_> = (0..1_000).map(|id| (id, 2, 1)).collect();
    crate::bench::push(&input, &rows).await;
    completed(&pipeline, &input).await;
    assert_eq!(total_of(&pipeline.contents()), (1_000, Some(2_000)));
    let after = pipeline
        .stats(false)
        .await
        .unwrap()
        .global_metrics
        .total_initiated_steps;
    assert!(after - before >= 10, "{} steps", after - before);
    pipeline.stop().await;
}
