//! Writes batches to files: large ones to a file of their own, small ones together.

use std::io;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter as IpcWriter, IpcWriteOptions};
use highwater_storage::digest::checksum;
use highwater_storage::{Error as StorageError, FileWriter, Files, StoredFile};

use super::filter::BlockFilter;
use super::format::{BatchLocation, BlockEntry, block_rows, file_schema, footer_metadata};
use super::{BlockCache, FileBatch};
use crate::batch::Batch;
use crate::delta::columns_bytes;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::run::Run;

/// Batches of more bytes in memory get a file of their own: writing them takes longer than one more
/// sync, and their room is given back as soon as they are merged.
pub const PACKED_BYTES_MAX: usize = 16 << 20;

/// Batches inside a pack begin at multiples of this, as Arrow wants it.
const ALIGNMENT: u64 = 64;

/// Writes a run to a file of its own.
///
/// # Errors
/// If the system refuses, or a column has a type that files cannot hold.
pub fn write_run(
    files: &Arc<Files>,
    worker: usize,
    run: &Run,
    cache: &Arc<BlockCache>,
) -> Result<FileBatch> {
    let mut writer = SpillWriter::new(files, worker, Arc::clone(run.layout()))?;
    run.pieces().try_for_each(|piece| writer.write(piece))?;
    writer.finish(cache)
}

/// A batch that is written as it is made.
pub(crate) struct SpillWriter {
    segment: SegmentWriter,
}

impl SpillWriter {
    pub(crate) fn new(files: &Arc<Files>, worker: usize, layout: Arc<Layout>) -> Result<Self> {
        let sink = Sink::new(files.create(worker)?);
        let segment = SegmentWriter::new(layout, sink)?;
        Ok(Self { segment })
    }

    /// Adds rows behind those before; their order is the layout's.
    pub(crate) fn write(&mut self, rows: &Batch) -> Result<()> {
        self.segment.write_batch(rows)
    }

    pub(crate) fn finish(self, cache: &Arc<BlockCache>) -> Result<FileBatch> {
        let (segment, sink) = self.segment.finish()?;
        let file = sink.file.finish()?;
        Ok(segment.open(file, cache))
    }
}

/// Several batches in one file, which is itself a (rowless) Arrow file: its metadata says where the
/// batches are.
pub struct PackWriter {
    sink: Sink,
    segments: Vec<Segment>,
}

impl PackWriter {
    /// Begins a file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn new(files: &Arc<Files>, worker: usize) -> Result<Self> {
        Ok(Self {
            sink: Sink::new(files.create(worker)?),
            segments: Vec::new(),
        })
    }

    /// Adds a run; it is number `n` of the result if it is the `n`-th one, counted from zero.
    ///
    /// # Errors
    /// As [`write_run`]. The file is useless then.
    pub fn append(mut self, run: &Run) -> Result<Self> {
        self.sink.align()?;
        let mut segment = SegmentWriter::new(Arc::clone(run.layout()), self.sink)?;
        run.pieces()
            .try_for_each(|piece| segment.write_batch(piece))?;
        let (segment, sink) = segment.finish()?;
        self.segments.push(segment);
        self.sink = sink;
        Ok(self)
    }

    /// The batches, in the order in which they were added.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn finish(mut self, cache: &Arc<BlockCache>) -> Result<Vec<FileBatch>> {
        self.sink.align()?;
        let segments = self.segments.iter();
        let directory: Vec<&BatchLocation> = segments.map(|segment| &segment.location).collect();
        let directory = serde_json::to_string(&directory)
            .map_err(|error| Error::Invalid(format!("a pack cannot be described: {error}")))?;
        let mut ipc = IpcWriter::try_new(self.sink, &Schema::empty())?;
        ipc.write_metadata("highwater.pack", directory);
        let mut sink = ipc.into_inner()?;
        sink.write_region()?;
        let file = sink.file.finish()?;
        let segments = self.segments.into_iter();
        let batches = segments.map(|segment| segment.open(Arc::clone(&file), cache));
        Ok(batches.collect())
    }
}

/// A batch that is in a file; the location lacks its name.
struct Segment {
    layout: Arc<Layout>,
    location: BatchLocation,
    filters: Vec<BlockFilter>,
}

impl Segment {
    fn open(mut self, file: Arc<StoredFile>, cache: &Arc<BlockCache>) -> FileBatch {
        file.name().clone_into(&mut self.location.file);
        let mut batch = FileBatch::new(self.layout, file, self.location, Arc::clone(cache));
        batch.set_filters(self.filters);
        batch
    }
}

