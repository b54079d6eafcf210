use super::*;
use crate::testing::{Kind, delta, schema};
use crate::{Batch, Layout, RowHasher};

#[test]
fn a_panic_becomes_the_result() {
    let result: Result<AnyBatch> =
        match catch_unwind(|| -> Result<AnyBatch> { panic!("row {}", 7) }) {
            Ok(result) => result,
            Err(panic) => Err(Error::Invalid(panic_message(panic.as_ref()).to_owned())),
        };
    assert!(matches!(result, Err(Error::Invalid(message)) if message == "row 7"));
}

#[test]
fn a_thread_merges_and_outlives_waiting() {
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        RowHasher::new(1),
    ));
    let batch = |value| {
        AnyBatch::from(
            Batch::from_delta(&layout, &delta(&[Kind::Int64], &[(vec![value], 1)])).unwrap(),
        )
    };
    let service = MergeService::threads("merge-test");
    let mut running = service.start(Merger::new(Arc::clone(&layout), vec![batch(1), batch(2)]));
    assert_eq!(running.wait().unwrap().len(), 2);
    let mut late = service.start(Merger::new(Arc::clone(&layout), vec![batch(1), batch(3)]));
    drop(service);
    // The service is gone: the merge is done or abandoned, but nobody waits for ever.
    drop(late.wait());
}

#[test]
fn discarded_batches_are_dropped_when_nobody_uses_them() {
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        RowHasher::new(1),
    ));
    let batch = Arc::new(Batch::empty(layout));
    let service = MergeService::threads("merge-test");
    service.discard(vec![AnyBatch::from(Arc::clone(&batch))]);
    let weak = Arc::downgrade(&batch);
    drop(batch);
    for _ in 0..1000 {
        if weak.upgrade().is_none() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("the batch is still there");
}
