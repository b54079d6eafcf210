//! For tests: rows of every kind of column from small palettes, and a plain Z-set to compare with.
//!
//! A value is named by its position in its kind's palette, which is in ascending order; 0 is NULL. So
//! a row is a `Vec<u8>`, and comparing positions is comparing values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::builder::{Int64Builder, ListBuilder, MapBuilder, StringBuilder};
use arrow::array::types::Float64Type;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DictionaryArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    StructArray, UInt8Array, UInt32Array,
};
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Field, Float32Type, Int32Type, IntervalMonthDayNano, Schema, SchemaRef,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use highwater_storage::{Files, LocalDisk};

use crate::{
    AnyBatch, Batch, BlockCache, Delta, Layout, MemoryBudget, Merger, RowHasher, Run, StateFiles,
    write_run,
};

/// A kind of column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int64,
    Int32,
    UInt8,
    Date32,
    Boolean,
    Float64,
    Float32,
    FloatList,
    Text,
    LargeText,
    TextView,
    Binary,
    Uuid,
    Decimal,
    Interval,
    List,
    Struct,
    Map,
    Dictionary,
}

pub(crate) const KINDS: [Kind; 19] = [
    Kind::Int64,
    Kind::Int32,
    Kind::UInt8,
    Kind::Date32,
    Kind::Boolean,
    Kind::Float64,
    Kind::Float32,
    Kind::FloatList,
    Kind::Text,
    Kind::LargeText,
    Kind::TextView,
    Kind::Binary,
    Kind::Uuid,
    Kind::Decimal,
    Kind::Interval,
    Kind::List,
    Kind::Struct,
    Kind::Map,
    Kind::Dictionary,
];

const TEXTS: [&str; 6] = ["", "a", "a\0", "aaaaaaaaab", "aaaaaaaaac", "\u{fc}"];
const FLOATS: [f64; 5] = [f64::NEG_INFINITY, -1.5, 0.0, 1e300, f64::NAN];

impl Kind {
    /// The values, ascending, all different, as Arrow stores them.
    fn palette(self) -> ArrayRef {
        match self {
            Self::Int64 => Arc::new(Int64Array::from(vec![i64::MIN, -1, 0, 1, 77, i64::MAX])),
            Self::Int32 => Arc::new(Int32Array::from(vec![i32::MIN, -1, 0, i32::MAX])),
            Self::UInt8 => Arc::new(UInt8Array::from(vec![0, 1, 128, 255])),
            Self::Date32 => Arc::new(Date32Array::from(vec![-5, 0, 20_000])),
            Self::Boolean => Arc::new(BooleanArray::from(vec![false, true])),
            Self::Float64 => Arc::new(Float64Array::from(FLOATS.to_vec())),
            Self::Float32 => float32(),
            Self::FloatList => float_lists(&FLOATS[2..]),
            Self::Text => Arc::new(StringArray::from(TEXTS.to_vec())),
            Self::LargeText => Arc::new(LargeStringArray::from(TEXTS.to_vec())),
            Self::TextView => Arc::new(StringViewArray::from(TEXTS.to_vec())),
            Self::Binary => Arc::new(BinaryArray::from(vec![&b""[..], b"\0", b"\xff\xff"])),
            Self::Uuid => Arc::new(
                FixedSizeBinaryArray::try_from_iter([[0_u8; 16], [7; 16], [255; 16]].iter())
                    .expect("widths agree"),
            ),
            Self::Decimal => decimals(),
            Self::Interval => Arc::new(IntervalMonthDayNanoArray::from(vec![
                IntervalMonthDayNano::new(0, 1, 0),
                IntervalMonthDayNano::new(1, 0, 0),
                IntervalMonthDayNano::new(1, 0, 5),
            ])),
            Self::List => lists(),
            Self::Struct => structs(),
            Self::Map => maps(),
            Self::Dictionary => Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b", "c"])),
        }
    }

