use super::*;
use crate::testing::{Case, Shelf, assert_same, cases, consolidated, in_memory, sum};
use proptest::prelude::*;

/// Merges with this much fuel at a time.
fn merge(case: &Case, inputs: Vec<Arc<Batch>>, fuel: usize) -> Arc<Batch> {
    let inputs = inputs.into_iter().map(AnyBatch::from).collect();
    in_memory(&finish(Merger::new(Arc::clone(&case.layout), inputs), fuel))
}

fn finish(mut merger: Merger, fuel: usize) -> AnyBatch {
    loop {
        let mut fuel = fuel;
        if let Some(batch) = merger.work(&mut fuel).unwrap() {
            return batch;
        }
    }
}

/// The rows dealt to some batches.
fn deal(case: &Case, parts: usize) -> Vec<Arc<Batch>> {
    let part = |part| {
        let rows = case
            .rows
            .iter()
            .enumerate()
            .filter(|(row, _)| row % parts == part);
        case.batch(&rows.map(|(_, row)| row.clone()).collect::<Vec<_>>())
    };
    (0..parts).map(part).collect()
}

proptest! {
    #[test]
    fn a_merge_is_concat_and_consolidate_with_any_fuel(case in cases(60), parts in 1_usize..6, fuel in 1_usize..40) {
        let whole = case.batch(&case.rows);
        assert_same(&merge(&case, deal(&case, parts), fuel), &whole);
        assert_same(&merge(&case, deal(&case, parts), usize::MAX), &whole);
    }

    #[test]
    fn files_make_no_difference(case in cases(60), parts in 1_usize..6, fuel in 1_usize..40, in_files: u8) {
        let shelf = Shelf::new(0);
        let inputs = || -> Vec<AnyBatch> {
            let parts = deal(&case, parts).into_iter().enumerate();
            parts.map(|(number, batch)| shelf.place(number, &batch, in_files)).collect()
        };
        let whole = case.batch(&case.rows);
        let merged = finish(Merger::new(Arc::clone(&case.layout), inputs()), fuel);
        assert_same(&in_memory(&merged), &whole);
        let target = shelf.state_files.clone();
        if case.kinds.contains(&crate::testing::Kind::Dictionary) {
            return Ok(());
        }
        let merged = finish(Merger::into_file(Arc::clone(&case.layout), inputs(), target), fuel);
        prop_assert_eq!(merged.len(), whole.len());
        assert_same(&in_memory(&merged), &whole);
    }

    /// Text is cut after some rows here. What is cut is merged, and written, as what is whole.
    #[test]
    fn a_cut_run_is_one(case in cases(60), fuel in 1_usize..40) {
        let whole = case.batch(&case.rows);
        let AnyBatch::Memory(run) = finish(Merger::new(Arc::clone(&case.layout), vec![whole.clone().into()]), fuel) else {
            panic!("a run in memory");
        };
        prop_assert_eq!((run.len(), run.is_empty()), (whole.len(), whole.is_empty()));
        let pieces: Vec<_> = run.pieces().collect();
        for pair in pieces.windows(2) {
            prop_assert!(pair[0].rank(pair[0].len() - 1) < pair[1].rank(0), "I1");
        }
        prop_assert!(pieces.len() == 1 || pieces.iter().all(|piece| !piece.is_empty()), "I2");
        let again = || vec![AnyBatch::Memory(run.clone()), case.batch(&case.rows[..case.rows.len() / 2]).into()];
        let merged = finish(Merger::new(Arc::clone(&case.layout), again()), fuel);
        let expected = merge(&case, vec![whole.clone(), case.batch(&case.rows[..case.rows.len() / 2])], usize::MAX);
        assert_same(&in_memory(&merged), &expected);
        if !case.kinds.contains(&crate::testing::Kind::Dictionary) {
            let files = &Shelf::new(0).state_files;
            let written = crate::write_run(&files.files, 0, &run, &files.cache).unwrap();
            assert_same(&in_memory(&AnyBatch::File(Arc::new(written))), &whole);
        }
    }

    #[test]
    fn merging_is_commutative_and_associative(case in cases(60), rotation in 0_usize..4) {
        let mut parts = deal(&case, 4);
        let whole = merge(&case, parts.clone(), usize::MAX);
        parts.rotate_left(rotation);
        assert_same(&merge(&case, parts.clone(), usize::MAX), &whole);
        let left = merge(&case, vec![parts[0].clone(), parts[1].clone()], 7);
        let right = merge(&case, vec![parts[3].clone(), parts[2].clone()], 7);
        assert_same(&merge(&case, vec![left.clone(), right], 7), &whole);
        let chain = merge(&case, vec![parts[2].clone(), left], 7);
        assert_same(&merge(&case, vec![parts[3].clone(), chain], 7), &whole);
    }

    #[test]
    fn a_batch_and_its_negation_cancel(case in cases(60)) {
        let negated: Vec<_> = case.rows.iter().map(|(row, weight)| (row.clone(), -weight)).collect();
        let merged = merge(&case, vec![case.batch(&case.rows), case.batch(&negated)], 5);
        prop_assert!(merged.is_empty());
    }

    #[test]
    fn pieces_add_up(case in cases(60), parts in 2_usize..5, piece in 1_usize..9) {
        let inputs = deal(&case, parts).into_iter().map(AnyBatch::from).collect();
        let mut merger = Merger::in_pieces(Arc::clone(&case.layout), inputs, piece);
        let mut pieces = Vec::new();
        while let Some(piece) = merger.next_piece().unwrap() {
            prop_assert!(!piece.is_empty());
            pieces.push(piece);
        }
        let all = Delta::concat(&case.layout.schema, &pieces).unwrap();
        prop_assert_eq!(consolidated(&case.kinds, &all), sum(&case.rows));
    }
}

