//! Times the parts of the crate that steps are made of: `cargo run --release -p highwater-zset --example spine_bench`.
//!
//! Arguments pick parts: `delta`, `merge`, `probe`, `load`, `one`. Rows have three i64 columns, keyed by the first, as the orders table of the comparison benchmark.

use std::hint::black_box;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema};
use highwater_zset::{
    AnyBatch, Batch, Delta, Keys, Layout, MergeService, Merger, OrderColumn, ReadLimit, RowHasher,
    Snapshot, Spine,
};

const STEP_ROWS: i64 = 100_000;

type Measure = fn(&Arc<Layout>);

fn main() {
    let layout = layout();
    let parts: [(&str, Measure); 6] = [
        ("delta", measure_from_delta),
        ("merge", measure_merge),
        ("probe", measure_probe),
        ("load", measure_load),
        ("one", measure_one_row),
        ("text", measure_text),
    ];
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for (name, measure) in parts {
        if asked.is_empty() || asked.iter().any(|asked| asked == name) {
            measure(&layout);
        }
    }
}

fn layout() -> Arc<Layout> {
    let fields = ["id", "customer", "amount"].map(|name| Field::new(name, DataType::Int64, true));
    Arc::new(Layout::hashed(
        Arc::new(Schema::new(fields.to_vec())),
        vec![0],
        RowHasher::new(42),
    ))
}

/// Rows with the ids `from`, `from + stride`, ….
fn rows(layout: &Layout, from: i64, count: i64, stride: i64) -> Delta {
    let ids = (0..count).map(|row| from + row * stride);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids.clone())),
        Arc::new(Int64Array::from_iter_values(
            ids.clone().map(|id| id * 7919 % 1_000_000),
        )),
        Arc::new(Int64Array::from_iter_values(ids.map(|id| id % 1000))),
    ];
    Delta::insertions(
        RecordBatch::try_new(Arc::clone(&layout.schema), columns).expect("three columns"),
    )
}

fn batch(layout: &Arc<Layout>, from: i64, count: i64, stride: i64) -> Arc<Batch> {
    Arc::new(Batch::from_delta(layout, &rows(layout, from, count, stride)).expect("rows fit"))
}

/// Time that this thread had a processor, so that a busy machine does not matter; wall time where the
/// system does not tell. Updated a few hundred times a second.
fn thread_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let start = START.get_or_init(Instant::now);
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// The mean of many runs.
fn mean<T>(mut run: impl FnMut() -> T) -> Duration {
    black_box(run());
    let start = thread_time();
    let mut runs = 0;
    loop {
        for _ in 0..1 + runs / 8 {
            black_box(run());
            runs += 1;
        }
        let elapsed = thread_time() - start;
        if elapsed > Duration::from_millis(150) {
            return elapsed / runs;
        }
    }
}

fn report(what: &str, rows: usize, time: Duration) {
    let nanos = time.as_nanos() as f64 / rows as f64;
    println!(
        "{what:<44} {nanos:>9.1} ns/row {:>9.1} M rows/s",
        1e3 / nanos
    );
}

fn measure_from_delta(layout: &Arc<Layout>) {
    let hasher = layout.hasher;
    for count in [1, 10, 1000, STEP_ROWS] {
        let delta = rows(layout, 5, count, 1);
        report(
            &format!("hash 1 column, {count} rows"),
            count as usize,
            mean(|| hasher.hash(&delta.rows().columns()[..1], count as usize)),
        );
        report(
            &format!("from_delta, {count} rows"),
            count as usize,
            mean(|| Batch::from_delta(layout, &delta)),
        );
        report(
            &format!("consolidated, {count} rows"),
            count as usize,
            mean(|| delta.consolidated(hasher)),
        );
    }
}

fn merge(layout: &Arc<Layout>, inputs: &[Arc<Batch>]) -> Batch {
    let inputs = inputs.iter().cloned().map(AnyBatch::from);
    let merger = Merger::new(Arc::clone(layout), inputs.collect());
    merger.run().expect("no overflow")
}

fn measure_merge(layout: &Arc<Layout>) {
    for (inputs, count) in [
        (4, 1),
        (4, 16),
        (4, 256),
        (2, 100_000),
        (4, 100_000),
        (2, 5_000_000),
        (4, 2_500_000),
    ] {
        let batches: Vec<_> = (0..inputs)
            .map(|input| batch(layout, input, count, inputs))
            .collect();
        let rows = (inputs * count) as usize;
        report(
            &format!("merge, {inputs} x {count}"),
            rows,
            mean(|| merge(layout, &batches)),
        );
    }
    let large = batch(layout, 0, 2_000_000, 1);
    let negated: Vec<_> = (0..2)
        .map(|part| {
            Arc::new(
                Batch::from_delta(layout, &rows(layout, part, 1_000_000, 2).negated())
                    .expect("fits"),
            )
        })
        .collect();
    let inputs = [large, Arc::clone(&negated[0])];
    report(
        "merge, half of it cancels",
        3_000_000,
        mean(|| merge(layout, &inputs)),
    );
}