/// One batch that is being written.
struct SegmentWriter {
    layout: Arc<Layout>,
    start: u64,
    ipc: IpcWriter<Sink>,
    blocks: Vec<BlockEntry>,
    filters: Vec<BlockFilter>,
    rows: u64,
}

impl SegmentWriter {
    /// # Errors
    /// If a column has a type that files cannot hold.
    fn new(layout: Arc<Layout>, sink: Sink) -> Result<Self> {
        let start = sink.file.len();
        let schema = file_schema(&layout);
        if let Some(field) = schema
            .fields()
            .iter()
            .find(|field| has_dictionary(field.data_type()))
        {
            let message = format!(
                "column `{}` is a dictionary, which files cannot hold",
                field.name()
            );
            return Err(Error::Invalid(message));
        }
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
        let mut ipc = IpcWriter::try_new_with_options(sink, &schema, options)?;
        ipc.get_mut().write_region()?;
        Ok(Self {
            layout,
            start,
            ipc,
            blocks: Vec::new(),
            filters: Vec::new(),
            rows: 0,
        })
    }

    fn write_batch(&mut self, batch: &Batch) -> Result<()> {
        let block_rows = block_rows(batch.len(), columns_bytes(batch.rows().columns()));
        for start in (0..batch.len()).step_by(block_rows) {
            self.write_block(batch, start, block_rows.min(batch.len() - start))?;
        }
        Ok(())
    }

    fn write_block(&mut self, batch: &Batch, start: usize, length: usize) -> Result<()> {
        let columns = batch.rows().columns().iter();
        let mut columns: Vec<ArrayRef> =
            columns.map(|column| column.slice(start, length)).collect();
        let weights = (start..start + length).map(|row| batch.weight(row));
        columns.push(Arc::new(Int64Array::from_iter_values(weights)));
        let schema = Arc::clone(self.ipc.schema());
        self.ipc.write(&RecordBatch::try_new(schema, columns)?)?;
        let (_, checksum) = self.ipc.get_mut().write_region()?;
        let hashes = &batch.key_hashes()[start..start + length];
        let ends = hashes.first().zip(hashes.last());
        let (first_hash, last_hash) = ends.map_or((0, 0), |(first, last)| (*first, *last));
        self.blocks.push(BlockEntry {
            first_hash,
            first_second: batch.rank(start) as u64,
            last_hash,
            last_second: batch.rank(start + length - 1) as u64,
            rows: length as u32,
            checksum,
        });
        self.filters.push(BlockFilter::new(hashes));
        self.rows += length as u64;
        Ok(())
    }

    /// Writes the tail.
    fn finish(mut self) -> Result<(Segment, Sink)> {
        for (key, value) in footer_metadata(&self.layout, &self.blocks) {
            self.ipc.write_metadata(key, value);
        }
        self.ipc.finish()?;
        let mut sink = self.ipc.into_inner()?;
        let (tail_length, tail_checksum) = sink.write_region()?;
        let location = BatchLocation {
            file: String::new(),
            offset: self.start,
            length: sink.file.len() - self.start,
            tail_length,
            tail_checksum,
            rows: self.rows,
            hashes: None,
        };
        let segment = Segment {
            layout: self.layout,
            location,
            filters: self.filters,
        };
        Ok((segment, sink))
    }
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, _) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_dictionary(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_dictionary(field.data_type())),
        _ => false,
    }
}

/// Gathers what Arrow writes until a region is complete, so that it can be summed, and so that an error
/// of the disk stays one of the disk.
struct Sink {
    file: FileWriter,
    region: Vec<u8>,
}

impl Sink {
    fn new(file: FileWriter) -> Self {
        Self {
            file,
            region: Vec::new(),
        }
    }

    /// Ends a region; its length and checksum.
    fn write_region(&mut self) -> std::result::Result<(u64, u64), StorageError> {
        self.file.write(&self.region)?;
        let sums = (self.region.len() as u64, checksum(&self.region));
        self.region.clear();
        Ok(sums)
    }

    fn align(&mut self) -> std::result::Result<(), StorageError> {
        let padding = self.file.len().next_multiple_of(ALIGNMENT) - self.file.len();
        self.file
            .write(&[0; ALIGNMENT as usize][..padding as usize])
    }
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.region.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
