use super::*;
use crate::testing::{
    Case, Kind, Shelf, assert_same, cases, consolidated, delta, in_memory, schema, sum,
};
use crate::{Delta, RowHasher, write_run};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use proptest::prelude::*;

fn contents(case: &Case, snapshot: &Snapshot) -> crate::testing::Reference {
    let all = Delta::concat(&case.layout.schema, &snapshot.scan().unwrap()).unwrap();
    consolidated(&case.kinds, &all)
}

fn check_invariants(spine: &Spine) {
    assert!(
        spine.batches.iter().all(|member| !member.batch.is_empty()),
        "I4"
    );
    assert!(spine.due_merge().is_none(), "I2");
    assert!(
        spine.batches.len() <= BATCHES_MAX || spine.running.is_empty(),
        "I3"
    );
    assert_eq!(
        spine.snapshot().batches().count(),
        spine.batches.len(),
        "the snapshot is up to date"
    );
}

/// Inserts the rows a few at a time; every snapshot keeps its contents while inserts and merges go on.
fn check_spine(case: &Case, step: usize, merges: &MergeService) {
    let mut spine = Spine::new(Arc::clone(&case.layout), merges.clone());
    let mut seen = vec![(spine.snapshot(), 0)];
    for (position, rows) in case.rows.chunks(step).enumerate() {
        spine.insert(case.batch(rows)).unwrap();
        balance_memory(&mut [&mut spine]).unwrap();
        check_invariants(&spine);
        seen.push((
            spine.snapshot(),
            ((position + 1) * step).min(case.rows.len()),
        ));
    }
    for (snapshot, rows) in &seen {
        assert_eq!(contents(case, snapshot), sum(&case.rows[..*rows]));
    }
    let batches: Vec<AnyBatch> = spine.snapshot().batches().collect();
    let restored = Spine::from_batches(Arc::clone(&case.layout), batches, merges.clone()).unwrap();
    check_invariants(&restored);
    assert_eq!(contents(case, &restored.snapshot()), sum(&case.rows));
}

proptest! {
    #[test]
    fn a_spine_is_the_sum_of_its_batches(case in cases(80), step in 1_usize..5, fuel in 0_usize..50) {
        check_spine(&case, step, &MergeService::inline(fuel));
    }

    #[test]
    fn a_spine_with_little_memory_is_the_same(case in cases(80), step in 1_usize..5, fuel in 0_usize..50, bytes_max in 0_usize..2_000) {
        if !case.kinds.contains(&Kind::Dictionary) {
            let shelf = Shelf::new(bytes_max);
            let merges = MergeService::inline(fuel).with_state_files(shelf.state_files.clone());
            check_spine(&case, step, &merges);
            prop_assert_eq!(shelf.state_files.budget.bytes(), 0, "all that was counted was given back");
            prop_assert!(shelf.files().is_empty(), "files that nobody needs are gone");
        }
    }
}

/// What merges stand for is what they hold, with checkpoints that take no time.
#[test]
fn a_merge_stands_for_the_files_of_its_inputs() {
    let (stood, written) = check_checkpoints(1, |step| step % 4 != 0);
    assert!(stood > 10, "{stood} stood for others");
    assert!(written < 6.0, "each row was written {written} times");
}

/// The same with checkpoints that take some steps, during which merges replace what they write, and with
/// one that fails.
#[test]
fn a_merge_beside_a_checkpoint_stands_for_what_it_should() {
    check_checkpoints(2, |_| true);
    check_checkpoints(5, |_| true);
    check_checkpoints(3, |step| !(9..20).contains(&step));
}