fn measure_probe(layout: &Arc<Layout>) {
    let large = batch(layout, 0, 10_000_000, 2);
    println!(
        "{:<44} {:>9.1} bytes/row",
        "10M rows",
        large.bytes() as f64 / large.len() as f64
    );
    let snapshot = Snapshot::new(Arc::clone(layout), [AnyBatch::from(large)]);
    for (what, from) in [("hit", 0), ("miss", 1)] {
        for count in [1, 1000, STEP_ROWS] {
            let column = rows(layout, from, count, 2 * (10_000_000 / count))
                .rows()
                .column(0)
                .clone();
            let keys = Keys::new(layout.hasher, &[column], count as usize).expect("integers");
            let rows = count as usize;
            report(
                &format!("probe {what}, {count} keys"),
                rows,
                mean(|| snapshot.probe(keys.hashes(), keys.columns())),
            );
            report(
                &format!("key_weights {what}, {count} keys"),
                rows,
                mean(|| snapshot.key_weights(keys.hashes(), keys.columns())),
            );
            report(
                &format!("read_groups {what}, {count} keys"),
                rows,
                mean(|| snapshot.read_groups(&keys, ReadLimit::All)),
            );
            let matches = snapshot
                .probe(keys.hashes(), keys.columns())
                .expect("integers");
            report(
                &format!("gather 2 columns {what}, {count} keys"),
                rows,
                mean(|| snapshot.gather(&matches, &[1, 2])),
            );
        }
    }
}

fn measure_load(layout: &Arc<Layout>) {
    let steps = 100;
    let deltas: Vec<Delta> = (0..steps)
        .map(|step| rows(layout, step * STEP_ROWS, STEP_ROWS, 1))
        .collect();
    for (what, merges) in [
        ("on a thread", MergeService::threads("merge")),
        ("inline", MergeService::inline(usize::MAX)),
    ] {
        let mut spine = Spine::new(Arc::clone(layout), merges);
        let start = thread_time();
        let mut batches_max = 0;
        for delta in &deltas {
            spine
                .insert(Arc::new(Batch::from_delta(layout, delta).expect("fits")))
                .expect("no overflow");
            batches_max = batches_max.max(spine.snapshot().batch_count());
        }
        report(
            &format!("load 10M rows, merges {what}"),
            (steps * STEP_ROWS) as usize,
            thread_time() - start,
        );
        println!("{:<44} {batches_max:>9} batches at most", "");
    }
}

fn measure_one_row(layout: &Arc<Layout>) {
    let mut spine = Spine::new(Arc::clone(layout), MergeService::threads("merge"));
    spine
        .insert(batch(layout, 0, 5_000_000, 1))
        .expect("no overflow");
    let deltas: Vec<Delta> = (0..20_000)
        .map(|row| rows(layout, 5_000_000 + row, 1, 1))
        .collect();
    let start = thread_time();
    for delta in &deltas {
        let batch = Batch::from_delta(layout, delta).expect("fits");
        spine.insert(Arc::new(batch)).expect("no overflow");
    }
    report(
        "1-row from_delta and insert",
        deltas.len(),
        thread_time() - start,
    );
    let snapshot = spine.snapshot();
    println!("{:<44} {:>9} batches", "", snapshot.batch_count());
    let keys = Keys::new(layout.hasher, &deltas[77].rows().columns()[..1], 1).expect("integers");
    report(
        "1-key probe after it",
        1,
        mean(|| snapshot.probe(keys.hashes(), keys.columns())),
    );
    report(
        "1-key read_groups after it",
        1,
        mean(|| snapshot.read_groups(&keys, ReadLimit::All)),
    );
}

/// An id, a name of 14 bytes and a note that is mostly NULL; keyed by name, or ordered by it.
fn measure_text(_: &Arc<Layout>) {
    let fields = [
        ("id", DataType::Int64),
        ("name", DataType::Utf8),
        ("note", DataType::Utf8),
    ];
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, kind)| Field::new(name, kind, true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let hasher = RowHasher::new(42);
    let order = OrderColumn {
        column: 1,
        options: SortOptions::default(),
    };
    let hashed = Arc::new(Layout::hashed(Arc::clone(&schema), vec![1], hasher));
    let ordered = Arc::new(Layout::ordered(
        Arc::clone(&schema),
        vec![],
        vec![order],
        hasher,
    ));
    let rows = |from: i64, count: i64| {
        let ids = from..from + count;
        let names = ids
            .clone()
            .map(|id| format!("{:010} name", id * 7919 % 1_000_003));
        let notes = ids.clone().map(|id| (id % 10 == 0).then_some("a note"));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids)),
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(StringArray::from_iter(notes)),
        ];
        Delta::insertions(
            RecordBatch::try_new(Arc::clone(&schema), columns).expect("three columns"),
        )
    };
    for (what, layout) in [("text key", &hashed), ("text order", &ordered)] {
        let delta = rows(0, STEP_ROWS);
        report(
            &format!("from_delta, {what}"),
            STEP_ROWS as usize,
            mean(|| Batch::from_delta(layout, &delta)),
        );
        let parts: Vec<_> = (0..4)
            .map(|part| {
                Arc::new(Batch::from_delta(layout, &rows(part * 250_000, 250_000)).expect("fits"))
            })
            .collect();
        report(
            &format!("merge 4 x 250000, {what}"),
            1_000_000,
            mean(|| merge(layout, &parts)),
        );
    }
}
