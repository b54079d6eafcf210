//! The relations of a checkpoint, read from its files: no program, no plan and no engine needed.
//!
//! The record says which operator keeps the rows of a table or view, each worker's state says in which
//! files that operator's batches are, and each batch says what its columns are. Rows are read when they
//! are asked for, block by block, so a relation may be larger than memory.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};
use highwater_circuit::checkpoint::SavedWorker;
use highwater_circuit::plan::OperatorId;
use highwater_storage::{Error as StorageError, Kind, paths};
use highwater_types::record::RecordedRelation;
use highwater_zset::{
    AnyBatch, BatchLocation, BlockCache, Delta, Error, FileBatch, Layout, RowHasher, Snapshot,
};

use crate::storage::SavedPipeline;

/// Rows of one record batch of [`SavedRows::rows`]: a row of a great weight is many rows.
const ROWS_MAX: usize = if cfg!(test) { 5 } else { 65_536 };

/// Blocks that are read again stay in memory up to this many bytes.
const CACHE_BYTES_MAX: usize = 64 << 20;

/// A table or view of a checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct SavedRelation<'a> {
    saved: &'a SavedPipeline,
    recorded: &'a RecordedRelation,
    is_table: bool,
}

/// The rows of a relation.
#[derive(Clone, Debug)]
pub struct SavedRows {
    /// The columns under the names that the program gave them, all nullable.
    pub schema: SchemaRef,
    /// One per worker that kept rows.
    pub snapshots: Vec<Snapshot>,
}

/// What [`SavedPipeline::verify_batches`] has read.
#[derive(Clone, Debug, Default)]
pub struct BatchVerification {
    pub batches: usize,
    pub rows: u64,
    /// The first thing that is wrong with each damaged file.
    pub damages: Vec<StorageError>,
}

impl SavedPipeline {
    /// All tables, then all views, by name.
    pub fn relations(&self) -> impl Iterator<Item = SavedRelation<'_>> {
        let program = &self.record().program;
        let relation = |is_table| {
            move |recorded| SavedRelation {
                saved: self,
                recorded,
                is_table,
            }
        };
        let tables = program.tables.values().map(relation(true));
        tables.chain(program.views.values().map(relation(false)))
    }

    /// The relation of this name; names that were not quoted in SQL may be in any case.
    pub fn relation(&self, name: &str) -> Option<SavedRelation<'_>> {
        let is_exact = |relation: &SavedRelation<'_>| relation.name() == name;
        let exact = self.relations().find(is_exact);
        exact.or_else(|| {
            let lowercase = name.to_lowercase();
            let is_unquoted = |relation: &SavedRelation<'_>| {
                !relation.recorded.relation.case_sensitive && relation.name() == lowercase
            };
            self.relations().find(is_unquoted)
        })
    }

    /// Bytes of all batches, as [`Self::verify_batches`] counts them.
    pub fn batches_bytes(&self) -> u64 {
        let locations = self.workers().iter().flat_map(locations);
        locations.map(|(_, location)| location.length).sum()
    }

    /// How many operators keep state, and in how many batches.
    pub fn state_counts(&self) -> (usize, usize) {
        let workers = self.workers().iter();
        let operators: BTreeSet<OperatorId> = workers.flat_map(SavedWorker::operators).collect();
        let batches = self.workers().iter().flat_map(locations).count();
        (operators.len(), batches)
    }

    /// Opens every batch of every operator and reads each block of it: checksums, hashes, order and
    /// numbers of rows. `progress` hears the bytes of each batch. Files that are in `known`, by path,
    /// are left out: something else is wrong with them already.
    ///
    /// # Errors
    /// If the system refuses to read.
    pub fn verify_batches(
        &self,
        known: &BTreeSet<PathBuf>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<BatchVerification, Error> {
        let mut verification = BatchVerification::default();
        let mut damaged = known.clone();
        let cache = BlockCache::new(0);
        let root = self.checkpoint().root().to_owned();
        for (_, location) in self.workers().iter().flat_map(locations) {
            if !damaged.contains(&root.join(&location.file)) {
                match self.verify_batch(location, &cache) {
                    Ok(rows) => verification.rows += rows,
                    Err(Error::Storage(error)) if error.is_damage() => {
                        damaged.insert(error.path().to_owned());
                        verification.damages.push(error);
                    }
                    Err(error) => return Err(error),
                }
                verification.batches += 1;
            }
            progress(location.length);
        }
        Ok(verification)
    }

    fn verify_batch(
        &self,
        location: &BatchLocation,
        cache: &Arc<BlockCache>,
    ) -> Result<u64, Error> {
        let batch = self.open_batch(location, None, cache)?;
        batch.verify(&mut |_| {})
    }

    /// Opens a batch, with the layout that it was written with if no other one is given.
    fn open_batch(
        &self,
        location: &BatchLocation,
        layout: Option<&Arc<Layout>>,
        cache: &Arc<BlockCache>,
    ) -> Result<FileBatch, Error> {
        let file = self.checkpoint().open_batch(&location.file)?;
        let layout = match layout {
            Some(layout) => Arc::clone(layout),
            None => {
                let hasher = RowHasher::new(self.record().hash_seed);
                Arc::new(FileBatch::stored_layout(&file, location, hasher)?)
            }
        };
        Ok(FileBatch::new(
            layout,
            file,
            location.clone(),
            Arc::clone(cache),
        ))
    }
}

