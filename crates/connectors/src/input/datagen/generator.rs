//! Plans to rows: for each column a generator of arrays.
//!
//! A generator is asked for the values at some indices (the numbers of the rows in their plan) and
//! draws from the stream of random numbers of its column and chunk.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, RecordBatch,
    RecordBatchOptions, StringArray, StructArray, UInt64Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{nullif, take};
use arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use highwater_types::relation::{ColumnType, SqlType};
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use super::config::{FieldPlan, Plan, Strategy};
use super::numbers::{Floats, Integers};
use super::pick::Picker;
use super::words::{self, WordKind};
use crate::decode::column_of_values;
use crate::encode::value_texts;
use crate::error::{ConfigError, EncodeError};
use crate::table::{InputTable, NameLookup};

/// Lengths of made-up texts and bytes, unless the plan says otherwise.
const TEXT_LENGTHS: (u64, u64) = (0, 25);

/// Lengths of made-up arrays and maps, unless the plan says otherwise.
const LIST_LENGTHS: (u64, u64) = (0, 5);

/// Longer ones are a mistake in the plan.
const LENGTH_MAX: u64 = 100_000;

/// Makes the rows of one plan.
pub(super) struct RowGenerator {
    schema: SchemaRef,
    columns: Vec<Generator>,
    seed: u64,
    plan: u64,
}

impl RowGenerator {
    pub(super) fn new(
        table: &InputTable,
        plan: &Plan,
        seed: u64,
        plan_number: u64,
    ) -> Result<Self, ConfigError> {
        let relation = table.relation();
        let plans = field_plans(&plan.fields, table.names(), relation.fields.len())?;
        let column = |(i, plan): (usize, Option<&FieldPlan>)| {
            let data_type = table.schema().field(i).data_type();
            Generator::new(
                plan.unwrap_or(&FieldPlan::default()),
                table.column_type(i),
                data_type,
            )
            .map_err(|error| error.within(format_args!("column `{}`", table.column_name(i))))
        };
        let columns = plans
            .into_iter()
            .enumerate()
            .map(column)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            schema: Arc::clone(table.schema()),
            columns,
            seed,
            plan: plan_number,
        })
    }

    /// The rows `start .. start + rows`, which are chunk `number`.
    pub(super) fn chunk(
        &self,
        number: u64,
        start: u64,
        rows: usize,
    ) -> Result<RecordBatch, EncodeError> {
        let indices: Vec<u64> = (start..start + rows as u64).collect();
        let column = |(i, generator): (usize, &Generator)| {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&self.seed.to_le_bytes());
            key[8..16].copy_from_slice(&self.plan.to_le_bytes());
            key[16..24].copy_from_slice(&(i as u64).to_le_bytes());
            let mut rng = ChaCha8Rng::from_seed(key);
            rng.set_stream(number);
            generator.generate(&indices, &mut rng)
        };
        let columns = self
            .columns
            .iter()
            .enumerate()
            .map(column)
            .collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

/// The plans by position; a name that is no column is a mistake.
fn field_plans<'a>(
    plans: &'a BTreeMap<String, FieldPlan>,
    names: &NameLookup,
    fields: usize,
) -> Result<Vec<Option<&'a FieldPlan>>, ConfigError> {
    let mut by_position = vec![None; fields];
    for (name, plan) in plans {
        let position = names.find(name);
        let position = position
            .ok_or_else(|| ConfigError::new(format!("`fields` names `{name}`: no such column")))?;
        by_position[position] = Some(plan);
    }
    Ok(by_position)
}

/// Makes the values of a column or of a part of one.
struct Generator {
    values: Values,
    null_percentage: u32,
}

enum Values {
    Choice {
        choices: ArrayRef,
        picker: Picker,
    },
    Integers(Integers),
    Floats(Floats),
    Boolean(Picker),
    Counter,
    Text(Picker),
    Words(WordKind),
    Uuid {
        random: bool,
    },
    ByteCounter,
    Bytes(Picker),
    List {
        lengths: Picker,
        item: FieldRef,
        element: Box<Generator>,
    },
    Map {
        lengths: Picker,
        entries: FieldRef,
        key: Box<Generator>,
        value: Box<Generator>,
    },
    Struct {
        fields: Fields,
        generators: Vec<Generator>,
    },
}

