//! Tables, streams, clocks and sinks for the tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field as ArrowField, Fields, IntervalUnit, Schema, TimeUnit};
use highwater_connectors::changes::ParsedChanges;
use highwater_connectors::clock::Clock;
use highwater_connectors::decode::{Decoded, Decoder, StreamPosition, decoder};
use highwater_connectors::error::{DecodeError, RowErrors};
use highwater_connectors::input::{Closed, InputChunk, InputEvent, InputSink};
use highwater_connectors::table::InputTable;
use highwater_types::connector::{ConnectorConfig, FormatConfig, TransportConfig};
use highwater_types::relation::{ColumnType, Field, Relation, SqlType};
use highwater_zset::Delta;
use serde_json::Value;

pub(crate) fn sql(sql_type: SqlType) -> ColumnType {
    ColumnType {
        sql_type,
        nullable: true,
        precision: None,
        scale: None,
        component: None,
        fields: None,
        key: None,
        value: None,
    }
}

pub(crate) fn decimal(precision: i64, scale: i64) -> ColumnType {
    ColumnType {
        precision: Some(precision),
        scale: Some(scale),
        ..sql(SqlType::Decimal)
    }
}

pub(crate) fn array(element: ColumnType) -> ColumnType {
    ColumnType {
        component: Some(Box::new(element)),
        ..sql(SqlType::Array)
    }
}

pub(crate) fn map(key: ColumnType, value: ColumnType) -> ColumnType {
    let key = ColumnType {
        nullable: false,
        ..key
    };
    ColumnType {
        key: Some(Box::new(key)),
        value: Some(Box::new(value)),
        ..sql(SqlType::Map)
    }
}

pub(crate) fn row(fields: &[(&str, ColumnType)]) -> ColumnType {
    ColumnType {
        fields: Some(named(fields)),
        ..sql(SqlType::Struct)
    }
}

pub(crate) fn required(columntype: ColumnType) -> ColumnType {
    ColumnType {
        nullable: false,
        ..columntype
    }
}

fn named(fields: &[(&str, ColumnType)]) -> Vec<Field> {
    let field = |(name, columntype): &(&str, ColumnType)| Field {
        name: name.trim_matches('"').to_owned(),
        case_sensitive: name.starts_with('"'),
        columntype: columntype.clone(),
        default: None,
        unused: false,
    };
    fields.iter().map(field).collect()
}

/// The project's Arrow type of an SQL type.
pub(crate) fn arrow_type(sql: &ColumnType) -> DataType {
    let part = |part: &Option<Box<ColumnType>>| arrow_type(part.as_ref().unwrap());
    match sql.sql_type {
        SqlType::Boolean => DataType::Boolean,
        SqlType::TinyInt => DataType::Int8,
        SqlType::SmallInt => DataType::Int16,
        SqlType::Integer => DataType::Int32,
        SqlType::BigInt => DataType::Int64,
        SqlType::UTinyInt => DataType::UInt8,
        SqlType::USmallInt => DataType::UInt16,
        SqlType::UInteger => DataType::UInt32,
        SqlType::UBigInt => DataType::UInt64,
        SqlType::Real => DataType::Float32,
        SqlType::Double => DataType::Float64,
        SqlType::Decimal => {
            DataType::Decimal128(sql.precision.unwrap() as u8, sql.scale.unwrap() as i8)
        }
        SqlType::Char | SqlType::Varchar | SqlType::Uuid => DataType::Utf8,
        SqlType::Binary | SqlType::Varbinary => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Time => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::IntervalDaySecond | SqlType::IntervalYearMonth => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        SqlType::Array => DataType::List(Arc::new(ArrowField::new(
            "item",
            part(&sql.component),
            true,
        ))),
        SqlType::Map => {
            let entries = Fields::from(vec![
                ArrowField::new("keys", part(&sql.key), false),
                ArrowField::new("values", part(&sql.value), true),
            ]);
            DataType::Map(
                Arc::new(ArrowField::new("entries", DataType::Struct(entries), false)),
                false,
            )
        }
        SqlType::Struct => {
            let field =
                |field: &Field| ArrowField::new(&field.name, arrow_type(&field.columntype), true);
            DataType::Struct(sql.fields.as_ref().unwrap().iter().map(field).collect())
        }
        SqlType::Null => DataType::Null,
    }
}