    /// Other spellings of the same values: what a source may send.
    fn raw_palette(self, spelling: bool) -> ArrayRef {
        let respell = |value: f64| match value {
            0.0 => -0.0,
            value if value.is_nan() => f64::from_bits(0xFFF8_0000_0000_0123),
            value => value,
        };
        match self {
            Self::Float64 if spelling => Arc::new(
                self.palette()
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(respell),
            ),
            Self::Float32 if spelling => {
                let respell = |value: f32| match value {
                    0.0 => -0.0,
                    value if value.is_nan() => f32::from_bits(0xFFC0_0123),
                    value => value,
                };
                Arc::new(
                    self.palette()
                        .as_primitive::<Float32Type>()
                        .unary::<_, Float32Type>(respell),
                )
            }
            Self::FloatList if spelling => {
                float_lists(&FLOATS[2..].iter().map(|v| respell(*v)).collect::<Vec<_>>())
            }
            _ => self.palette(),
        }
    }

    pub(crate) fn values(self) -> u8 {
        self.palette().len() as u8
    }

    pub(crate) fn data_type(self) -> DataType {
        self.palette().data_type().clone()
    }

    /// A column of these values; 0 is NULL. Half of them in another spelling, if there is one.
    pub(crate) fn column(self, values: &[u8]) -> ArrayRef {
        let palettes = [self.raw_palette(false), self.raw_palette(true)];
        let both = arrow::compute::concat(&[palettes[0].as_ref(), palettes[1].as_ref()])
            .expect("one type");
        let index = |(row, value): (usize, &u8)| {
            let spelling = (row % 2) as u32 * u32::from(self.values());
            (*value > 0).then(|| u32::from(*value) - 1 + spelling)
        };
        let indices: UInt32Array = values.iter().enumerate().map(index).collect();
        take(both.as_ref(), &indices, None).expect("indices are in range")
    }

    /// The inverse of [`Self::column`]; panics at a value that is not canonical.
    pub(crate) fn read(self, column: &ArrayRef) -> Vec<u8> {
        let palette = texts(&self.palette());
        let position = |text: String| match text.as_str() {
            "NULL" => 0,
            text => {
                palette
                    .iter()
                    .position(|known| known == text)
                    .expect("a canonical value") as u8
                    + 1
            }
        };
        texts(column).into_iter().map(position).collect()
    }
}

fn texts(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let formatter =
        ArrayFormatter::try_new(column.as_ref(), &options).expect("any type can be shown");
    (0..column.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

fn float32() -> ArrayRef {
    Arc::new(arrow::array::Float32Array::from(vec![
        -1.5,
        0.0,
        2.0,
        f32::NAN,
    ]))
}

fn float_lists(values: &[f64]) -> ArrayRef {
    let lists = values.iter().map(|value| Some(vec![Some(*value), None]));
    Arc::new(arrow::array::ListArray::from_iter_primitive::<
        Float64Type,
        _,
        _,
    >(lists))
}

fn decimals() -> ArrayRef {
    let values = vec![
        i128::from(i64::MIN) * 100,
        -1,
        0,
        1,
        i128::from(i64::MAX) * 10,
        i128::from(i64::MAX) * 100,
    ];
    Arc::new(
        Decimal128Array::from(values)
            .with_precision_and_scale(38, 2)
            .expect("in range"),
    )
}

fn lists() -> ArrayRef {
    let mut builder = ListBuilder::new(Int64Builder::new());
    // Where nested NULLs sort depends on the options, so none decides the order here.
    for list in [&[][..], &[Some(1)], &[Some(1), Some(2)], &[Some(2), None]] {
        builder.append_value(list.iter().copied());
    }
    Arc::new(builder.finish())
}

fn structs() -> ArrayRef {
    let fields = vec![
        Field::new("a", DataType::Int64, true),
        Field::new("b", DataType::Utf8, true),
    ];
    let a = Int64Array::from(vec![1, 1, 2]);
    let b = StringArray::from(vec![Some("x"), Some("y"), None]);
    Arc::new(StructArray::new(
        fields.into(),
        vec![Arc::new(a), Arc::new(b)],
        None,
    ))
}

fn maps() -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    builder.append(true).expect("entries agree");
    for value in [1, 2] {
        builder.keys().append_value("k");
        builder.values().append_value(value);
        builder.append(true).expect("entries agree");
    }
    Arc::new(builder.finish())
}

/// A plain Z-set.
pub(crate) type Reference = BTreeMap<Vec<u8>, i64>;

pub(crate) fn schema(kinds: &[Kind]) -> SchemaRef {
    let field = |(position, kind): (usize, &Kind)| {
        Field::new(format!("c{position}"), kind.data_type(), true)
    };
    Arc::new(Schema::new(
        kinds.iter().enumerate().map(field).collect::<Vec<_>>(),
    ))
}

pub(crate) fn columns(kinds: &[Kind], rows: &[Vec<u8>]) -> Vec<ArrayRef> {
    let column = |(position, kind): (usize, &Kind)| {
        kind.column(&rows.iter().map(|row| row[position]).collect::<Vec<_>>())
    };
    kinds.iter().enumerate().map(column).collect()
}

/// Weighted rows as a delta.
pub(crate) fn delta(kinds: &[Kind], rows: &[(Vec<u8>, i64)]) -> Delta {
    let (values, weights): (Vec<Vec<u8>>, Vec<i64>) = rows.iter().cloned().unzip();
    let rows = crate::delta::record_batch(&schema(kinds), columns(kinds, &values), values.len());
    Delta::new(rows.expect("columns fit"), weights.into())
}

/// The rows of a record batch as palette positions.
pub(crate) fn read_rows(kinds: &[Kind], rows: &RecordBatch) -> Vec<Vec<u8>> {
    let columns: Vec<Vec<u8>> = kinds
        .iter()
        .zip(rows.columns())
        .map(|(kind, column)| kind.read(column))
        .collect();
    (0..rows.num_rows())
        .map(|row| columns.iter().map(|column| column[row]).collect())
        .collect()
}

pub(crate) fn read_delta(kinds: &[Kind], delta: &Delta) -> Vec<(Vec<u8>, i64)> {
    read_rows(kinds, delta.rows())
        .into_iter()
        .zip(delta.weights().iter().copied())
        .collect()
}

/// The sum of weighted rows.
pub(crate) fn sum<'a>(rows: impl IntoIterator<Item = &'a (Vec<u8>, i64)>) -> Reference {
    let mut sums = Reference::new();
    for (row, weight) in rows {
        *sums.entry(row.clone()).or_default() += weight;
    }
    sums.retain(|_, weight| *weight != 0);
    sums
}

