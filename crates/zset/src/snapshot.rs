//! A snapshot: the contents of a spine at one moment, as a list of its batches.
//!
//! Batches are immutable, so taking and keeping a snapshot costs one reference per batch. All lookups
//! are answered here, for many keys at a time: an index lookup per key and batch gives candidate
//! rows, then one typed loop per key column keeps those whose key is equal.

mod groups;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};

use crate::any_batch::AnyBatch;
use crate::batch::Batch;
use crate::delta::Delta;
use crate::error::{Error, Result};
use crate::file::FileBatch;
use crate::index::HashIndex;
use crate::kernels::canonical::canonical_columns;
use crate::kernels::equal::{Pairs, equal_pairs};
use crate::kernels::gather::{RowNames, gather_column};
use crate::layout::Layout;
use crate::merge::Merger;
use crate::probe::{Groups, Keys, Matches, ReadLimit};
use crate::run::Run;

/// Rows of one piece of a scan.
const SCAN_PIECE_ROWS: usize = 65_536;

/// The contents of a spine at one moment; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    layout: Arc<Layout>,
    /// In memory: first the pieces of `cut_runs`, then runs of one piece.
    batches: Arc<[Arc<Batch>]>,
    /// Runs of several pieces, if there are any.
    cut_runs: Option<Arc<[Run]>>,
    files: Arc<[Arc<FileBatch>]>,
}

impl Snapshot {
    pub fn empty(layout: Arc<Layout>) -> Self {
        Self::new(layout, Vec::new())
    }

    /// `batches` have this layout; their sum is the contents.
    pub fn new(layout: Arc<Layout>, batches: impl IntoIterator<Item = AnyBatch>) -> Self {
        let (mut in_memory, mut cut_runs, mut files) = (Vec::new(), Vec::new(), Vec::new());
        for batch in batches {
            match batch {
                _ if batch.is_empty() => {}
                AnyBatch::Memory(run) if run.piece_count() > 1 => cut_runs.push(run),
                AnyBatch::Memory(run) => in_memory.push(Arc::clone(run.piece(0))),
                AnyBatch::File(batch) => files.push(batch),
            }
        }
        let pieces = cut_runs.iter().flat_map(Run::pieces).cloned();
        in_memory.splice(0..0, pieces);
        Self {
            layout,
            batches: in_memory.into(),
            cut_runs: (!cut_runs.is_empty()).then(|| cut_runs.into()),
            files: if files.is_empty() {
                Arc::default()
            } else {
                files.into()
            },
        }
    }