/// A table; names in double quotes are case-sensitive.
pub(crate) fn table(columns: &[(&str, ColumnType)], key: &[&str]) -> Arc<InputTable> {
    table_with_defaults(columns, key, Vec::new())
}

pub(crate) fn relation(columns: &[(&str, ColumnType)], key: &[&str]) -> Relation {
    Relation {
        name: "t".into(),
        case_sensitive: false,
        fields: named(columns),
        materialized: false,
        primary_key: (!key.is_empty()).then(|| key.iter().map(|name| name.to_string()).collect()),
        properties: Default::default(),
    }
}

pub(crate) fn schema(columns: &[(&str, ColumnType)]) -> Arc<Schema> {
    let field = |(name, columntype): &(&str, ColumnType)| {
        ArrowField::new(name.trim_matches('"'), arrow_type(columntype), true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

pub(crate) fn table_with_defaults(
    columns: &[(&str, ColumnType)],
    key: &[&str],
    defaults: Vec<Option<ArrayRef>>,
) -> Arc<InputTable> {
    InputTable::new(relation(columns, key), schema(columns), defaults).unwrap()
}

pub(crate) fn format(name: &str, config: Value) -> FormatConfig {
    FormatConfig {
        name: name.into(),
        config,
    }
}

pub(crate) fn connector(
    transport: &str,
    config: Value,
    format: Option<FormatConfig>,
) -> ConnectorConfig {
    ConnectorConfig::new(
        TransportConfig {
            name: transport.into(),
            config,
        },
        format,
    )
}

/// All that a stream gave.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) changes: ParsedChanges,
    pub(crate) errors: RowErrors,
}

/// Puts pieces together.
pub(crate) fn concat(table: &InputTable, pieces: &[ParsedChanges]) -> ParsedChanges {
    let schema = table.schema();
    let rows = arrow::compute::concat_batches(schema, pieces.iter().map(|p| &p.rows)).unwrap();
    let weights = pieces
        .iter()
        .flat_map(|piece| piece.weights.clone())
        .collect();
    assert!(
        pieces.iter().all(|p| p.partial.is_none()) || pieces.len() == 1,
        "not needed here"
    );
    let partial = pieces.first().and_then(|piece| piece.partial.clone());
    ParsedChanges {
        rows,
        weights,
        partial,
    }
}

/// Everything that can be taken from the decoder now.
pub(crate) fn drain(
    decoder: &mut dyn Decoder,
    records_max: usize,
) -> Result<Vec<Decoded>, DecodeError> {
    let mut pieces = Vec::new();
    while let Some(piece) = decoder.next(records_max)? {
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Decodes a stream that comes in these pieces.
pub(crate) fn decode_pieces<'a>(
    format: &FormatConfig,
    table: &Arc<InputTable>,
    start: StreamPosition,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    records_max: usize,
) -> Result<Vec<Decoded>, DecodeError> {
    let mut decoder = decoder(format, table, start).unwrap();
    let mut decoded = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        decoded.extend(drain(&mut *decoder, records_max)?);
    }
    decoder.finish();
    decoded.extend(drain(&mut *decoder, records_max)?);
    Ok(decoded)
}

pub(crate) fn outcome(table: &InputTable, decoded: &[Decoded]) -> Outcome {
    let changes: Vec<_> = decoded.iter().map(|piece| piece.changes.clone()).collect();
    let mut errors = RowErrors::default();
    for piece in decoded {
        errors.append(piece.errors.clone());
    }
    Outcome {
        changes: concat(table, &changes),
        errors,
    }
}

pub(crate) fn decode(format: &FormatConfig, table: &Arc<InputTable>, bytes: &[u8]) -> Outcome {
    let decoded = decode_pieces(
        format,
        table,
        StreamPosition::default(),
        [bytes],
        usize::MAX >> 1,
    )
    .unwrap();
    outcome(table, &decoded)
}

/// Rows as JSON text, one per change, with the weight in front.
pub(crate) fn show(changes: &ParsedChanges) -> Vec<String> {
    let rows = highwater_connectors::encode::json::JsonRows::new(&changes.rows).unwrap();
    let line = |(row, weight): (usize, &i64)| {
        let mut text = Vec::new();
        rows.write_object(row, &mut text);
        format!("{weight:+} {}", String::from_utf8(text).unwrap())
    };
    changes.weights.iter().enumerate().map(line).collect()
}

pub(crate) fn delta(rows: RecordBatch, weights: Vec<i64>) -> Delta {
    Delta::new(rows, weights.into())
}

/// A clock that moves when somebody sleeps.
#[derive(Default)]
pub(crate) struct FakeClock {
    now: Mutex<Duration>,
}

impl Clock for FakeClock {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) {
        *self.now.lock().unwrap() += duration;
        std::thread::yield_now();
    }
}

/// A sink that keeps what it gets, and may stop after some rows.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) events: Mutex<Vec<InputEvent>>,
    pub(crate) paused: AtomicBool,
    pub(crate) stopped: AtomicBool,
    pub(crate) stop_after_chunks: Option<usize>,
}