impl Generator {
    fn new(plan: &FieldPlan, sql: &ColumnType, data_type: &DataType) -> Result<Self, ConfigError> {
        let null_percentage = u32::from(plan.null_percentage.unwrap_or_default());
        if null_percentage > 100 {
            return Err(ConfigError::new(
                "`null_percentage` is a number from 0 to 100",
            ));
        }
        if null_percentage > 0 && !sql.nullable {
            return Err(ConfigError::new(
                "`null_percentage`, but the column is NOT NULL",
            ));
        }
        Ok(Self {
            values: Values::new(plan, sql, data_type)?,
            null_percentage,
        })
    }

    fn generate(&self, indices: &[u64], rng: &mut ChaCha8Rng) -> Result<ArrayRef, EncodeError> {
        let array = self.values.generate(indices, rng)?;
        if self.null_percentage == 0 {
            return Ok(array);
        }
        let is_null = |_| Some(rng.random_range(0..100_u32) < self.null_percentage);
        let is_null: BooleanArray = indices.iter().map(is_null).collect();
        Ok(nullif(&array, &is_null)?)
    }
}

impl Values {
    fn new(plan: &FieldPlan, sql: &ColumnType, data_type: &DataType) -> Result<Self, ConfigError> {
        if let Some(choices) = &plan.values {
            return Self::new_choice(plan, choices, sql, data_type);
        }
        if let Strategy::Words(kind) = plan.strategy {
            return match data_type {
                DataType::Utf8 if sql.sql_type != SqlType::Uuid => Ok(Self::Words(kind)),
                _ => Err(ConfigError::new("strategies of words are for texts only")),
            };
        }
        let counts = plan.strategy == Strategy::Increment;
        Ok(match data_type {
            DataType::Boolean => Self::Boolean(Picker::new(plan, 2)?),
            DataType::Float32 | DataType::Float64 => Self::Floats(Floats::new(plan, data_type)?),
            DataType::Utf8 if sql.sql_type == SqlType::Uuid => Self::Uuid { random: !counts },
            DataType::Utf8 | DataType::Binary if counts && plan.range.is_some() => {
                return Err(ConfigError::new(
                    "`range` is the length of a text, which strategy `increment` does not use",
                ));
            }
            DataType::Utf8 if counts => Self::Counter,
            DataType::Utf8 => Self::Text(lengths(plan, TEXT_LENGTHS)?),
            DataType::Binary if counts => Self::ByteCounter,
            DataType::Binary => Self::Bytes(lengths(plan, TEXT_LENGTHS)?),
            DataType::List(item) => Self::List {
                lengths: lengths(plan, LIST_LENGTHS)?,
                item: Arc::clone(item),
                element: part(
                    plan.value.as_deref(),
                    sql.component.as_deref(),
                    item.data_type(),
                )?,
            },
            DataType::Map(entries, _) => {
                let DataType::Struct(fields) = entries.data_type() else {
                    return Err(unsupported(data_type));
                };
                Self::Map {
                    lengths: lengths(plan, LIST_LENGTHS)?,
                    entries: Arc::clone(entries),
                    key: part(
                        plan.key.as_deref(),
                        sql.key.as_deref(),
                        fields[0].data_type(),
                    )?,
                    value: part(
                        plan.value.as_deref(),
                        sql.value.as_deref(),
                        fields[1].data_type(),
                    )?,
                }
            }
            DataType::Struct(fields) => Self::new_struct(plan, sql, fields)?,
            _ => Self::Integers(Integers::new(plan, data_type)?.ok_or(unsupported(data_type))?),
        })
    }