    /// These contents plus a batch.
    pub fn with_batch(&self, batch: Arc<Batch>) -> Self {
        if batch.is_empty() {
            return self.clone();
        }
        let batches = self.batches.iter().cloned().chain([batch]).collect();
        Self {
            batches,
            ..self.clone()
        }
    }

    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// None of them empty.
    pub fn batches(&self) -> impl Iterator<Item = AnyBatch> + '_ {
        let cut_runs = self.cut_runs.iter().flat_map(|runs| runs.iter());
        let pieces = cut_runs.clone().map(Run::piece_count).sum();
        let in_memory = self.batches.iter().skip(pieces).cloned();
        let cut_runs = cut_runs.cloned().map(AnyBatch::Memory);
        let in_memory = cut_runs.chain(in_memory.map(AnyBatch::from));
        in_memory.chain(self.files.iter().cloned().map(AnyBatch::File))
    }

    /// How many batches there are to search.
    pub fn batch_count(&self) -> usize {
        self.batches.len() + self.files.len()
    }

    /// No rows are stored.
    pub fn is_empty(&self) -> bool {
        self.batch_count() == 0
    }

    /// What must be searched for these hashes: all batches in memory, and excerpts of those in files.
    fn sources(&self, hashes: &[u64]) -> Result<Arc<[Arc<Batch>]>> {
        if self.files.is_empty() {
            return Ok(Arc::clone(&self.batches));
        }
        let excerpts = self.excerpts(hashes, usize::MAX)?;
        Ok(self.batches.iter().cloned().chain(excerpts).collect())
    }

    /// What the files hold of these hashes, at most `rows_max` rows of each hash in each file.
    fn excerpts(&self, hashes: &[u64], rows_max: usize) -> Result<Vec<Arc<Batch>>> {
        let mut excerpts = Vec::new();
        if self.files.is_empty() {
            return Ok(excerpts);
        }
        let mut distinct = Cow::Borrowed(hashes);
        if !hashes.is_sorted_by(|left, right| left < right) {
            let distinct = distinct.to_mut();
            distinct.sort_unstable();
            distinct.dedup();
        }
        for file in &*self.files {
            let excerpt = file.excerpt(&distinct, rows_max)?;
            if !excerpt.is_empty() {
                excerpts.push(Arc::new(excerpt));
            }
        }
        Ok(excerpts)
    }

    /// All stored rows whose key equals the key of a probe, NULL being equal to NULL. Ascending
    /// hashes are fastest; any order is right, and repeats are answered each.
    ///
    /// # Errors
    /// If the key columns' types are not those of the layout.
    pub fn probe(&self, hashes: &[u64], key_columns: &[ArrayRef]) -> Result<Matches> {
        self.check_key(key_columns, hashes.len())?;
        let key_columns = canonical_columns(key_columns);
        let sources = self.sources(hashes)?;
        let mut matches = Matches::default();
        let mut candidates = Candidates::default();
        for (position, batch) in sources.iter().enumerate() {
            candidates.find(batch, hashes, usize::MAX);
            candidates.verify(batch, &key_columns)?;
            matches
                .batches
                .resize(matches.len() + candidates.rows.len(), position as u32);
            matches.weights.extend(
                candidates
                    .rows
                    .iter()
                    .map(|row| batch.weight(*row as usize)),
            );
            matches.probes.extend_from_slice(&candidates.probes);
            matches.rows.extend_from_slice(&candidates.rows);
        }
        matches.sources = sources;
        Ok(matches)
    }

    /// Stored columns of the matches, one row per match.
    ///
    /// # Errors
    /// If Arrow refuses, e.g. more than 2 GiB of strings.
    pub fn gather(&self, matches: &Matches, columns: &[usize]) -> Result<Vec<ArrayRef>> {
        let names = RowNames {
            sources: &matches.batches,
            rows: &matches.rows,
        };
        columns
            .iter()
            .map(|column| self.gather_one(&matches.sources, *column, names))
            .collect()
    }

    fn gather_one(
        &self,
        sources: &[Arc<Batch>],
        column: usize,
        names: RowNames<'_>,
    ) -> Result<ArrayRef> {
        if names.rows.is_empty() {
            return Ok(Arc::clone(self.layout.empty_rows().column(column)));
        }
        let arrays: Vec<&dyn Array> = sources
            .iter()
            .map(|batch| batch.rows().column(column).as_ref())
            .collect();
        gather_column(&arrays, names)
    }

    /// The sum of the weights of all rows of each probe's key.
    ///
    /// # Errors
    /// As [`Self::probe`], or if a sum overflows.
    pub fn key_weights(&self, hashes: &[u64], key_columns: &[ArrayRef]) -> Result<Vec<i64>> {
        self.key_weights_up_to(hashes, key_columns, |_| i64::MAX)
    }

    /// As [`Self::key_weights`], but where the sum is at least `enough(probe)` it may be any number from
    /// there to the sum. That a key is there is usually known after the largest batch.
    ///
    /// # Errors
    /// As [`Self::key_weights`].
    pub fn key_weights_up_to(
        &self,
        hashes: &[u64],
        key_columns: &[ArrayRef],
        enough: impl Fn(usize) -> i64,
    ) -> Result<Vec<i64>> {
        self.check_key(key_columns, hashes.len())?;
        let key_columns = canonical_columns(key_columns);
        let mut sums = KeySums {
            hashes,
            key_columns: &key_columns,
            sums: vec![0_i64; hashes.len()],
            open: (0..hashes.len() as u32).collect(),
            open_hashes: hashes.to_vec(),
            candidates: Candidates::default(),
        };
        // Retractions first: behind them a sum only grows, so that it may end early. What is in files
        // is not known before it is read.
        let (mut positive, others): (Vec<_>, Vec<_>) = self
            .batches
            .iter()
            .partition(|batch| batch.has_positive_weights());
        others.into_iter().try_for_each(|batch| sums.add(batch))?;
        let excerpts = self.excerpts(hashes, usize::MAX)?;
        excerpts.iter().try_for_each(|batch| sums.add(batch))?;
        positive.sort_by_key(|batch| Reverse(batch.len()));
        for batch in positive {
            sums.close(&enough);
            sums.add(batch)?;
        }
        Ok(sums.sums)
    }

    /// The rows of each key, consolidated, in the layout's order, up to a limit per key.
    ///
    /// # Errors
    /// As [`Self::probe`], or if a sum of weights overflows.
    pub fn read_groups(&self, keys: &Keys, limit: ReadLimit) -> Result<Groups> {
        self.check_key(keys.columns(), keys.len())?;
        groups::read_groups(self, keys, limit)
    }

    /// All contents, consolidated and in order.
    ///
    /// # Errors
    /// As [`Self::pieces`].
    pub fn scan(&self) -> Result<Vec<Delta>> {
        if let ([only], []) = (&*self.batches, &*self.files) {
            return Ok(vec![only.to_delta()]);
        }
        self.pieces().collect()
    }

    /// All contents, consolidated and in order, in pieces of bounded size that are made when they are
    /// asked for: contents may be larger than memory.
    ///
    /// # Errors
    /// A piece is an error if a sum of weights overflows, a file cannot be read, or Arrow refuses;
    /// nothing follows it.
    pub fn pieces(&self) -> impl Iterator<Item = Result<Delta>> + use<> {
        let layout = Arc::clone(&self.layout);
        let mut merger = Some(Merger::in_pieces(
            layout,
            self.batches().collect(),
            SCAN_PIECE_ROWS,
        ));
        std::iter::from_fn(move || {
            let piece = merger.as_mut()?.next_piece().transpose();
            if !matches!(piece, Some(Ok(_))) {
                merger = None;
            }
            piece
        })
    }

    /// Stored rows; consolidation may leave fewer.
    pub fn rows_upper_bound(&self) -> usize {
        self.batches().map(|batch| batch.len()).sum()
    }

    /// Bytes of the batches that are in memory.
    pub fn bytes(&self) -> usize {
        self.batches.iter().map(|batch| batch.bytes()).sum()
    }

    fn check_key(&self, key_columns: &[ArrayRef], rows: usize) -> Result<()> {
        let stored = self
            .layout
            .key
            .iter()
            .map(|column| self.layout.schema.field(*column).data_type());
        let is_same = key_columns.len() == self.layout.key.len()
            && key_columns
                .iter()
                .zip(stored)
                .all(|(given, stored)| given.len() == rows && given.data_type() == stored);
        match is_same {
            true => Ok(()),
            false => Err(Error::Invalid(
                "the probes' key columns are not those of the layout".to_owned(),
            )),
        }
    }
}

