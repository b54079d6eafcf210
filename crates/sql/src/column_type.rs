//! SQL types as clients see them, as text, and as Arrow types.

use std::sync::Arc;

use arrow::datatypes::{
    DataType, Field as ArrowField, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use highwater_types::relation::{ColumnType, Field, Relation, SqlType};

/// A nullable type without parameters.
pub(crate) fn simple(sql_type: SqlType) -> ColumnType {
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

pub(crate) fn array_of(element: ColumnType) -> ColumnType {
    ColumnType {
        component: Some(Box::new(element)),
        ..simple(SqlType::Array)
    }
}

pub(crate) fn map_of(key: ColumnType, value: ColumnType) -> ColumnType {
    ColumnType {
        key: Some(Box::new(key)),
        value: Some(Box::new(value)),
        ..simple(SqlType::Map)
    }
}

pub(crate) fn row_of(fields: Vec<Field>) -> ColumnType {
    ColumnType {
        fields: Some(fields),
        ..simple(SqlType::Struct)
    }
}

/// The Arrow type that holds values of this type. Parts of nested types are nullable, except the
/// keys of maps.
pub(crate) fn arrow_type(column_type: &ColumnType) -> DataType {
    match column_type.sql_type {
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
            let precision = column_type
                .precision
                .and_then(|digits| u8::try_from(digits).ok());
            let scale = column_type
                .scale
                .and_then(|digits| i8::try_from(digits).ok());
            DataType::Decimal128(precision.unwrap_or(38), scale.unwrap_or(0))
        }
        SqlType::Char | SqlType::Varchar | SqlType::Uuid => DataType::Utf8,
        SqlType::Binary | SqlType::Varbinary => DataType::Binary,
        SqlType::Time => DataType::Time64(TimeUnit::Nanosecond),
        SqlType::Date => DataType::Date32,
        SqlType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::IntervalDaySecond | SqlType::IntervalYearMonth => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        SqlType::Array => DataType::List(Arc::new(ArrowField::new(
            ArrowField::LIST_FIELD_DEFAULT_NAME,
            part_type(column_type.component.as_deref()),
            true,
        ))),
        SqlType::Struct => {
            let fields = column_type.fields.iter().flatten();
            DataType::Struct(fields.map(|field| arrow_field(field, true)).collect())
        }
        SqlType::Map => map_type(
            part_type(column_type.key.as_deref()),
            part_type(column_type.value.as_deref()),
        ),
        SqlType::Null => DataType::Null,
    }
}

fn part_type(part: Option<&ColumnType>) -> DataType {
    part.map_or(DataType::Null, arrow_type)
}

fn map_type(key: DataType, value: DataType) -> DataType {
    let entries = Fields::from(vec![
        ArrowField::new("key", key, false),
        ArrowField::new("value", value, true),
    ]);
    let entries = ArrowField::new("entries", DataType::Struct(entries), false);
    DataType::Map(Arc::new(entries), false)
}

/// The Arrow field of a column.
pub(crate) fn arrow_field(field: &Field, is_nullable: bool) -> ArrowField {
    ArrowField::new(&field.name, arrow_type(&field.columntype), is_nullable)
}

/// The columns of a relation, all nullable.
pub fn relation_schema(relation: &Relation) -> SchemaRef {
    let fields = relation.fields.iter();
    let fields = fields.map(|field| arrow_field(field, true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The type that a program may store for an expression of this Arrow type: one of those that
/// [`arrow_type`] gives. `None` if there is no such type.
pub(crate) fn storable(data_type: &DataType) -> Option<DataType> {
    use DataType as D;
    let storable = match data_type {
        D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 => data_type.clone(),
        D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => data_type.clone(),
        D::Float32 | D::Float64 | D::Utf8 | D::Binary | D::Date32 => data_type.clone(),
        D::Float16 => D::Float32,
        D::Decimal32(precision, scale)
        | D::Decimal64(precision, scale)
        | D::Decimal128(precision, scale) => D::Decimal128(*precision, *scale),
        D::Null | D::LargeUtf8 | D::Utf8View => D::Utf8,
        D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
        D::Date64 => D::Timestamp(TimeUnit::Microsecond, None),
        D::Timestamp(_, None) => D::Timestamp(TimeUnit::Microsecond, None),
        D::Time32(_) | D::Time64(_) => D::Time64(TimeUnit::Nanosecond),
        D::Interval(_) | D::Duration(_) => D::Interval(IntervalUnit::MonthDayNano),
        D::Dictionary(_, value) => storable(value)?,
        D::List(item) | D::LargeList(item) | D::FixedSizeList(item, _) => {
            let item = storable(item.data_type())?;
            D::List(Arc::new(ArrowField::new(
                ArrowField::LIST_FIELD_DEFAULT_NAME,
                item,
                true,
            )))
        }
        D::Struct(fields) => {
            let convert = |field: &Arc<ArrowField>| {
                Some(ArrowField::new(
                    field.name(),
                    storable(field.data_type())?,
                    true,
                ))
            };
            D::Struct(fields.iter().map(convert).collect::<Option<Fields>>()?)
        }
        D::Map(entries, _) => {
            let D::Struct(parts) = entries.data_type() else {
                return None;
            };
            let [key, value] = parts.as_ref() else {
                return None;
            };
            map_type(storable(key.data_type())?, storable(value.data_type())?)
        }
        _ => return None,
    };
    Some(storable)
}

/// The SQL type of a storable Arrow type; what Arrow does not tell (`CHAR`, `UUID`, lengths) is
/// lost.
pub(crate) fn from_arrow(data_type: &DataType, nullable: bool) -> ColumnType {
    let plain = |sql_type| ColumnType {
        nullable,
        ..simple(sql_type)
    };
    match data_type {
        DataType::Boolean => plain(SqlType::Boolean),
        DataType::Int8 => plain(SqlType::TinyInt),
        DataType::Int16 => plain(SqlType::SmallInt),
        DataType::Int32 => plain(SqlType::Integer),
        DataType::Int64 => plain(SqlType::BigInt),
        DataType::UInt8 => plain(SqlType::UTinyInt),
        DataType::UInt16 => plain(SqlType::USmallInt),
        DataType::UInt32 => plain(SqlType::UInteger),
        DataType::UInt64 => plain(SqlType::UBigInt),
        DataType::Float32 => plain(SqlType::Real),
        DataType::Float64 => plain(SqlType::Double),
        DataType::Decimal128(precision, scale) => ColumnType {
            precision: Some(i64::from(*precision)),
            scale: Some(i64::from(*scale)),
            ..plain(SqlType::Decimal)
        },
        DataType::Utf8 => plain(SqlType::Varchar),
        DataType::Binary => plain(SqlType::Varbinary),
        DataType::Date32 => plain(SqlType::Date),
        DataType::Time64(_) => plain(SqlType::Time),
        DataType::Timestamp(_, _) => plain(SqlType::Timestamp),
        DataType::Interval(_) => plain(SqlType::IntervalDaySecond),
        DataType::List(item) => ColumnType {
            nullable,
            ..array_of(from_arrow(item.data_type(), true))
        },
        DataType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| field_from_arrow(field, true))
                .collect();
            ColumnType {
                nullable,
                ..row_of(fields)
            }
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(parts) if parts.len() == 2 => {
                let key = from_arrow(parts[0].data_type(), false);
                let value = from_arrow(parts[1].data_type(), true);
                ColumnType {
                    nullable,
                    ..map_of(key, value)
                }
            }
            _ => plain(SqlType::Null),
        },
        _ => plain(SqlType::Null),
    }
}

/// A column of an Arrow schema as clients see it.
pub(crate) fn field_from_arrow(field: &ArrowField, nullable: bool) -> Field {
    Field {
        name: field.name().clone(),
        case_sensitive: field.name().chars().any(char::is_uppercase),
        columntype: from_arrow(field.data_type(), nullable),
        default: None,
        unused: false,
    }
}

/// Canonical SQL text of a type, without its own `NOT NULL`.
pub fn sql_text(column_type: &ColumnType) -> String {
    let with_length = |name: &str| match column_type.precision {
        Some(length) => format!("{name}({length})"),
        None => name.to_owned(),
    };
    let part = |part: &Option<Box<ColumnType>>| part.as_deref().map_or(String::new(), part_text);
    match column_type.sql_type {
        SqlType::Boolean => "BOOLEAN".to_owned(),
        SqlType::TinyInt => "TINYINT".to_owned(),
        SqlType::SmallInt => "SMALLINT".to_owned(),
        SqlType::Integer => "INTEGER".to_owned(),
        SqlType::BigInt => "BIGINT".to_owned(),
        SqlType::UTinyInt => "TINYINT UNSIGNED".to_owned(),
        SqlType::USmallInt => "SMALLINT UNSIGNED".to_owned(),
        SqlType::UInteger => "INTEGER UNSIGNED".to_owned(),
        SqlType::UBigInt => "BIGINT UNSIGNED".to_owned(),
        SqlType::Real => "REAL".to_owned(),
        SqlType::Double => "DOUBLE".to_owned(),
        SqlType::Decimal => {
            let precision = column_type.precision.unwrap_or(38);
            format!("DECIMAL({precision}, {})", column_type.scale.unwrap_or(0))
        }
        SqlType::Char => with_length("CHAR"),
        SqlType::Varchar => with_length("VARCHAR"),
        SqlType::Binary => with_length("BINARY"),
        SqlType::Varbinary => with_length("VARBINARY"),
        SqlType::Time => "TIME".to_owned(),
        SqlType::Date => "DATE".to_owned(),
        SqlType::Timestamp => "TIMESTAMP".to_owned(),
        SqlType::IntervalDaySecond => "INTERVAL DAY TO SECOND".to_owned(),
        SqlType::IntervalYearMonth => "INTERVAL YEAR TO MONTH".to_owned(),
        SqlType::Array => format!("{} ARRAY", part(&column_type.component)),
        SqlType::Struct => {
            let fields = column_type.fields.iter().flatten();
            let fields: Vec<String> = fields
                .map(|field| format!("\"{}\" {}", field.name, part_text(&field.columntype)))
                .collect();
            format!("ROW({})", fields.join(", "))
        }
        SqlType::Map => format!(
            "MAP<{}, {}>",
            part(&column_type.key),
            part(&column_type.value)
        ),
        SqlType::Null => "NULL".to_owned(),
        SqlType::Uuid => "UUID".to_owned(),
    }
}

fn part_text(part: &ColumnType) -> String {
    let not_null = if part.nullable { "" } else { " NOT NULL" };
    format!("{}{not_null}", sql_text(part))
}

#[cfg(test)]
mod tests;