    fn new_choice(
        plan: &FieldPlan,
        choices: &[Value],
        sql: &ColumnType,
        data_type: &DataType,
    ) -> Result<Self, ConfigError> {
        if choices.is_empty() {
            return Err(ConfigError::new("`values` is empty"));
        }
        let choices =
            column_of_values(choices, sql, data_type).map_err(|error| error.within("`values`"))?;
        if choices.null_count() > 0 && !sql.nullable {
            return Err(ConfigError::new(
                "`values` holds null, but the column is NOT NULL",
            ));
        }
        Ok(Self::Choice {
            picker: Picker::new(plan, choices.len() as u128)?,
            choices,
        })
    }

    fn new_struct(
        plan: &FieldPlan,
        sql: &ColumnType,
        fields: &Fields,
    ) -> Result<Self, ConfigError> {
        let parts = sql.fields.as_deref().unwrap_or_default();
        let plans = field_plans(&plan.fields, &NameLookup::new(parts), parts.len())?;
        let default = FieldPlan::default();
        let generator = |((plan, part), field): ((Option<&FieldPlan>, _), &FieldRef)| {
            let part: &highwater_types::relation::Field = part;
            Generator::new(
                plan.unwrap_or(&default),
                &part.columntype,
                field.data_type(),
            )
            .map_err(|error| error.within(format_args!("field `{}`", part.name)))
        };
        let generators = plans.into_iter().zip(parts).zip(fields).map(generator);
        Ok(Self::Struct {
            fields: fields.clone(),
            generators: generators.collect::<Result<_, _>>()?,
        })
    }

    fn generate(&self, indices: &[u64], rng: &mut ChaCha8Rng) -> Result<ArrayRef, EncodeError> {
        Ok(match self {
            Self::Choice { choices, picker } => {
                let picked: UInt64Array = indices.iter().map(|i| picker.pick(*i, rng)).collect();
                take(choices, &picked, None)?
            }
            Self::Integers(integers) => integers.generate(indices, rng)?,
            Self::Floats(floats) => floats.generate(indices, rng),
            Self::Boolean(picker) => Arc::new(
                indices
                    .iter()
                    .map(|i| Some(picker.pick(*i, rng) == 1))
                    .collect::<BooleanArray>(),
            ),
            Self::Counter => Arc::new(StringArray::from_iter_values(
                indices.iter().map(u64::to_string),
            )),
            Self::Text(lengths) => Arc::new(StringArray::from_iter_values(
                indices
                    .iter()
                    .map(|i| random_text(lengths.pick(*i, rng), rng)),
            )),
            Self::Words(kind) => Arc::new(StringArray::from_iter_values(
                indices.iter().map(|_| words::text(*kind, rng)),
            )),
            Self::Uuid { random } => Arc::new(StringArray::from_iter_values(
                indices.iter().map(|i| uuid_text(*i, *random, rng)),
            )),
            Self::ByteCounter => Arc::new(BinaryArray::from_iter_values(
                indices.iter().map(|i| i.to_be_bytes()),
            )),
            Self::Bytes(lengths) => Arc::new(BinaryArray::from_iter_values(
                indices
                    .iter()
                    .map(|i| random_bytes(lengths.pick(*i, rng), rng)),
            )),
            nested => nested.generate_nested(indices, rng)?,
        })
    }

    fn generate_nested(
        &self,
        indices: &[u64],
        rng: &mut ChaCha8Rng,
    ) -> Result<ArrayRef, EncodeError> {
        Ok(match self {
            Self::List {
                lengths,
                item,
                element,
            } => {
                let (lengths, parts) = part_indices(lengths, indices, rng);
                let elements = element.generate(&parts, rng)?;
                let offsets = OffsetBuffer::from_lengths(lengths);
                Arc::new(ListArray::try_new(
                    Arc::clone(item),
                    offsets,
                    elements,
                    None,
                )?)
            }
            Self::Map {
                lengths,
                entries,
                key,
                value,
            } => {
                let (lengths, parts) = part_indices(lengths, indices, rng);
                let keys = key.generate(&parts, rng)?;
                let values = value.generate(&parts, rng)?;
                Arc::new(map_array(entries, &lengths, &keys, &values)?)
            }
            Self::Struct { fields, generators } => {
                let parts = generators
                    .iter()
                    .map(|generator| generator.generate(indices, rng));
                let parts = parts.collect::<Result<_, _>>()?;
                let length = indices.len();
                Arc::new(StructArray::try_new_with_length(
                    fields.clone(),
                    parts,
                    None,
                    length,
                )?)
            }
            _ => unreachable!("made by `generate`"),
        })
    }
}