/// Three of four inputs are being written when they are merged.
#[test]
fn a_merge_stands_for_files_that_are_promised() {
    const ROWS: i64 = 2_100;
    for succeeds in [true, false] {
        let shelf = Shelf::new(usize::MAX);
        let state_files = shelf.state_files.clone();
        let merges = MergeService::inline(usize::MAX).with_state_files(state_files.clone());
        let layout = number_layout();
        let mut spine = Spine::new(Arc::clone(&layout), merges);
        let insert = |spine: &mut Spine, first: i64| {
            let batch = numbers(&layout, first * ROWS..(first + 1) * ROWS, 1);
            spine.insert(batch).unwrap();
        };
        (0..3).for_each(|first| insert(&mut spine, first));
        let promised: Vec<AnyBatch> = spine.snapshot().batches().collect();
        for batch in &promised {
            let AnyBatch::Memory(run) = batch else {
                panic!("nothing is spilled")
            };
            run.promise_file();
        }
        insert(&mut spine, 3);
        assert_eq!(spine.snapshot().batches().count(), 1, "merged");
        for batch in promised.iter().filter(|_| succeeds) {
            let AnyBatch::Memory(run) = batch else {
                panic!("nothing is spilled")
            };
            let file = write_run(&state_files.files, 0, run, &state_files.cache).unwrap();
            run.set_file(Arc::new(file));
        }
        drop(promised);
        let merged = spine.snapshot().batches().next().unwrap();
        let kept = merged.kept_as();
        let in_files = kept.iter().filter(|part| part.memory_bytes() == 0);
        let expected = if succeeds { (4, 3) } else { (1, 0) };
        assert_eq!((kept.len(), in_files.count()), expected);
        let sum = Merger::new(Arc::clone(&layout), kept.clone()).run();
        assert_same(&sum.unwrap(), &in_memory(&merged));
    }
}

/// Checkpoints that write what they found so many steps after they began, if they do not fail then. Says
/// how many merges stood for others, and how often each row was written.
fn check_checkpoints(steps: i64, succeeds: impl Fn(i64) -> bool) -> (usize, f64) {
    // Merges of four are not done in the insert.
    const ROWS: i64 = 2_100;
    let shelf = Shelf::new(usize::MAX);
    let state_files = shelf.state_files.clone();
    let merges = MergeService::inline(usize::MAX).with_state_files(state_files.clone());
    let layout = number_layout();
    let mut spine = Spine::new(Arc::clone(&layout), merges);
    let (mut stood, mut written) = (0, 0);
    let mut unwritten: Vec<Run> = Vec::new();
    for step in 0..36 {
        // Every third step takes back what the one before has brought.
        let (first, weight) = match step % 3 {
            2 => ((step - 1) * ROWS, -1),
            _ => (step * ROWS, 1),
        };
        spine
            .insert(numbers(&layout, first..first + ROWS, weight))
            .unwrap();
        if step % steps == 0 {
            for run in unwritten.drain(..).filter(|_| succeeds(step)) {
                let file = write_run(&state_files.files, 0, &run, &state_files.cache).unwrap();
                run.set_file(Arc::new(file));
                written += run.len();
            }
        }
        for batch in spine.snapshot().batches() {
            assert!(batch.memory_bytes() > 0, "nothing is spilled");
            // Whoever asks before the checkpoint is complete must write everything itself.
            if step % steps != 0 {
                continue;
            }
            let parts = batch.kept_as();
            assert!(parts.len() <= PARTS_MAX);
            if parts.len() > 1 {
                let sum = Merger::new(Arc::clone(&layout), parts.clone()).run();
                assert_same(&sum.unwrap(), &in_memory(&batch));
                stood += 1;
            }
            for part in parts {
                if let AnyBatch::Memory(run) = part {
                    run.promise_file();
                    unwritten.push(run);
                }
            }
        }
    }
    (stood, written as f64 / (36 * ROWS) as f64)
}