/// Ten thousand rows of one key with one order prefix in each input: compared by value, in slices.
#[test]
fn long_ties_are_merged_in_slices() {
    use crate::testing::{Kind, schema};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    let options = arrow::compute::SortOptions {
        descending: true,
        nulls_first: false,
    };
    let order = vec![crate::OrderColumn { column: 1, options }];
    let schema = schema(&[Kind::Int64, Kind::Text]);
    let layout = Arc::new(Layout::ordered(
        schema,
        vec![0],
        order,
        crate::RowHasher::new(1),
    ));
    let batch = |values: std::ops::Range<i64>| {
        let texts: Vec<String> = values
            .clone()
            .map(|value| format!("long common prefix {value:06}"))
            .collect();
        let key: ArrayRef = Arc::new(Int64Array::from_iter_values(values.map(|_| 1)));
        let rows = RecordBatch::try_new(
            Arc::clone(&layout.schema),
            vec![key, Arc::new(StringArray::from(texts))],
        );
        AnyBatch::from(Batch::from_delta(&layout, &Delta::insertions(rows.unwrap())).unwrap())
    };
    let mut merger = Merger::new(
        Arc::clone(&layout),
        vec![batch(0..10_000), batch(5000..15_000)],
    );
    let mut slices = 0;
    let merged = loop {
        slices += 1;
        if let Some(batch) = merger.work(&mut 1000).unwrap() {
            break batch;
        }
    };
    assert!(slices >= 20, "{slices} slices");
    let whole = Merger::new(
        Arc::clone(&layout),
        vec![batch(0..15_000), batch(5000..10_000)],
    );
    let whole = { whole }.work(&mut usize::MAX.clone()).unwrap().unwrap();
    let merged = in_memory(&merged);
    assert_same(&merged, &in_memory(&whole));
    assert_eq!(
        (merged.len(), merged.weight(0), merged.weight(7000)),
        (15_000, 1, 2)
    );
}

/// Weights that overflow are an error only if the rows are equal.
#[test]
fn colliding_rows_do_not_overflow() {
    use crate::testing::{Kind, delta, schema};
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Int64]),
        crate::RowHasher::weakened(1, 0),
    ));
    let batch = |value| {
        AnyBatch::from(
            Batch::from_delta(&layout, &delta(&[Kind::Int64], &[(vec![value], i64::MAX)])).unwrap(),
        )
    };
    let work = |inputs| Merger::new(Arc::clone(&layout), inputs).work(&mut 100);
    assert_eq!(work(vec![batch(1), batch(2)]).unwrap().unwrap().len(), 2);
    assert!(matches!(
        work(vec![batch(1), batch(1)]),
        Err(crate::Error::WeightOverflow)
    ));
}

/// Pieces end where they should, and their rows may be as wide as they like.
#[test]
fn long_columns_are_cut() {
    use crate::testing::{Kind, schema};
    use arrow::array::{RecordBatch, StringArray};
    let layout = Arc::new(Layout::all_columns(
        schema(&[Kind::Text]),
        crate::RowHasher::new(1),
    ));
    let batch = |rows: usize, width: usize| {
        let texts = (0..rows).map(|row| format!("{row:0width$}"));
        let column = Arc::new(StringArray::from_iter_values(texts));
        let rows = RecordBatch::try_new(Arc::clone(&layout.schema), vec![column]).unwrap();
        AnyBatch::from(Batch::from_delta(&layout, &Delta::insertions(rows)).unwrap())
    };
    for (width, rows) in [
        (8, 1_000),
        (COLUMN_BYTES_MAX, 50),
        (10 * COLUMN_BYTES_MAX, 50),
    ] {
        let inputs = vec![batch(rows, width), batch(rows / 2, width)];
        let AnyBatch::Memory(run) = finish(Merger::new(Arc::clone(&layout), inputs), usize::MAX)
        else {
            panic!("a run in memory");
        };
        let longest = run.pieces().map(|piece| piece.len()).max().unwrap();
        // Full, and one more chunk; beside the bytes there are offsets.
        let rows_max = (2 * COLUMN_BYTES_MAX / width).max(1);
        assert!(longest <= rows_max, "{longest} rows of {width} bytes");
        assert_eq!(run.len(), rows);
    }
}