/// Sums of the weights of keys, batch by batch.
struct KeySums<'a> {
    hashes: &'a [u64],
    key_columns: &'a [ArrayRef],
    sums: Vec<i64>,
    /// Probes whose sums are still wanted, and their hashes.
    open: Vec<u32>,
    open_hashes: Vec<u64>,
    candidates: Candidates,
}

impl KeySums<'_> {
    /// Keeps only the probes that have not enough yet.
    fn close(&mut self, enough: &impl Fn(usize) -> i64) {
        let sums = &self.sums;
        self.open
            .retain(|probe| sums[*probe as usize] < enough(*probe as usize));
        self.open_hashes.clear();
        let hashes = self.open.iter().map(|probe| self.hashes[*probe as usize]);
        self.open_hashes.extend(hashes);
    }

    fn add(&mut self, batch: &Batch) -> Result<()> {
        let candidates = &mut self.candidates;
        candidates.find(batch, &self.open_hashes, usize::MAX);
        for probe in &mut candidates.probes {
            *probe = self.open[*probe as usize];
        }
        candidates.verify(batch, self.key_columns)?;
        for (probe, row) in candidates.probes.iter().zip(&candidates.rows) {
            let sum = &mut self.sums[*probe as usize];
            let weight = batch.weight(*row as usize);
            *sum = sum.checked_add(weight).ok_or(Error::WeightOverflow)?;
        }
        Ok(())
    }
}