fn unsupported(data_type: &DataType) -> ConfigError {
    ConfigError::new(format!("values of type {data_type} cannot be made up"))
}

/// The generator of an element, key or value.
fn part(
    plan: Option<&FieldPlan>,
    sql: Option<&ColumnType>,
    data_type: &DataType,
) -> Result<Box<Generator>, ConfigError> {
    let sql = sql.ok_or_else(|| unsupported(data_type))?;
    let default = FieldPlan::default();
    Ok(Box::new(Generator::new(
        plan.unwrap_or(&default),
        sql,
        data_type,
    )?))
}

/// Picks lengths from the plan's range.
fn lengths(plan: &FieldPlan, default: (u64, u64)) -> Result<Picker, ConfigError> {
    let (from, to) = match &plan.range {
        Some((from, to)) => match (from.as_u64(), to.as_u64()) {
            (Some(from), Some(to)) if from < to && to <= LENGTH_MAX => (from, to),
            _ => {
                return Err(ConfigError::new(format!(
                    "`range` of lengths must be two whole numbers up to {LENGTH_MAX}, the first less"
                )));
            }
        },
        None => default,
    };
    Ok(Picker::new(plan, u128::from(to - from))?.starting_at(from))
}

/// How many parts each value has, and the indices of all parts: those of a value count from its own.
fn part_indices(lengths: &Picker, indices: &[u64], rng: &mut ChaCha8Rng) -> (Vec<usize>, Vec<u64>) {
    let lengths: Vec<usize> = indices
        .iter()
        .map(|i| lengths.pick(*i, rng) as usize)
        .collect();
    let starts = indices.iter().zip(&lengths);
    let parts = starts
        .flat_map(|(&start, &length)| start..start + length as u64)
        .collect();
    (lengths, parts)
}

fn random_text(length: u64, rng: &mut ChaCha8Rng) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length)
        .map(|_| char::from(LETTERS[rng.random_range(0..62_u32) as usize]))
        .collect()
}

fn random_bytes(length: u64, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn uuid_text(index: u64, random: bool, rng: &mut ChaCha8Rng) -> String {
    if !random {
        return uuid::Uuid::from_u128(u128::from(index)).to_string();
    }
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes)
        .into_uuid()
        .to_string()
}

/// Maps with each key once, ordered by the keys' text, as JSON maps are read.
fn map_array(
    entries: &FieldRef,
    lengths: &[usize],
    keys: &ArrayRef,
    values: &ArrayRef,
) -> Result<MapArray, EncodeError> {
    let texts = value_texts(keys)?;
    let mut kept: Vec<u64> = Vec::with_capacity(keys.len());
    let mut kept_lengths = Vec::with_capacity(lengths.len());
    let mut start = 0;
    for length in lengths {
        let mut entry: Vec<usize> = (start..start + length).collect();
        entry.sort_by(|a, b| texts[*a].cmp(&texts[*b]));
        entry.dedup_by(|a, b| texts[*a] == texts[*b]);
        kept_lengths.push(entry.len());
        kept.extend(entry.into_iter().map(|entry| entry as u64));
        start += length;
    }
    let kept = UInt64Array::from(kept);
    let DataType::Struct(fields) = entries.data_type() else {
        unreachable!("checked by `new`")
    };
    let columns = vec![take(keys, &kept, None)?, take(values, &kept, None)?];
    let pairs = StructArray::try_new(fields.clone(), columns, None)?;
    let offsets = OffsetBuffer::from_lengths(kept_lengths);
    Ok(MapArray::try_new(
        Arc::clone(entries),
        offsets,
        pairs,
        None,
        false,
    )?)
}