/// Asserts that a delta is consolidated, and returns its contents.
pub(crate) fn consolidated(kinds: &[Kind], delta: &Delta) -> Reference {
    let rows = read_delta(kinds, delta);
    let contents: Reference = rows.iter().cloned().collect();
    assert_eq!(contents.len(), rows.len(), "no row repeats");
    assert!(
        rows.iter().all(|(_, weight)| *weight != 0),
        "no weight is zero"
    );
    contents
}

/// Asserts that two batches are the same to the last bit, order included.
pub(crate) fn assert_same(left: &Batch, right: &Batch) {
    assert_eq!(left.key_hashes(), right.key_hashes());
    assert_eq!(left.rows(), right.rows());
    assert_eq!(left.weights(), right.weights());
    let ranks = |batch: &Batch| {
        (0..batch.len())
            .map(|row| batch.rank(row))
            .collect::<Vec<_>>()
    };
    assert_eq!(ranks(left), ranks(right));
}

/// A folder for batch files, gone with the value.
pub(crate) struct Shelf {
    pub(crate) state_files: StateFiles,
    folder: tempfile::TempDir,
}

impl Shelf {
    /// `memory_bytes_max` is the budget of spines.
    pub(crate) fn new(memory_bytes_max: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = Files::new(Arc::new(LocalDisk), folder.path());
        let state_files = StateFiles {
            files,
            worker: 0,
            cache: BlockCache::new(1 << 14),
            budget: MemoryBudget::new(memory_bytes_max),
        };
        Self {
            state_files,
            folder,
        }
    }