/// Probes whose buckets are looked up together.
const PROBES_AT_ONCE: usize = 256;

/// Rows of one batch that may have a probe's key. Kept from batch to batch for its memory.
#[derive(Default)]
struct Candidates {
    probes: Vec<u32>,
    rows: Vec<u32>,
    /// Probes of which there are more rows than asked for; empty if there is none.
    is_truncated: Vec<bool>,
    buckets: Vec<Range<u32>>,
}

impl Candidates {
    /// The first `rows_max` rows with each probe's hash.
    fn find(&mut self, batch: &Batch, hashes: &[u64], rows_max: usize) {
        self.probes.clear();
        self.rows.clear();
        self.is_truncated.clear();
        let (stored, index) = (batch.key_hashes(), batch.index());
        let mut buckets = std::mem::take(&mut self.buckets);
        let mut passed = [0_u32; PROBES_AT_ONCE];
        // Some probes at a time: first the filter, then all buckets, then all first hashes. Loads that
        // do not wait for each other overlap, where a loop with a scan in it would pay for each miss in
        // turn. What passes is written without a branch: it cannot be guessed.
        for (chunk, probes) in hashes.chunks(PROBES_AT_ONCE).enumerate() {
            let mut count = 0;
            for (position, hash) in probes.iter().enumerate() {
                passed[count] = position as u32;
                count += usize::from(index.may_contain(*hash));
            }
            let passed = &passed[..count];
            let hash_of = |position: &u32| probes[*position as usize];
            buckets.clear();
            buckets.extend(
                passed
                    .iter()
                    .map(|position| index.bucket(stored.len(), hash_of(position))),
            );
            // A window of hashes often begins in one cache line and ends in the next.
            let touch = |row: u32| stored.get(row as usize).copied().unwrap_or_default();
            let touched = buckets
                .iter()
                .map(|bucket| touch(bucket.start) ^ touch(bucket.start + 3));
            std::hint::black_box(touched.fold(0, u64::wrapping_add));
            for (position, bucket) in passed.iter().zip(&buckets) {
                let hash = hash_of(position);
                let probe = (chunk * PROBES_AT_ONCE) as u32 + position;
                let rows = HashIndex::rows_in_window(stored, bucket, hash)
                    .unwrap_or_else(|| HashIndex::rows_in(stored, bucket.clone(), hash));
                if rows.len() > 1 {
                    self.push_many(probe, rows, hashes.len(), rows_max);
                    continue;
                }
                // One row or none, without a branch: which of them cannot be guessed.
                let length = self.rows.len() + rows.len();
                self.probes.push(probe);
                self.rows.push(rows.start);
                self.probes.truncate(length);
                self.rows.truncate(length);
            }
        }
        self.buckets = buckets;
    }

    fn push_many(&mut self, probe: u32, rows: Range<u32>, probes: usize, rows_max: usize) {
        let count = rows.len().min(rows_max);
        if count < rows.len() {
            self.is_truncated.resize(probes, false);
            self.is_truncated[probe as usize] = true;
        }
        self.rows.extend(rows.start..rows.start + count as u32);
        self.probes.resize(self.rows.len(), probe);
    }

    /// Keeps the rows whose key columns are equal.
    fn verify(&mut self, batch: &Batch, key_columns: &[ArrayRef]) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let stored = batch
            .layout()
            .key
            .iter()
            .map(|column| batch.rows().column(*column));
        let pairs = Pairs {
            left: &self.rows,
            right: &self.probes,
        };
        let equal = equal_pairs(stored, key_columns.iter(), pairs)?;
        if !equal.iter().all(|equal| *equal) {
            keep(&mut self.probes, &equal);
            keep(&mut self.rows, &equal);
        }
        Ok(())
    }
}

fn keep<T: Copy>(values: &mut Vec<T>, is_kept: &[bool]) {
    let mut is_kept = is_kept.iter();
    values.retain(|_| is_kept.next().copied().unwrap_or_default());
}

#[cfg(test)]
mod tests;
