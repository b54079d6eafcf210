use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::reader::FileReader;
use highwater_storage::{Error as StorageError, Kind as ErrorKind};
use proptest::prelude::*;

use super::*;
use crate::any_batch::AnyBatch;
use crate::error::Error;
use crate::state_files::StateFiles;
use crate::testing::{Case, Kind, Shelf, assert_same, cases, in_memory};

fn is_storable(case: &Case) -> bool {
    !case.kinds.contains(&Kind::Dictionary)
}

/// The distinct hashes of a batch.
fn hashes(batch: &Batch) -> Vec<u64> {
    let mut hashes = batch.key_hashes().to_vec();
    hashes.dedup();
    hashes
}

proptest! {
    #[test]
    fn an_excerpt_is_the_first_rows_of_each_hash(case in cases(60), every in 1_usize..4, rows_max in 1_usize..6) {
        prop_assume!(is_storable(&case));
        let batch = case.batch(&case.rows);
        let shelf = Shelf::new(0);
        let AnyBatch::File(file) = shelf.place(0, &batch, 1) else { return Ok(()) };
        let asked: Vec<u64> = hashes(&batch).into_iter().step_by(every).chain([u64::MAX]).collect();
        let expected: Vec<u128> = asked
            .iter()
            .flat_map(|hash| {
                let rows = (0..batch.len()).filter(|row| batch.key_hashes()[*row] == *hash);
                rows.take(rows_max).map(|row| batch.rank(row)).collect::<Vec<_>>()
            })
            .collect();
        let mut asked = asked;
        asked.dedup();
        let excerpt = file.excerpt(&asked, rows_max).unwrap();
        let found: Vec<u128> = (0..excerpt.len()).map(|row| excerpt.rank(row)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn ranges_add_up(case in cases(60), cuts in prop::collection::vec(any::<u64>(), 0..4)) {
        prop_assume!(is_storable(&case));
        let batch = case.batch(&case.rows);
        let shelf = Shelf::new(0);
        let AnyBatch::File(file) = shelf.place(0, &batch, 1) else { return Ok(()) };
        let mut ends = cuts;
        ends.push(u64::MAX);
        ends.sort_unstable();
        ends.dedup();
        let mut start = 0;
        let mut rows = Vec::new();
        for end in ends {
            if let Some(part) = file.restricted(&(start..=end)).unwrap() {
                let part_rows = in_memory(&AnyBatch::File(Arc::new(part)));
                prop_assert!(part_rows.key_hashes().iter().all(|hash| (start..=end).contains(hash)));
                rows.extend((0..part_rows.len()).map(|row| part_rows.rank(row)));
            }
            start = end.saturating_add(1);
        }
        let all: Vec<u128> = (0..batch.len()).map(|row| batch.rank(row)).collect();
        prop_assert_eq!(rows, all);
    }

    #[test]
    fn packed_batches_come_back(case in cases(60), parts in 1_usize..5) {
        prop_assume!(is_storable(&case));
        let shelf = Shelf::new(0);
        let state_files = &shelf.state_files;
        let batches: Vec<_> = (0..parts)
            .map(|part| case.batch(&case.rows.iter().skip(part).step_by(parts).cloned().collect::<Vec<_>>()))
            .collect();
        let mut pack = PackWriter::new(&state_files.files, 3).unwrap();
        for batch in &batches {
            pack = pack.append(&Arc::clone(batch).into()).unwrap();
        }
        let packed = pack.finish(&state_files.cache).unwrap();
        prop_assert_eq!(shelf.files().len(), 1);
        for (batch, packed) in batches.iter().zip(packed) {
            // As its parent would open it.
            let location = serde_json::to_string(&packed.location()).unwrap();
            let opened = FileBatch::new(
                Arc::clone(packed.layout()),
                packed.file(),
                serde_json::from_str(&location).unwrap(),
                Arc::clone(&state_files.cache),
            );
            assert_same(&in_memory(&AnyBatch::File(Arc::new(opened))), batch);
        }
    }

    #[test]
    fn the_layout_is_in_the_file(case in cases(30), cut: u64) {
        prop_assume!(is_storable(&case));
        let batch = case.batch(&case.rows);
        let shelf = Shelf::new(0);
        let AnyBatch::File(file) = shelf.place(0, &batch, 1) else { return Ok(()) };
        let hasher = batch.layout().hasher;
        let layout = FileBatch::stored_layout(&file.file(), &file.location(), hasher).unwrap();
        prop_assert_eq!(&layout, batch.layout().as_ref());
        let reopened = FileBatch::new(
            Arc::new(layout),
            file.file(),
            file.location(),
            BlockCache::new(0),
        );
        assert_same(&in_memory(&AnyBatch::File(Arc::new(reopened))), &batch);
        let mut heard = 0;
        prop_assert_eq!(file.verify(&mut |rows| heard += rows).unwrap(), batch.len() as u64);
        prop_assert_eq!(heard, batch.len() as u64);
        for part in [0..=cut, cut..=u64::MAX] {
            if let Some(part) = file.restricted(&part).unwrap() {
                prop_assert_eq!(part.verify(&mut |_| {}).unwrap(), part.len() as u64);
            }
        }
    }

    #[test]
    fn any_damage_is_noticed(case in cases(12), seed: u64) {
        prop_assume!(is_storable(&case));
        let batch = case.batch(&case.rows);
        let shelf = Shelf::new(0);
        let AnyBatch::File(file) = shelf.place(0, &batch, 1) else { return Ok(()) };
        let bytes = std::fs::read(file.file().path()).unwrap();
        for number in 0..40_u64 {
            let bit = (seed.wrapping_mul(number * 2 + 1) % (bytes.len() as u64 * 8)) as usize;
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            check_damaged(&file, &damaged, &batch);
            check_damaged(&file, &bytes[..bit / 8], &batch);
        }
    }
}

/// Reading damaged bytes is an error that names the file, or gives what was written.
fn check_damaged(file: &FileBatch, bytes: &[u8], batch: &Batch) {
    let stored = file.file();
    let path = stored.path();
    std::fs::write(path, bytes).unwrap();
    let reread = FileBatch::new(
        Arc::clone(file.layout()),
        file.file(),
        file.location(),
        BlockCache::new(0),
    );
    let read = || -> Result<Vec<Arc<Batch>>> {
        (0..reread.blocks()?)
            .map(|block| reread.block_once(block))
            .collect()
    };
    match read() {
        Ok(blocks) => {
            let rows: Vec<_> = blocks.iter().map(|block| block.rows().clone()).collect();
            let schema = &batch.layout().schema;
            let rows = arrow::compute::concat_batches(schema, &rows).unwrap();
            assert_eq!(&rows, batch.rows(), "the damage was in padding");
        }
        Err(Error::Storage(error)) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(error.path(), path, "{error}");
        }
        Err(error) => panic!("another error: {error}"),
    }
}

fn numbers(rows: i64) -> (Arc<Batch>, Shelf) {
    let case = Case {
        kinds: vec![Kind::Int64, Kind::Text],
        layout: Arc::new(Layout::hashed(
            crate::testing::schema(&[Kind::Int64, Kind::Text]),
            vec![0],
            crate::RowHasher::new(5),
        )),
        rows: Vec::new(),
    };
    let values = |row: i64| vec![(row % 7) as u8, (row / 7 % 7) as u8];
    let rows: Vec<(Vec<u8>, i64)> = (0..rows).map(|row| (values(row), 1)).collect();
    (case.batch(&rows), Shelf::new(0))
}

#[test]
fn ordinary_readers_of_arrow_files_read_a_batch() {
    let (batch, shelf) = numbers(30);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let reader =
        FileReader::try_new(std::fs::File::open(file.file().path()).unwrap(), None).unwrap();
    let read: Vec<_> = reader.map(|rows| rows.unwrap()).collect();
    assert_eq!(read.len(), batch.len().div_ceil(format::BLOCK_ROWS));
    let names: Vec<String> = read[0]
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    assert_eq!(names, ["c0", "c1", "__weight"]);
    let rows = arrow::compute::concat_batches(&read[0].schema(), &read).unwrap();
    assert_eq!(rows.columns()[..2], batch.rows().columns()[..]);
}

#[test]
fn a_newer_version_and_another_layout_are_refused() {
    let (batch, shelf) = numbers(5);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let mut bytes = std::fs::read(file.file().path()).unwrap();
    let key = b"highwater.version";
    let at = bytes
        .windows(key.len())
        .rposition(|window| window == key)
        .unwrap();
    let version = bytes[..at].iter().rposition(|byte| *byte == b'1');
    let after = bytes[at..]
        .iter()
        .position(|byte| *byte == b'1')
        .map(|found| found + at);
    let version = after
        .filter(|found| bytes[*found - 4..*found] == 1_u32.to_le_bytes())
        .or(version)
        .unwrap();
    bytes[version] = b'9';
    std::fs::write(file.file().path(), &bytes).unwrap();
    let mut location = file.location();
    let tail = bytes.len() - location.tail_length as usize;
    location.tail_checksum = highwater_storage::digest::checksum(&bytes[tail..]);
    let open = |layout: &Arc<Layout>, location: &BatchLocation| {
        FileBatch::new(
            Arc::clone(layout),
            file.file(),
            location.clone(),
            BlockCache::new(0),
        )
    };
    let error = open(batch.layout(), &location).blocks().unwrap_err();
    let kind = |error: &Error| match error {
        Error::Storage(error) => StorageError::kind(error),
        error => panic!("{error}"),
    };
    assert_eq!(kind(&error), ErrorKind::Unsupported, "{error}");
    assert!(error.to_string().contains("version 9"), "{error}");

    let AnyBatch::File(intact) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let other = Layout::hashed(
        Arc::clone(&batch.layout().schema),
        vec![1],
        crate::RowHasher::new(5),
    );
    let other = FileBatch::new(
        Arc::new(other),
        intact.file(),
        intact.location(),
        BlockCache::new(0),
    );
    let error = other.blocks().unwrap_err();
    assert!(error.to_string().contains("another layout"), "{error}");
}

#[test]
fn columns_of_one_name_are_told_apart_in_the_file() {
    let layout = |names: [&str; 2]| {
        let fields = names.map(|name| Field::new(name, DataType::Int64, true));
        let schema = Arc::new(Schema::new(fields.to_vec()));
        Arc::new(Layout::hashed(schema, vec![1], crate::RowHasher::new(5)))
    };
    let columns = [1, 2].map(|value| Arc::new(Int64Array::from(vec![value])) as ArrayRef);
    let written = layout(["a", "a"]);
    let rows = RecordBatch::try_new(Arc::clone(&written.schema), columns.to_vec()).unwrap();
    let delta = crate::Delta::insertions(rows);
    let batch = Arc::new(Batch::from_delta(&written, &delta).unwrap());
    let shelf = Shelf::new(0);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let stored = FileBatch::stored_layout(&file.file(), &file.location(), written.hasher).unwrap();
    assert_eq!(stored, *layout(["a", "a#1"]));
}

#[test]
fn fewer_rows_than_the_checkpoint_says_are_noticed() {
    let (batch, shelf) = numbers(40);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let location = BatchLocation {
        rows: file.location().rows + 1,
        ..file.location()
    };
    let other = FileBatch::new(
        Arc::clone(file.layout()),
        file.file(),
        location,
        BlockCache::new(0),
    );
    let error = other.verify(&mut |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("has up to 40 rows, not 41"),
        "{error}"
    );
    let mut location = file.location();
    location.tail_checksum ^= 1;
    let layout = FileBatch::stored_layout(&file.file(), &location, batch.layout().hasher);
    let error = layout.unwrap_err();
    assert!(error.to_string().contains("block index"), "{error}");
}

#[test]
fn another_seed_is_noticed() {
    let (batch, shelf) = numbers(40);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let other = Layout::hashed(
        Arc::clone(&batch.layout().schema),
        vec![0],
        crate::RowHasher::new(6),
    );
    let other = FileBatch::new(
        Arc::new(other),
        file.file(),
        file.location(),
        BlockCache::new(0),
    );
    let error = other.block_once(0).unwrap_err();
    assert!(error.to_string().contains("another seed"), "{error}");
}

#[test]
fn blocks_are_read_once_while_they_fit_the_cache() {
    let (batch, shelf) = numbers(40);
    let AnyBatch::File(file) = shelf.place(0, &batch, 1) else {
        panic!("it is stored");
    };
    let asked = hashes(&batch);
    let first = file.excerpt(&asked, usize::MAX).unwrap();
    // The file is gone, the blocks are not.
    std::fs::write(file.file().path(), b"").unwrap();
    let again = file.excerpt(&asked, usize::MAX).unwrap();
    assert_same(&first, &again);
    assert!(shelf.state_files.cache.bytes() > 0);
    drop(file);
    assert_eq!(
        shelf.state_files.cache.bytes(),
        0,
        "a batch takes its blocks along"
    );
}

#[test]
fn blocks_of_wide_rows_have_fewer() {
    let rows_of = |row_bytes: usize| format::block_rows(100, 100 * row_bytes);
    assert_eq!([40, 60 << 10, 1 << 20].map(rows_of), [4, 2, 1]);
    assert_eq!(format::block_rows(0, 0), 4);
}

#[test]
fn what_is_not_there_is_not_read() {
    let (batch, shelf) = numbers(4_000);
    let state_files = StateFiles {
        cache: BlockCache::new(1 << 20),
        ..shelf.state_files.clone()
    };
    let run = Arc::clone(&batch).into();
    let written = crate::write_run(&state_files.files, 0, &run, &state_files.cache).unwrap();
    let absent: Vec<u64> = hashes(&batch).iter().map(|hash| hash + 1).collect();
    let filters = state_files.cache.bytes();
    assert!(filters > 0);
    assert!(written.excerpt(&absent, usize::MAX).unwrap().is_empty());
    let read = state_files.cache.bytes() - filters;
    assert!(read < filters, "{read} bytes of blocks were read");
    // Opened again, blocks are read once, and then known.
    let opened = FileBatch::new(
        Arc::clone(written.layout()),
        written.file(),
        written.location(),
        Arc::clone(&state_files.cache),
    );
    drop(written);
    assert_eq!(state_files.cache.bytes(), 0, "it takes its entries along");
    let present = opened.excerpt(&hashes(&batch), usize::MAX).unwrap();
    assert_eq!(present.len(), batch.len());
    let kept = state_files.cache.bytes();
    assert!(opened.excerpt(&absent, usize::MAX).unwrap().is_empty());
    assert_eq!(state_files.cache.bytes(), kept);
}
