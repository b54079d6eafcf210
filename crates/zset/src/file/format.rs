//! The bytes of a batch in a file: an Arrow IPC file with a block index.
//!
//! See `docs/internals/batch-file-format.md`; a change here is a change there.
//!
//! - A block is one record batch of up to [`BLOCK_ROWS`] rows (fewer if they are wide): the layout's
//!   columns, then `__weight`.
//!   Buffers are compressed with LZ4. Hashes are not stored: they are random, so they would be the
//!   larger half of most files, and computing them again costs less than reading them.
//! - The footer's metadata holds the version, the layout and the block index: for each block its first
//!   and last rank, its rows and its checksum.
//! - The checksum of everything behind the last block ("the tail") is kept by the parent.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::FileDecoder;
use arrow::ipc::{Block, Footer, MetadataVersion, root_as_footer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use highwater_storage::digest::checksum;
use highwater_storage::{Error as StorageError, Kind, StoredFile};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::hash::RowHasher;
use crate::layout::{Layout, OrderColumn};

/// Version of this format. A reader refuses any other.
const VERSION: &str = "1";
const VERSION_KEY: &str = "highwater.version";
const LAYOUT_KEY: &str = "highwater.layout";
const BLOCKS_KEY: &str = "highwater.blocks";
const WEIGHT_COLUMN: &str = "__weight";

/// Rows of a block. A lookup reads a block for one row, so it should be small; Arrow's description of a
/// record batch takes about 500 bytes and its decoding a few microseconds per column, so it should not
/// be smaller. 2,048 rows of 40 bytes are 80 KiB, of which the description is less than one percent.
/// Tests have many blocks of few rows.
pub(crate) const BLOCK_ROWS: usize = if cfg!(test) { 4 } else { 2_048 };

/// Blocks of wide rows have about this many bytes, but not less than 1/32 of [`BLOCK_ROWS`].
const BLOCK_BYTES: usize = 128 << 10;

/// Rows of a block of rows that take this many bytes in all.
pub(super) fn block_rows(rows: usize, bytes: usize) -> usize {
    let row_bytes = bytes.div_ceil(rows.max(1)).max(1);
    (BLOCK_BYTES / row_bytes).clamp(BLOCK_ROWS.div_ceil(32), BLOCK_ROWS)
}

/// The footer ends with its length and Arrow's magic.
const MAGIC: &[u8; 6] = b"ARROW1";
const FOOTER_END_BYTES: usize = size_of::<i32>() + MAGIC.len();

/// Where a batch is, and what proves that it is the one: kept by its parent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchLocation {
    /// Name of the file.
    pub file: String,
    /// Where the batch begins in the file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
    /// Its bytes, tail included.
    pub length: u64,
    /// Of the bytes behind its last block.
    pub tail_length: u64,
    pub tail_checksum: u64,
    /// Distinct rows, within `hashes`.
    pub rows: u64,
    /// Only rows with key hashes in this range belong to it, both ends included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hashes: Option<(u64, u64)>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What is known of each block without reading it.
#[derive(Debug, Default)]
pub(crate) struct BlockIndex {
    blocks: Vec<(BlockEntry, Block)>,
    /// Ascending; apart from the entries, because they are searched.
    last_hashes: Vec<u64>,
}

/// One block, as the index has it; Arrow's footer says where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockEntry {
    pub(crate) first_hash: u64,
    pub(crate) first_second: u64,
    pub(crate) last_hash: u64,
    pub(crate) last_second: u64,
    pub(crate) rows: u32,
    pub(crate) checksum: u64,
}

/// Four ranks' halves, the rows, the checksum.
const ENTRY_BYTES: usize = 4 * 8 + 4 + 8;

impl BlockIndex {
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn rows(&self, block: usize) -> usize {
        self.blocks[block].0.rows as usize
    }

    pub(crate) fn first_hash(&self, block: usize) -> u64 {
        self.blocks[block].0.first_hash
    }

    pub(crate) fn last_hash(&self, block: usize) -> u64 {
        self.last_hashes[block]
    }

    /// The first block from `from` on that ends with this hash or a greater one; one behind the last
    /// block if there is none.
    pub(crate) fn first_block_with(&self, hash: u64, from: usize) -> usize {
        from + self.last_hashes[from..].partition_point(|last| *last < hash)
    }