impl Collector {
    pub(crate) fn chunks(&self) -> Vec<InputChunk> {
        let events = self.events.lock().unwrap();
        let chunk = |event: &InputEvent| match event {
            InputEvent::Changes(chunk) => Some(chunk.clone()),
            _ => None,
        };
        events.iter().filter_map(chunk).collect()
    }

    pub(crate) fn outcome(&self, table: &InputTable) -> Outcome {
        let chunks = self.chunks();
        let changes: Vec<_> = chunks.iter().map(|chunk| chunk.changes.clone()).collect();
        let mut errors = RowErrors::default();
        chunks
            .iter()
            .for_each(|chunk| errors.append(chunk.errors.clone()));
        Outcome {
            changes: concat(table, &changes),
            errors,
        }
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(
            self.events.lock().unwrap().last(),
            Some(InputEvent::EndOfInput)
        )
    }
}

impl InputSink for Collector {
    fn push(&self, event: InputEvent) -> Result<(), Closed> {
        if self.should_stop() {
            return Err(Closed);
        }
        self.events.lock().unwrap().push(event);
        if self
            .stop_after_chunks
            .is_some_and(|chunks| self.chunks().len() >= chunks)
        {
            self.stopped.store(true, Ordering::SeqCst);
        }
        Ok(())
    }

    fn should_stop(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }
}

/// One column of each type, nested ones included.
pub(crate) fn all_types() -> Vec<(&'static str, ColumnType)> {
    use SqlType::*;
    vec![
        ("b", sql(Boolean)),
        ("i8", sql(TinyInt)),
        ("i16", sql(SmallInt)),
        ("i32", sql(Integer)),
        ("i64", sql(BigInt)),
        ("u8", sql(UTinyInt)),
        ("u16", sql(USmallInt)),
        ("u32", sql(UInteger)),
        ("u64", sql(UBigInt)),
        ("f32", sql(Real)),
        ("f64", sql(Double)),
        ("dec", decimal(38, 10)),
        ("dec0", decimal(5, 0)),
        ("text", sql(Varchar)),
        ("uuid", sql(Uuid)),
        ("bytes", sql(Varbinary)),
        ("date", sql(Date)),
        ("time", sql(Time)),
        ("ts", sql(Timestamp)),
        ("iv", sql(IntervalDaySecond)),
        ("list", array(array(sql(Integer)))),
        ("map", map(sql(Varchar), sql(Double))),
        ("imap", map(sql(BigInt), array(sql(Varchar)))),
        (
            "row",
            row(&[("x", sql(Integer)), ("\"Y\"", array(sql(Timestamp)))]),
        ),
    ]
}
