//! Followers: snapshots and changes add up; tables; back-pressure.

use std::time::Duration;

use highwater_circuit::dataflow::RelationRef;
use highwater_pipeline::event::OutputMessage;
use highwater_pipeline::{Follower, FollowerMessage, Settings};
use highwater_zset::Delta;

use crate::bench::{
    ACCOUNTS, COPY, LOG, Program, TOTAL, completed, contents_of, eventually, push, rows_of, start,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Gathers everything up to and including `step`, reporting it as delivered.
async fn gather(follower: &mut Follower, step: u64) -> Vec<Delta> {
    let mut gathered = Vec::new();
    let mut seen = follower.start();
    while seen < step {
        match follower.next(PATIENCE).await {
            FollowerMessage::Output(OutputMessage::Snapshot { contents, .. }) => {
                gathered.extend(contents.iter().flat_map(|it| it.scan().unwrap()));
            }
            FollowerMessage::Output(OutputMessage::Changes { step, deltas }) => {
                assert!(step > seen, "every step once, in order");
                gathered.extend(deltas);
                follower.delivered(step, 0, 0);
                seen = step;
            }
            FollowerMessage::UpTo(step) => seen = seen.max(step),
            other => panic!("no changes: {other:?}"),
        }
    }
    gathered
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshot_and_changes_add_up_to_the_contents() {
    let settings = Settings {
        workers: 2,
        ..Settings::default()
    };
    let pipeline = start(&Program::default(), settings).await;
    let input = pipeline
        .open_http_input(ACCOUNTS, "a".into())
        .await
        .unwrap();
    let pushing = {
        let input = input.clone();
        tokio::spawn(async move {
            for round in 0..300 {
                push(&input, &[(round % 40, round, 1)]).await;
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
        })
    };
    let accounts = RelationRef::Table(ACCOUNTS);
    let mut followers = Vec::new();
    for round in 0..10 {
        let relation = if round % 2 == 0 { TOTAL } else { accounts };
        let follower = pipeline
            .follow(relation, true, round % 4 < 2)
            .await
            .unwrap();
        followers.push((relation, follower));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    // They must be read while rows are pushed: some of them make the pipeline wait.
    let gathering: Vec<_> = followers
        .into_iter()
        .map(|(relation, mut follower)| {
            let (pipeline, input) = (pipeline.clone(), input.clone());
            tokio::spawn(async move {
                let mut gathered = Vec::new();
                while pipeline
                    .stats(false)
                    .await
                    .unwrap()
                    .global_metrics
                    .total_input_records
                    < 300
                {
                    gathered.extend(gather_some(&mut follower).await);
                }
                let token = pipeline.http_token(&input).await.unwrap();
                loop {
                    let (_, is_complete) = pipeline.completion(&token).await.unwrap();
                    gathered.extend(gather_some(&mut follower).await);
                    if is_complete {
                        return (relation, rows_of(&gathered));
                    }
                }
            })
        })
        .collect();
    pushing.await.unwrap();
    for gathering in gathering {
        let (relation, rows) = gathering.await.unwrap();
        assert_eq!(rows, contents_of(&pipeline.contents(), relation));
    }
    pipeline.stop().await;
}

/// What is there, without waiting for more.
async fn gather_some(follower: &mut Follower) -> Vec<Delta> {
    let mut gathered = Vec::new();
    loop {
        match follower.next(Duration::from_millis(1)).await {
            FollowerMessage::Output(OutputMessage::Snapshot { contents, .. }) => {
                gathered.extend(contents.iter().flat_map(|it| it.scan().unwrap()));
            }
            FollowerMessage::Output(OutputMessage::Changes { step, deltas }) => {
                gathered.extend(deltas);
                follower.delivered(step, 0, 0);
            }
            FollowerMessage::UpTo(_) => {}
            FollowerMessage::Nothing => return gathered,
            other => panic!("no changes: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_key_is_followed_as_it_is_fed() {
    let pipeline = start(&Program::default(), Settings::default()).await;
    let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
    let mut table = pipeline
        .follow(RelationRef::Table(LOG), false, false)
        .await
        .unwrap();
    let mut view = pipeline.follow(COPY, false, false).await.unwrap();
    push(&input, &[(1, 1, 1), (1, 1, 1), (2, 2, -1)]).await;
    completed(&pipeline, &input).await;
    let step = pipeline.contents().step();
    let expected = vec![(vec![Some(1), Some(1)], 2), (vec![Some(2), Some(2)], -1)];
    assert_eq!(rows_of(&gather(&mut table, step).await), expected);
    assert_eq!(rows_of(&gather(&mut view, step).await), expected);
    assert!(
        pipeline.follow(COPY, true, false).await.is_err(),
        "not materialized"
    );
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_waits_for_a_patient_follower() {
    let pipeline = start(&Program::default(), Settings::default()).await;
    let input = pipeline.open_http_input(LOG, "l".into()).await.unwrap();
    let mut follower = pipeline.follow(COPY, false, true).await.unwrap();
    push(&input, &[(1, 1, 1)]).await;
    let token = pipeline.http_token(&input).await.unwrap();
    let step = loop {
        if let FollowerMessage::Output(OutputMessage::Changes { step, .. }) =
            follower.next(PATIENCE).await
        {
            break step;
        }
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        pipeline.completion(&token).await.unwrap(),
        (Some(step), false)
    );
    follower.delivered(step, 1, 1);
    completed(&pipeline, &input).await;
    let outputs = pipeline.stats(false).await.unwrap().outputs;
    assert_eq!(outputs.len(), 1);
    assert_eq!(outputs[0].metrics.transmitted_records, 1);
    drop(follower);
    eventually("the follower is gone", || async {
        pipeline.stats(false).await.unwrap().outputs.is_empty()
    })
    .await;
    pipeline.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_the_followers() {
    let pipeline = start(&Program::default(), Settings::default()).await;
    let mut follower = pipeline.follow(COPY, false, false).await.unwrap();
    pipeline.stop().await;
    loop {
        match follower.next(PATIENCE).await {
            FollowerMessage::UpTo(_) => {}
            FollowerMessage::Output(OutputMessage::End { error: None }) => break,
            other => panic!("no end: {other:?}"),
        }
    }
}