/// As after a restart: what lookups read much of comes into memory, if there is room, and is not written
/// again for that.
#[test]
fn files_that_lookups_read_much_of_come_into_memory() {
    const ROWS: i64 = 3_000;
    // Four files of a level are merged anyway.
    for (files, bytes_max, merges) in [
        (1, usize::MAX, MergeService::inline(1_000)),
        (1, usize::MAX, MergeService::threads("merge-test")),
        (4, usize::MAX, MergeService::inline(100)),
        (1, 100_000, MergeService::inline(1_000)),
    ] {
        let shelf = Shelf::new(bytes_max);
        let state_files = shelf.state_files.clone();
        let merges = merges.with_state_files(state_files.clone());
        let layout = number_layout();
        let share = ROWS / files;
        let files = (0..files).map(|file| {
            let batch = numbers(&layout, file * share..(file + 1) * share, 1);
            shelf.place(0, &batch, 1)
        });
        let mut spine = Spine::from_batches(Arc::clone(&layout), files, merges).unwrap();
        assert_eq!(spine.snapshot().bytes(), 0);
        let mut moves = 0;
        for round in 0..400 {
            let keys: ArrayRef = Arc::new(Int64Array::from(vec![(round * 37) % (2 * ROWS)]));
            let hashes = layout.hasher.hash(std::slice::from_ref(&keys), 1);
            let weights = spine.snapshot().key_weights(&hashes, &[keys]).unwrap();
            assert_eq!(weights, [i64::from((round * 37) % (2 * ROWS) < ROWS)]);
            moves += balance_memory(&mut [&mut spine]).unwrap().len();
            check_invariants(&spine);
            if bytes_max == usize::MAX && moves == 0 && round > 100 {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
        let has_room = bytes_max == usize::MAX;
        assert_eq!(moves, usize::from(has_room), "moved once");
        assert_eq!(spine.snapshot().bytes() > 0, has_room);
        assert_eq!(state_files.cache.is_any_wanted(), !has_room);
        let only = spine.snapshot().batches().next().unwrap();
        assert!(only.kept_as().iter().all(|part| part.memory_bytes() == 0));
        drop((spine, only));
        assert!(!state_files.cache.is_any_wanted());
        assert_eq!(state_files.budget.bytes(), 0);
    }
}

#[test]
fn the_budget_of_memory_is_kept() {
    let bytes_max = 100_000;
    let shelf = Shelf::new(bytes_max);
    let state_files = shelf.state_files.clone();
    let merges = MergeService::inline(usize::MAX).with_state_files(state_files.clone());
    let layout = number_layout();
    let mut spine = Spine::new(Arc::clone(&layout), merges.clone());
    // Most of the memory is with a spine that nothing is inserted into.
    let mut idle = Spine::new(Arc::clone(&layout), merges);
    idle.insert(numbers(&layout, 0..3_000, 1)).unwrap();
    assert!(state_files.budget.bytes() > bytes_max / 2);
    for step in 0..200 {
        spine
            .insert(numbers(&layout, step * 500..step * 500 + 1000, 1))
            .unwrap();
        balance_memory(&mut [&mut spine, &mut idle]).unwrap();
        check_invariants(&spine);
        assert!(
            state_files.budget.bytes() <= bytes_max,
            "{}",
            state_files.budget.bytes()
        );
    }
    let rows = |spine: &Spine| -> usize {
        let pieces = spine.snapshot().scan().unwrap();
        pieces.iter().map(Delta::len).sum()
    };
    assert_eq!((rows(&spine), rows(&idle)), (100_500, 3_000));
    assert!(
        idle.snapshot().bytes() < 10_000,
        "the idle spine was written too"
    );
}

fn numbers(layout: &Arc<Layout>, values: std::ops::Range<i64>, weight: i64) -> Arc<Batch> {
    let rows = values.end - values.start;
    let column = Arc::new(Int64Array::from_iter_values(values));
    let rows_of = RecordBatch::try_new(Arc::clone(&layout.schema), vec![column]).unwrap();
    let delta = Delta::new(rows_of, vec![weight; rows as usize].into());
    Arc::new(Batch::from_delta(layout, &delta).unwrap())
}

fn number_layout() -> Arc<Layout> {
    Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        RowHasher::new(4),
    ))
}

/// Large steps, so that merges run beside the inserts, with any service.
fn check_large(merges: &MergeService) {
    let layout = number_layout();
    let mut spine = Spine::new(Arc::clone(&layout), merges.clone());
    let mut snapshots = Vec::new();
    for step in 0..60 {
        spine
            .insert(numbers(&layout, step * 500..step * 500 + 1000, 1))
            .unwrap();
        check_invariants(&spine);
        snapshots.push(spine.snapshot());
    }
    for (step, snapshot) in snapshots.iter().enumerate().step_by(7) {
        let rows: usize = snapshot.scan().unwrap().iter().map(Delta::len).sum();
        assert_eq!(rows, (step + 1) * 500 + 500);
    }
    for step in 0..60 {
        spine
            .insert(numbers(&layout, step * 500..step * 500 + 1000, -1))
            .unwrap();
    }
    assert!(spine.snapshot().scan().unwrap().is_empty());
}