/// Where all batches of a worker are.
fn locations(worker: &SavedWorker) -> impl Iterator<Item = (OperatorId, &BatchLocation)> {
    let operators = worker.operators().into_iter();
    operators.flat_map(move |operator| {
        let spines = (0..).map_while(move |position| worker.spine(operator, position));
        let locations = spines.flatten();
        locations.map(move |location| (operator, location))
    })
}

impl<'a> SavedRelation<'a> {
    pub fn name(&self) -> &'a str {
        &self.recorded.relation.name
    }

    pub fn is_table(&self) -> bool {
        self.is_table
    }

    /// What the checkpoint says of it.
    pub fn recorded(&self) -> &'a RecordedRelation {
        self.recorded
    }

    /// Its rows are in the checkpoint.
    pub fn is_materialized(&self) -> bool {
        self.recorded.contents.is_some()
    }

    /// Rows in its batches: the relation has as many or fewer distinct ones. 0 if it is not
    /// materialized.
    pub fn stored_rows(&self) -> u64 {
        let batches = self.batches().into_iter().flatten().flatten();
        batches.map(|location| location.rows).sum()
    }

    /// Where its batches are, for each worker; what is equal has equal rows.
    pub fn batches(&self) -> Option<Vec<&'a [BatchLocation]>> {
        let contents = self.recorded.contents.as_ref()?;
        let operator: OperatorId = contents.parse().ok()?;
        let workers = self.saved.workers().iter();
        workers.map(|worker| worker.spine(operator, 0)).collect()
    }

    /// Opens its batches. `schema` is used if the relation is empty, for then no file knows its types.
    ///
    /// # Errors
    /// If it is not materialized, or a file is missing or damaged.
    pub fn open(&self, schema: &SchemaRef) -> Result<SavedRows, Error> {
        let batches = self.known_batches()?;
        let cache = BlockCache::new(CACHE_BYTES_MAX);
        let mut layout: Option<Arc<Layout>> = None;
        let mut snapshots = Vec::new();
        for locations in batches {
            let mut opened: Vec<AnyBatch> = Vec::with_capacity(locations.len());
            for location in locations {
                let batch = self.saved.open_batch(location, layout.as_ref(), &cache)?;
                layout.get_or_insert_with(|| Arc::clone(batch.layout()));
                opened.push(AnyBatch::File(Arc::new(batch)));
            }
            if let Some(layout) = layout.as_ref().filter(|_| !opened.is_empty()) {
                snapshots.push(Snapshot::new(Arc::clone(layout), opened));
            }
        }
        let schema = match layout {
            None => Arc::clone(schema),
            Some(layout) => self.named(&layout.schema)?,
        };
        Ok(SavedRows { schema, snapshots })
    }

    fn known_batches(&self) -> Result<Vec<&'a [BatchLocation]>, StorageError> {
        let checkpoint = self.saved.checkpoint();
        let folder = paths::checkpoint_dir(checkpoint.root(), checkpoint.uuid());
        let name = self.name();
        if !self.is_materialized() {
            let message = format!("does not have the rows of `{name}`, which is not materialized");
            let remedy = if self.is_table {
                "give the table a primary key, or WITH ('materialized' = 'true')"
            } else {
                "define it with CREATE MATERIALIZED VIEW"
            };
            let error = StorageError::new(Kind::Invalid, folder, message);
            return Err(error.with_remedy(remedy));
        }
        self.batches().ok_or_else(|| {
            let path = folder.join(paths::PIPELINE_STATE);
            let message = format!("names an operator for `{name}` that no worker knows");
            StorageError::corrupt(path, message)
        })
    }

    /// The types of stored columns under the relation's names.
    fn named(&self, stored: &Schema) -> Result<SchemaRef, StorageError> {
        let names = &self.recorded.relation.fields;
        if names.len() != stored.fields().len() {
            let checkpoint = self.saved.checkpoint();
            let folder = paths::checkpoint_dir(checkpoint.root(), checkpoint.uuid());
            let (found, name) = (stored.fields().len(), self.name());
            let message = format!("has {found} columns of `{name}`, which has {}", names.len());
            return Err(StorageError::corrupt(
                folder.join(paths::PIPELINE_STATE),
                message,
            ));
        }
        let fields = stored.fields().iter().zip(names);
        let fields = fields.map(|(field, named)| {
            let field = field.as_ref().clone();
            field.with_name(&named.name).with_nullable(true)
        });
        Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
    }
}

