//! One JSON record to rows: the four shapes of updates, and rows as objects or arrays.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::UnknownColumns;
use super::super::json_value::{Context, TextSeed, ValueSeed};
use super::super::rows::{Change, RowBuilder};
use super::{Options, UpdateFormat};
use crate::error::{ValueError, shorten};

/// Where the updates of a record go.
pub(super) struct Sink<'a> {
    pub(super) rows: &'a mut RowBuilder,
    pub(super) keys: &'a mut KeyCache,
    pub(super) options: &'a Options,
    pub(super) context: Context<'a>,
    /// Which element of an array is being read, from 1.
    pub(super) element: Option<u64>,
}

/// The columns of the keys of the last row, by their place in it: most rows look like the last.
#[derive(Default)]
pub(super) struct KeyCache {
    keys: Vec<(Box<str>, usize)>,
}

impl KeyCache {
    fn column(&mut self, rows: &RowBuilder, place: usize, key: &str) -> Option<usize> {
        match self.keys.get(place) {
            Some((cached, column)) if **cached == *key => return Some(*column),
            _ => {}
        }
        let column = rows.table().names().find(key)?;
        self.keys.truncate(place);
        self.keys.push((key.into(), column));
        Some(column)
    }
}

impl Sink<'_> {
    fn fail<E: serde::de::Error>(&mut self, reason: impl Into<String>) -> E {
        self.context.fail(ValueError::new(reason))
    }

    /// Ends a row.
    fn complete<E: serde::de::Error>(&mut self, change: Change) -> Result<(), E> {
        self.rows.complete(change).map_err(|(column, error)| {
            self.context.column = Some(column);
            self.context.fail(error)
        })
    }

    /// Reads a row that was kept as text.
    fn raw_row<E: serde::de::Error>(&mut self, row: &RawValue, change: Change) -> Result<(), E> {
        RowSeed(self).deserialize(row).map_err(E::custom)?;
        self.complete(change)
    }
}

/// An array of updates.
pub(super) struct ArraySeed<'s, 'a>(pub(super) &'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for ArraySeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ArraySeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of updates, as `array` is true")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let mut element = 1;
        self.0.element = Some(element);
        while sequence.next_element_seed(UpdateSeed(self.0))?.is_some() {
            element += 1;
            self.0.element = Some(element);
        }
        self.0.element = None;
        Ok(())
    }
}

/// One update.
pub(super) struct UpdateSeed<'s, 'a>(pub(super) &'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for UpdateSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let sink = self.0;
        match sink.options.update_format {
            UpdateFormat::Raw => {
                RowSeed(sink).deserialize(deserializer)?;
                sink.complete(Change::Weight(1))
            }
            UpdateFormat::InsertDelete => deserializer.deserialize_map(InsertDelete(sink)),
            UpdateFormat::Weighted => deserializer.deserialize_map(Weighted(sink)),
            UpdateFormat::Debezium => match Option::<DebeziumEvent>::deserialize(deserializer)? {
                Some(event) => match event.into_payload() {
                    Some(payload) => payload.apply(sink),
                    None => Err(sink.fail("a debezium event needs `payload` or `op`")),
                },
                // A tombstone, which follows each deletion in compacted topics.
                None => Ok(()),
            },
        }
    }
}

struct InsertDelete<'s, 'a>(&'s mut Sink<'a>);

impl<'de> Visitor<'de> for InsertDelete<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"{"insert": row}, {"delete": row} or {"update": row}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let sink = self.0;
        let mut updates = 0;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            let change = match &*key {
                "insert" => Change::Weight(1),
                "delete" => Change::Weight(-1),
                "update" if sink.rows.table().has_key() => Change::Update,
                "update" => {
                    return Err(sink.fail("`update` needs a table with a primary key"));
                }
                _ => {
                    let key = shorten(&key);
                    let reason = format!("`{key}` is none of `insert`, `delete`, `update`");
                    return Err(sink.fail(reason));
                }
            };
            map.next_value_seed(RowSeed(sink))?;
            sink.complete(change)?;
            updates += 1;
        }
        if updates != 1 {
            return Err(sink.fail("not exactly one of `insert`, `delete`, `update`"));
        }
        Ok(())
    }
}