    /// The block behind this one begins with the rank that this one ends with: rows of one rank are
    /// compared by value, so they must be seen together.
    pub(crate) fn is_tied_to_next(&self, block: usize) -> bool {
        let next = self.blocks.get(block + 1);
        next.is_some_and(|(next, _)| {
            let (this, _) = &self.blocks[block];
            (this.last_hash, this.last_second) == (next.first_hash, next.first_second)
        })
    }

    fn new(blocks: Vec<(BlockEntry, Block)>) -> Self {
        let last_hashes = blocks.iter().map(|(block, _)| block.last_hash).collect();
        Self {
            blocks,
            last_hashes,
        }
    }
}

/// The schema of the file: the layout's columns, then the weight. Names that repeat get their position
/// behind them: Arrow lets columns share a name, but not every reader does.
pub(crate) fn file_schema(layout: &Layout) -> SchemaRef {
    let weight = Field::new(WEIGHT_COLUMN, DataType::Int64, false);
    let fields = layout
        .schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone());
    let mut fields: Vec<Field> = fields.collect();
    for position in 0..fields.len() {
        let name = fields[position].name().clone();
        if fields[..position]
            .iter()
            .any(|before| *before.name() == name)
            || name == WEIGHT_COLUMN
        {
            fields[position] = fields[position]
                .clone()
                .with_name(format!("{name}#{position}"));
        }
    }
    fields.push(weight);
    Arc::new(Schema::new(fields))
}

/// What the footer's metadata says of the layout: the reader must have the same.
fn describe_layout(layout: &Layout) -> String {
    let order: Vec<String> = layout
        .order
        .iter()
        .map(|order| {
            let direction = if order.options.descending {
                "desc"
            } else {
                "asc"
            };
            let nulls = if order.options.nulls_first {
                "first"
            } else {
                "last"
            };
            format!("{} {direction} nulls {nulls}", order.column)
        })
        .collect();
    serde_json::json!({ "key": layout.key, "order": order }).to_string()
}

/// Reads what [`describe_layout`] wrote, for columns of this schema.
fn parse_layout(description: &str, schema: SchemaRef, hasher: RowHasher) -> Option<Layout> {
    #[derive(Deserialize)]
    struct Description {
        key: Vec<usize>,
        order: Vec<String>,
    }
    let description: Description = serde_json::from_str(description).ok()?;
    let order = description.order.iter().map(|text| parse_order(text));
    let order: Vec<OrderColumn> = order.collect::<Option<_>>()?;
    let columns = schema.fields().len();
    let ordered = order.iter().map(|order| &order.column);
    let is_known = description
        .key
        .iter()
        .chain(ordered)
        .all(|column| *column < columns);
    is_known.then(|| Layout::ordered(schema, description.key, order, hasher))
}

fn parse_order(text: &str) -> Option<OrderColumn> {
    let (column, options) = text.split_once(' ')?;
    let (descending, nulls_first) = match options {
        "asc nulls first" => (false, true),
        "asc nulls last" => (false, false),
        "desc nulls first" => (true, true),
        "desc nulls last" => (true, false),
        _ => return None,
    };
    Some(OrderColumn {
        column: column.parse().ok()?,
        options: SortOptions {
            descending,
            nulls_first,
        },
    })
}