impl SavedRows {
    /// All rows, as often as the relation has them, in no order that means anything, in pieces of
    /// bounded size that are made when they are asked for. Nothing follows an error.
    pub fn rows(&self) -> impl Iterator<Item = Result<RecordBatch, Error>> + use<> {
        let schema = Arc::clone(&self.schema);
        let snapshots = self.snapshots.clone().into_iter();
        let deltas = snapshots.flat_map(|snapshot| snapshot.pieces());
        let mut bag = Bag::default();
        let mut deltas = Some(deltas);
        std::iter::from_fn(move || {
            loop {
                match bag.next_rows(&schema).transpose() {
                    Some(Ok(rows)) => return Some(Ok(rows)),
                    Some(Err(error)) => {
                        deltas = None;
                        bag = Bag::default();
                        return Some(Err(error));
                    }
                    None => {}
                }
                match deltas.as_mut()?.next()? {
                    Ok(delta) => bag = Bag::new(delta),
                    Err(error) => {
                        deltas = None;
                        return Some(Err(error));
                    }
                }
            }
        })
    }

    /// How many rows [`Self::rows`] gives. Reads all of them.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn count(&self) -> Result<u64, Error> {
        let mut count: u64 = 0;
        for snapshot in &self.snapshots {
            for delta in snapshot.pieces() {
                for weight in delta?.weights() {
                    count = count.saturating_add(times(*weight)? as u64);
                }
            }
        }
        Ok(count)
    }
}

/// Rows with weights that become as many rows, some at a time.
#[derive(Default)]
struct Bag {
    delta: Option<Delta>,
    row: usize,
    /// How often this row has been given.
    given: usize,
}

impl Bag {
    fn new(delta: Delta) -> Self {
        Self {
            delta: Some(delta),
            row: 0,
            given: 0,
        }
    }

    fn next_rows(&mut self, schema: &SchemaRef) -> Result<Option<RecordBatch>, Error> {
        let Some(delta) = &self.delta else {
            return Ok(None);
        };
        let mut indices: Vec<u32> = Vec::new();
        while indices.len() < ROWS_MAX && self.row < delta.len() {
            let left = times(delta.weights()[self.row])? - self.given;
            let count = left.min(ROWS_MAX - indices.len());
            indices.extend(std::iter::repeat_n(self.row as u32, count));
            if count == left {
                self.row += 1;
                self.given = 0;
            } else {
                self.given += count;
            }
        }
        if indices.is_empty() {
            self.delta = None;
            return Ok(None);
        }
        let (rows, _) = delta.take(&indices)?.into_parts();
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let columns = rows.columns().to_vec();
        let rows = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        Ok(Some(rows))
    }
}

fn times(weight: i64) -> Result<usize, Error> {
    usize::try_from(weight)
        .map_err(|_| Error::Invalid(format!("a row of weight {weight} in what should be a bag")))
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type};
    use highwater_zset::Batch;

    use super::*;

    /// Rows of two workers, with weights.
    fn saved(workers: &[&[(i64, i64)]]) -> SavedRows {
        let schema = Arc::new(Schema::new(vec![Field::new(
            "label",
            DataType::Int64,
            true,
        )]));
        let layout = Arc::new(Layout::all_columns(Arc::clone(&schema), RowHasher::new(7)));
        let snapshots = workers.iter().map(|rows| {
            let column = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
            let weights: Vec<i64> = rows.iter().map(|row| row.1).collect();
            let rows = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
            let batch = Batch::from_delta(&layout, &Delta::new(rows, weights.into())).unwrap();
            Snapshot::new(Arc::clone(&layout), [batch.into()])
        });
        let named = Schema::new(vec![Field::new("x", DataType::Int64, true)]);
        SavedRows {
            schema: Arc::new(named),
            snapshots: snapshots.collect(),
        }
    }

    #[test]
    fn a_row_of_a_great_weight_is_given_in_pieces() {
        let saved = saved(&[&[(1, 12), (2, 1), (3, 4)], &[(4, 1)], &[]]);
        assert_eq!(saved.count().unwrap(), 18);
        let pieces: Vec<RecordBatch> = saved.rows().map(Result::unwrap).collect();
        assert!(
            pieces
                .iter()
                .all(|rows| (1..=ROWS_MAX).contains(&rows.num_rows()))
        );
        assert!(pieces.iter().all(|rows| rows.schema() == saved.schema));
        let values = pieces.iter().flat_map(|rows| {
            let column = rows.column(0).as_primitive::<Int64Type>();
            (0..column.len())
                .map(|row| column.value(row))
                .collect::<Vec<_>>()
        });
        let mut values: Vec<i64> = values.collect();
        values.sort_unstable();
        let expected = [[1; 12].as_slice(), &[2, 3, 3, 3, 3, 4]].concat();
        assert_eq!(values, expected);
    }

    #[test]
    fn nothing_follows_an_error() {
        let saved = saved(&[&[(1, -1)], &[(2, 1)]]);
        assert!(saved.count().is_err());
        let mut rows = saved.rows();
        let error = rows.next().unwrap().unwrap_err();
        assert!(error.to_string().contains("weight -1"), "{error}");
        assert!(rows.next().is_none());
    }
}