struct Weighted<'s, 'a>(&'s mut Sink<'a>);

impl<'de> Visitor<'de> for Weighted<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(r#"{"weight": n, "data": row}"#)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let sink = self.0;
        let (mut weight, mut has_data) = (None, false);
        while let Some(key) = map.next_key_seed(TextSeed)? {
            match &*key {
                "weight" => weight = Some(map.next_value::<i64>()?),
                "data" => {
                    map.next_value_seed(RowSeed(sink))?;
                    has_data = true;
                }
                _ => {
                    let reason = format!("`{}` is neither `weight` nor `data`", shorten(&key));
                    return Err(sink.fail(reason));
                }
            }
        }
        match weight {
            Some(weight) if has_data => sink.complete(Change::Weight(weight)),
            _ => Err(sink.fail("a weighted update needs `weight` and `data`")),
        }
    }
}

/// A change event, with its payload in an envelope or (if the producer sends no schemas) bare.
/// Other keys (the schema, the source, times) are of no use here.
#[derive(Deserialize)]
struct DebeziumEvent<'a> {
    #[serde(borrow)]
    payload: Option<DebeziumPayload<'a>>,
    op: Option<String>,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

impl<'a> DebeziumEvent<'a> {
    fn into_payload(self) -> Option<DebeziumPayload<'a>> {
        let Self {
            payload,
            op,
            before,
            after,
        } = self;
        payload.or_else(|| {
            Some(DebeziumPayload {
                op: op?,
                before,
                after,
            })
        })
    }
}

#[derive(Deserialize)]
struct DebeziumPayload<'a> {
    op: String,
    #[serde(borrow)]
    before: Option<&'a RawValue>,
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

impl DebeziumPayload<'_> {
    fn apply<E: serde::de::Error>(self, sink: &mut Sink<'_>) -> Result<(), E> {
        let Self { op, before, after } = self;
        let (deletes, inserts) = match op.as_str() {
            "c" | "r" => (false, true),
            "u" => (true, true),
            "d" => (true, false),
            _ => return Err(sink.fail(format!("`op` is `{}`, not c, r, u or d", shorten(&op)))),
        };
        if deletes {
            match before {
                Some(before) => sink.raw_row(before, Change::Weight(-1))?,
                // Databases that log only the new row: it replaces the one with its key.
                None if inserts && sink.rows.table().has_key() => {}
                None => return Err(sink.fail(format!("`op` {op} needs `before`"))),
            }
        }
        match after {
            Some(after) if inserts => sink.raw_row(after, Change::Weight(1)),
            None if inserts => Err(sink.fail(format!("`op` {op} needs `after`"))),
            _ => Ok(()),
        }
    }
}

/// A row, as an object or as an array of all columns.
struct RowSeed<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a row: an object, or an array of all columns")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let sink = self.0;
        let mut place = 0;
        while let Some(key) = map.next_key_seed(TextSeed)? {
            match sink.keys.column(sink.rows, place, &key) {
                Some(column) => {
                    sink.context.column = Some(column);
                    let (column, context) = (sink.rows.column(column), &mut sink.context);
                    map.next_value_seed(ValueSeed { column, context })?;
                    sink.context.column = None;
                    place += 1;
                }
                None if sink.options.unknown_columns == UnknownColumns::Ignore => {
                    map.next_value::<IgnoredAny>()?;
                }
                None => {
                    let table = &sink.rows.table().relation().name;
                    let reason = format!("table `{table}` has no column `{}`", shorten(&key));
                    return Err(sink.fail(reason));
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let sink = self.0;
        let columns = sink.rows.table().columns();
        for index in 0..columns {
            sink.context.column = Some(index);
            let (column, context) = (sink.rows.column(index), &mut sink.context);
            if sequence
                .next_element_seed(ValueSeed { column, context })?
                .is_none()
            {
                sink.context.column = None;
                let reason = format!("the row has {index} values, the table {columns} columns");
                return Err(sink.fail(reason));
            }
        }
        sink.context.column = None;
        if sequence.next_element::<IgnoredAny>()?.is_some() {
            let reason = format!("the row has more values than the table's {columns} columns");
            return Err(sink.fail(reason));
        }
        Ok(())
    }
}