/// The footer's metadata.
pub(crate) fn footer_metadata(
    layout: &Layout,
    blocks: &[BlockEntry],
) -> [(&'static str, String); 3] {
    let mut bytes = Vec::with_capacity(blocks.len() * ENTRY_BYTES);
    for block in blocks {
        bytes.extend_from_slice(&block.first_hash.to_le_bytes());
        bytes.extend_from_slice(&block.first_second.to_le_bytes());
        bytes.extend_from_slice(&block.last_hash.to_le_bytes());
        bytes.extend_from_slice(&block.last_second.to_le_bytes());
        bytes.extend_from_slice(&block.rows.to_le_bytes());
        bytes.extend_from_slice(&block.checksum.to_le_bytes());
    }
    [
        (VERSION_KEY, VERSION.to_owned()),
        (LAYOUT_KEY, describe_layout(layout)),
        (BLOCKS_KEY, STANDARD.encode(bytes)),
    ]
}

/// Reads and verifies what is behind the last block of a batch.
fn read_tail(file: &StoredFile, location: &BatchLocation) -> Result<Vec<u8>> {
    let corrupt = |message: &str| Error::from(StorageError::corrupt(file.path(), message));
    let end = location.offset.checked_add(location.length);
    if end.is_none_or(|end| end > file.size_bytes()) || location.tail_length > location.length {
        return Err(corrupt("is shorter than its checkpoint says"));
    }
    let start = location.offset + (location.length - location.tail_length);
    let length = usize::try_from(location.tail_length).map_err(|_| corrupt("has no such tail"))?;
    let tail = file.read(start, length)?;
    if checksum(&tail) != location.tail_checksum {
        return Err(corrupt("the checksum of the block index does not match"));
    }
    Ok(tail)
}

/// Reads and verifies the layout that a batch was written with. Names that repeat have their position
/// behind them, as in the file.
pub(crate) fn read_layout(
    file: &StoredFile,
    location: &BatchLocation,
    hasher: RowHasher,
) -> Result<Layout> {
    let tail = read_tail(file, location)?;
    let layout = parse_footer(&tail).and_then(|footer| stored_layout(&footer, hasher));
    layout.map_err(|reason| reason.in_file(file))
}

/// Reads and verifies the index of a batch.
pub(crate) fn read_index(
    file: &StoredFile,
    location: &BatchLocation,
    layout: &Layout,
) -> Result<BlockIndex> {
    let tail = read_tail(file, location)?;
    let blocks = parse_footer(&tail).and_then(|footer| parse_blocks(&footer, layout));
    let blocks = blocks.map_err(|reason| reason.in_file(file))?;
    let (first, last) = location.hashes.unwrap_or((0, u64::MAX));
    let is_wanted =
        |(block, _): &(BlockEntry, Block)| block.last_hash >= first && block.first_hash <= last;
    Ok(BlockIndex::new(
        blocks.into_iter().filter(is_wanted).collect(),
    ))
}

enum BadTail {
    Corrupt(String),
    Version(String),
}

impl BadTail {
    fn corrupt(message: &str) -> Self {
        Self::Corrupt(message.to_owned())
    }

    fn in_file(self, file: &StoredFile) -> Error {
        let version = match self {
            Self::Corrupt(message) => return StorageError::corrupt(file.path(), message).into(),
            Self::Version(version) => version,
        };
        let message =
            format!("has version {version} of the batch format, this program reads {VERSION}");
        let error = StorageError::new(Kind::Unsupported, file.path(), message);
        error
            .with_remedy("use the version of highwater that wrote it")
            .into()
    }
}

/// The footer, of a version that this program reads.
fn parse_footer(tail: &[u8]) -> std::result::Result<Footer<'_>, BadTail> {
    let footer_end = tail.len().checked_sub(FOOTER_END_BYTES);
    let footer_end = footer_end.ok_or_else(|| BadTail::corrupt("has no footer"))?;
    let (length, magic) = tail[footer_end..].split_at(size_of::<i32>());
    let length = length.try_into().map(i32::from_le_bytes).unwrap_or(-1);
    let footer_start = usize::try_from(length)
        .ok()
        .and_then(|length| footer_end.checked_sub(length));
    let footer_start =
        footer_start.ok_or_else(|| BadTail::corrupt("has a footer of an impossible length"))?;
    if magic != MAGIC {
        return Err(BadTail::corrupt("does not end like an Arrow file"));
    }
    let footer = root_as_footer(&tail[footer_start..footer_end])
        .map_err(|error| BadTail::Corrupt(format!("has a bad footer: {error}")))?;
    match metadata(&footer, VERSION_KEY) {
        Some(VERSION) => Ok(footer),
        Some(version) => Err(BadTail::Version(version.to_owned())),
        None => Err(BadTail::corrupt("is no batch of highwater")),
    }
}

fn metadata<'a>(footer: &Footer<'a>, wanted: &str) -> Option<&'a str> {
    let entries = footer.custom_metadata()?;
    let entry = entries.iter().find(|entry| entry.key() == Some(wanted))?;
    entry.value()
}

fn stored_layout(footer: &Footer<'_>, hasher: RowHasher) -> std::result::Result<Layout, BadTail> {
    let no_layout = || BadTail::corrupt("does not describe its layout");
    let schema = footer.schema().filter(|schema| schema.fields().is_some());
    let schema = fb_to_schema(schema.ok_or_else(no_layout)?);
    let (weight, columns) = schema.fields().split_last().ok_or_else(no_layout)?;
    if weight.name() != WEIGHT_COLUMN || *weight.data_type() != DataType::Int64 {
        return Err(BadTail::corrupt("has no weights"));
    }
    let schema = Arc::new(Schema::new(columns.to_vec()));
    let description = metadata(footer, LAYOUT_KEY).ok_or_else(no_layout)?;
    parse_layout(description, schema, hasher).ok_or_else(no_layout)
}