    /// The batch, in a file if its bit (of the batch's number) is set and a file can hold it; else in
    /// memory, as merges leave it: cut, if it has text.
    pub(crate) fn place(&self, number: usize, batch: &Arc<Batch>, in_files: u8) -> AnyBatch {
        if batch.is_empty() || in_files >> (number % 8) & 1 == 0 {
            let inputs = vec![Arc::clone(batch).into()];
            let merged = Merger::new(Arc::clone(batch.layout()), inputs).work(&mut { usize::MAX });
            return merged.expect("sums fit").expect("enough fuel");
        }
        let run = Run::from(Arc::clone(batch));
        match write_run(&self.state_files.files, 0, &run, &self.state_files.cache) {
            Ok(file) => AnyBatch::File(Arc::new(file)),
            Err(crate::Error::Invalid(message)) if message.contains("dictionary") => {
                AnyBatch::from(Arc::clone(batch))
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    }
}

/// All rows of a batch, in memory.
pub(crate) fn in_memory(batch: &AnyBatch) -> Arc<Batch> {
    let parts: Vec<Arc<Batch>> = match batch {
        AnyBatch::Memory(run) => run.pieces().cloned().collect(),
        AnyBatch::File(file) => {
            let blocks = 0..file.blocks().expect("an index");
            let blocks = blocks.map(|block| file.block_once(block).expect("a block"));
            blocks.collect()
        }
    };
    let parts = parts.into_iter();
    let whole = parts.reduce(|left, right| Arc::new(left.joined(&right).expect("rows fit")));
    whole.unwrap_or_else(|| Arc::new(Batch::empty(Arc::clone(batch.layout()))))
}

/// A layout and weighted rows for it.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) rows: Vec<(Vec<u8>, i64)>,
}

impl Case {
    pub(crate) fn batch(&self, rows: &[(Vec<u8>, i64)]) -> Arc<Batch> {
        Arc::new(Batch::from_delta(&self.layout, &delta(&self.kinds, rows)).expect("rows fit"))
    }

    pub(crate) fn key_kinds(&self) -> Vec<Kind> {
        self.layout
            .key
            .iter()
            .map(|column| self.kinds[*column])
            .collect()
    }

    pub(crate) fn key_of(&self, row: &[u8]) -> Vec<u8> {
        self.layout.key.iter().map(|column| row[*column]).collect()
    }

    /// Compares two rows by the order columns only.
    pub(crate) fn compare(&self, left: &[u8], right: &[u8]) -> std::cmp::Ordering {
        for order in &self.layout.order {
            let (a, b) = (left[order.column], right[order.column]);
            let nulls = if order.options.nulls_first {
                (a != 0).cmp(&(b != 0))
            } else {
                (a == 0).cmp(&(b == 0))
            };
            let values = if order.options.descending {
                b.cmp(&a)
            } else {
                a.cmp(&b)
            };
            let ordering = if a == 0 || b == 0 { nulls } else { values };
            if ordering.is_ne() {
                return ordering;
            }
        }
        std::cmp::Ordering::Equal
    }
}

/// Any layout (hash or value order, any key, hashes of 64, 2 or 0 bits) with up to `rows_max` rows.
pub(crate) fn cases(rows_max: usize) -> impl Strategy<Value = Case> {
    let kinds = prop::collection::vec(prop::sample::select(KINDS.to_vec()), 0..4);
    kinds.prop_flat_map(move |kinds| {
        let row: Vec<_> = kinds.iter().map(|kind| 0..=kind.values()).collect();
        let rows = prop::collection::vec((row, -2_i64..=3), 0..=rows_max);
        let positions: Vec<usize> = (0..kinds.len()).collect();
        let key = prop::sample::subsequence(positions.clone(), 0..=kinds.len());
        let order = prop::sample::subsequence(positions, 0..=kinds.len()).prop_shuffle();
        let options = prop::collection::vec((any::<bool>(), any::<bool>()), kinds.len());
        let hasher = prop_oneof![
            4 => Just(RowHasher::new(7)),
            2 => Just(RowHasher::weakened(7, 2)),
            1 => Just(RowHasher::weakened(7, 0)),
        ];
        (rows, key, order, options, any::<bool>(), hasher).prop_map(
            move |(rows, key, order, options, is_ordered, hasher)| {
                let order = order.into_iter().zip(options).filter(|_| is_ordered).map(
                    |(column, options)| {
                        let (descending, nulls_first) = options;
                        crate::OrderColumn {
                            column,
                            options: arrow::compute::SortOptions {
                                descending,
                                nulls_first,
                            },
                        }
                    },
                );
                let layout = Layout::ordered(schema(&kinds), key, order.collect(), hasher);
                Case {
                    kinds: kinds.clone(),
                    layout: Arc::new(layout),
                    rows,
                }
            },
        )
    })
}