#[test]
fn merges_beside_inserts_change_nothing() {
    check_large(&MergeService::inline(0));
    check_large(&MergeService::inline(700));
    check_large(&MergeService::inline(usize::MAX));
    check_large(&MergeService::threads("merge-test"));
}

#[test]
fn inline_merging_is_deterministic() {
    let run = || {
        let layout = number_layout();
        let mut spine = Spine::new(Arc::clone(&layout), MergeService::inline(3000));
        let mut lengths = Vec::new();
        for step in 0..40 {
            spine
                .insert(numbers(&layout, step * 700..step * 700 + 1000, 1))
                .unwrap();
            lengths.push(
                spine
                    .snapshot()
                    .batches()
                    .map(|batch| batch.len())
                    .collect::<Vec<_>>(),
            );
        }
        lengths
    };
    assert_eq!(run(), run());
}

#[test]
fn one_row_inserts_leave_few_batches() {
    let layout = number_layout();
    let mut spine = Spine::new(Arc::clone(&layout), MergeService::inline(usize::MAX));
    for value in 0..5000 {
        spine.insert(numbers(&layout, value..value + 1, 1)).unwrap();
        assert!(spine.snapshot().batches().count() <= 3 * LEVELS);
    }
    assert_eq!(spine.snapshot().rows_upper_bound(), 5000);
}

#[test]
fn without_merges_inserts_wait_at_the_bound() {
    let layout = number_layout();
    let mut spine = Spine::new(Arc::clone(&layout), MergeService::inline(0));
    for step in 0..300 {
        spine
            .insert(numbers(&layout, step * 1000..step * 1000 + 1000, 1))
            .unwrap();
        assert!(spine.snapshot().batches().count() <= BATCHES_MAX);
    }
    assert_eq!(spine.snapshot().rows_upper_bound(), 300_000);
}

#[test]
fn a_failed_merge_is_an_error_of_insert_and_loses_nothing() {
    for merges in [
        MergeService::inline(usize::MAX),
        MergeService::threads("merge-test"),
    ] {
        let layout = number_layout();
        let mut spine = Spine::new(Arc::clone(&layout), merges);
        let mut failures = 0;
        for _ in 0..FANOUT {
            failures += usize::from(spine.insert(numbers(&layout, 0..1000, i64::MAX)).is_err());
        }
        let empty = Arc::new(Batch::empty(Arc::clone(&layout)));
        for _ in 0..500 {
            failures += usize::from(spine.insert(Arc::clone(&empty)).is_err());
            if failures > 0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(failures > 0);
        assert_eq!(spine.snapshot().batches().count(), FANOUT);
    }
}

#[test]
fn a_spine_can_be_dropped_while_it_merges() {
    let merges = MergeService::threads("merge-test");
    let layout = number_layout();
    for _ in 0..5 {
        let mut spine = Spine::new(Arc::clone(&layout), merges.clone());
        for step in 0..8 {
            spine
                .insert(numbers(&layout, step * 20_000..(step + 1) * 20_000, 1))
                .unwrap();
        }
        drop(spine);
    }
    drop(merges);
}

#[test]
fn a_batch_of_another_layout_is_refused() {
    let layout = number_layout();
    let mut spine = Spine::new(layout, MergeService::inline(0));
    let other = Arc::new(Layout::all_columns(
        schema(&[Kind::Text]),
        RowHasher::new(4),
    ));
    let batch = Batch::from_delta(&other, &delta(&[Kind::Text], &[(vec![1], 1)])).unwrap();
    assert!(spine.insert(Arc::new(batch)).is_err());
    assert!(spine.snapshot().is_empty());
}