fn parse_blocks(
    footer: &Footer<'_>,
    layout: &Layout,
) -> std::result::Result<Vec<(BlockEntry, Block)>, BadTail> {
    let corrupt = BadTail::corrupt;
    if metadata(footer, LAYOUT_KEY) != Some(&describe_layout(layout)) {
        return Err(corrupt("has another layout than its operator"));
    }
    let index = metadata(footer, BLOCKS_KEY).and_then(|text| STANDARD.decode(text).ok());
    let index = index.ok_or_else(|| corrupt("has no block index"))?;
    let ipc: Vec<Block> = footer
        .recordBatches()
        .into_iter()
        .flatten()
        .copied()
        .collect();
    if index.len() != ipc.len() * ENTRY_BYTES {
        return Err(corrupt("has an index of other blocks"));
    }
    let entries = index.chunks_exact(ENTRY_BYTES).map(parse_entry);
    Ok(entries.zip(ipc).collect())
}

fn parse_entry(bytes: &[u8]) -> BlockEntry {
    let number = |at: usize| {
        let bytes = bytes[at..at + 8].try_into();
        u64::from_le_bytes(bytes.expect("eight bytes of an entry"))
    };
    let rows = bytes[32..36].try_into().expect("four bytes of an entry");
    BlockEntry {
        first_hash: number(0),
        first_second: number(8),
        last_hash: number(16),
        last_second: number(24),
        rows: u32::from_le_bytes(rows),
        checksum: number(36),
    }
}

/// Reads and verifies a block.
pub(crate) fn read_block(
    file: &StoredFile,
    location: &BatchLocation,
    layout: &Arc<Layout>,
    index: &BlockIndex,
    block: usize,
) -> Result<Batch> {
    let (entry, ipc) = &index.blocks[block];
    let corrupt = |message: &str| {
        let start = location.offset.saturating_add(ipc.offset() as u64);
        let message = format!("{message} in the block at byte {start}");
        Error::from(StorageError::corrupt(file.path(), message))
    };
    let lengths = [
        i64::from(ipc.metaDataLength()),
        ipc.bodyLength(),
        ipc.offset(),
    ];
    if lengths.iter().any(|length| *length < 0) {
        return Err(corrupt("an impossible length"));
    }
    let length = usize::try_from(lengths[0].saturating_add(lengths[1]));
    let length = length.map_err(|_| corrupt("an impossible length"))?;
    if length as u64 > location.length {
        return Err(corrupt("an impossible length"));
    }
    let bytes = file.read(location.offset.saturating_add(lengths[2] as u64), length)?;
    if checksum(&bytes) != entry.checksum {
        return Err(corrupt("a checksum that does not match"));
    }
    let decoder = FileDecoder::new(file_schema(layout), MetadataVersion::V5);
    let rows = decoder.read_record_batch(ipc, &Buffer::from_vec(bytes));
    let rows =
        rows.map_err(|error| corrupt(&format!("a record batch that cannot be read ({error})")))?;
    let rows = rows.ok_or_else(|| corrupt("no record batch"))?;
    let batch = to_batch(layout, &rows)?;
    let is_expected = batch.len() == entry.rows as usize
        && batch.key_hashes().first() == Some(&entry.first_hash)
        && batch.key_hashes().last() == Some(&entry.last_hash)
        && batch.is_in_order();
    match is_expected {
        true => Ok(batch),
        false => Err(corrupt(
            "rows that do not belong there (or were hashed with another seed)",
        )),
    }
}

fn to_batch(layout: &Arc<Layout>, rows: &RecordBatch) -> Result<Batch> {
    let (weights, columns) = rows
        .columns()
        .split_last()
        .ok_or_else(|| Error::Invalid("a block without columns".to_owned()))?;
    let weights = weights.as_primitive_opt::<Int64Type>();
    let weights = weights.ok_or_else(|| Error::Invalid("a block without weights".to_owned()))?;
    let columns: Vec<ArrayRef> = columns.to_vec();
    Batch::from_stored(layout, columns, weights.values().to_vec())
}
