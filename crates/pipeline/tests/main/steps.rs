//! Rows in, contents out; tokens; transactions; consistency.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use highwater_circuit::dataflow::RelationRef;
use highwater_pipeline::{Error, Settings};

use crate::bench::{ACCOUNTS, LOG, Program, completed, contents_of, piece, push, start, total_of};

fn workers(workers: usize) -> Settings {
    Settings {
        workers,
        ..Settings::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_visible_once_their_token_is_complete() {
    for settings in [workers(1), workers(2)] {
        let pipeline = start(&Program::default(), settings).await;
        let input = pipeline
            .open_http_input(ACCOUNTS, "a".into())
            .await
            .unwrap();
        for id in 1..=100 {
            push(&input, &[(id, 10, 1)]).await;
            completed(&pipeline, &input).await;
            assert_eq!(total_of(&pipeline.contents()), (id, Some(10 * id)));
        }
        push(&input, &[(1, 1_000, 1), (2, 0, -1)]).await;
        completed(&pipeline, &input).await;
        assert_eq!(total_of(&pipeline.contents()), (99, Some(1_000 + 980)));
        let stats = pipeline.stats(false).await.unwrap().global_metrics;
        assert_eq!(stats.total_input_records, 102);
        assert_eq!(stats.total_completed_records, 102);
        assert_eq!(stats.total_initiated_steps, stats.total_completed_steps);
        assert!(stats.rss_bytes > 0);
        pipeline.stop().await;
        assert!(matches!(pipeline.stats(false).await, Err(Error::Stopped)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_step_gives_global_aggregates_their_row() {
    let pipeline = start(&Program::default(), Settings::default()).await;
    assert_eq!(total_of(&pipeline.contents()), (0, None));
    let accounts = contents_of(&pipeline.contents(), RelationRef::Table(ACCOUNTS));
    assert!(accounts.is_empty());
    pipeline.stop().await;
}

/// Money moves between accounts in pieces; whenever anybody looks, the sum is the same.
#[tokio::test(flavor = "multi_thread")]
async fn contents_are_of_one_step() {
    let pipeline = start(&Program::default(), workers(2)).await;
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    const COUNT: i64 = 50;
    let mut balances = vec![1_000_i64; COUNT as usize];
    let all: Vec<_> = (0..COUNT).map(|id| (id, 1_000, 1)).collect();
    push(&input, &all).await;
    completed(&pipeline, &input).await;
    let stop = Arc::new(AtomicBool::new(false));
    let looking = {
        let (pipeline, stop) = (pipeline.clone(), stop.clone());
        tokio::task::spawn_blocking(move || {
            let mut looks = 0;
            let mut last = 0;
            while !stop.load(Ordering::Relaxed) {
                let contents = pipeline.contents();
                assert_eq!(total_of(&contents), (COUNT, Some(COUNT * 1_000)));
                let accounts = contents_of(&contents, RelationRef::Table(ACCOUNTS));
                let sum: i64 = accounts.iter().map(|(row, _)| row[1].unwrap()).sum();
                assert_eq!(sum, COUNT * 1_000, "table and view are of one step");
                assert!(contents.step() >= last, "steps do not go back");
                last = contents.step();
                looks += 1;
            }
            looks
        })
    };
    for round in 0..400_i64 {
        let (from, to) = (round % COUNT, (round * 7 + 1) % COUNT);
        if from == to {
            continue;
        }
        balances[from as usize] -= round;
        balances[to as usize] += round;
        let rows = [
            (from, balances[from as usize], 1),
            (to, balances[to as usize], 1),
        ];
        push(&input, &rows).await;
    }
    completed(&pipeline, &input).await;
    stop.store(true, Ordering::Relaxed);
    assert!(looking.await.unwrap() > 0);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_seen_whole_or_not_at_all() {
    let settings = Settings {
        step_rows_max: 10,
        http_queued_records_max: 15,
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    let id = pipeline.start_transaction().await.unwrap();
    assert!(matches!(
        pipeline.start_transaction().await,
        Err(Error::TransactionInProgress { transaction_id }) if transaction_id == id
    ));
    for id in 0..100 {
        push(&input, &[(id, 1, 1)]).await;
        assert_eq!(total_of(&pipeline.contents()).0, 0);
    }
    let before = pipeline.contents().step();
    assert_eq!(pipeline.commit_transaction().await.unwrap(), id);
    completed(&pipeline, &input).await;
    assert_eq!(total_of(&pipeline.contents()), (100, Some(100)));
    assert_eq!(pipeline.contents().step(), before + 1, "one step");
    let metrics = pipeline.stats(false).await.unwrap().global_metrics;
    assert_eq!(metrics.transaction_id, 0);
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_pipeline_takes_forced_rows_and_shows_them_later() {
    let pipeline = start(&Program::default(), Settings::default()).await;
    pipeline.pause().await.unwrap();
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    assert!(input.is_paused());
    let forced = input.clone();
    let pushed = tokio::task::spawn_blocking(move || forced.push(piece(&[(1, 1, 1)]), 0, true));
    pushed.await.unwrap().unwrap();
    let token = pipeline.http_token(&input).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    assert!(!pipeline.completion(&token).await.unwrap().1);
    pipeline.resume().await.unwrap();
    completed(&pipeline, &input).await;
    assert_eq!(total_of(&pipeline.contents()), (1, Some(1)));
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_only_table_refuses_deletions_and_takes_the_rest() {
    let program = Program {
        log_is_append_only: true,
        ..Program::default()
    };
    let pipeline = start(&program, Settings::default()).await;
    let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
    let blocking = input.clone();
    let errors = tokio::task::spawn_blocking(move || {
        blocking.push(piece(&[(1, 1, 1), (1, 1, -1), (2, 2, 1)]), 0, false)
    });
    let errors = errors.await.unwrap().unwrap();
    assert_eq!(errors.total, 1);
    assert!(errors.first[0].to_string().contains("append-only"));
    completed(&pipeline, &input).await;
    let stats = pipeline.stats(true).await.unwrap();
    assert_eq!(stats.inputs[0].metrics.total_records, 2);
    assert_eq!(stats.inputs[0].metrics.num_parse_errors, 1);
    pipeline.stop().await;
}
