//! Tables and views as clients see them: names, columns, SQL types.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A table or view of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Relation {
    /// Unquoted names are lower-cased.
    pub name: String,
    /// True if the name was quoted in SQL, hence matched exactly.
    pub case_sensitive: bool,
    pub fields: Vec<Field>,
    pub materialized: bool,
    /// Column names, in key order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary_key: Option<Vec<String>>,
    /// The `WITH (…)` properties, e.g. `connectors`.
    #[serde(default)]
    pub properties: BTreeMap<String, PropertyValue>,
}

/// One `'key' = 'value'` of a `WITH` clause, with its place in the program for error messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PropertyValue {
    pub value: String,
    pub key_position: SourcePosition,
    pub value_position: SourcePosition,
}

/// A range of program text; lines and columns count from 1, the end is inclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SourcePosition {
    pub start_line_number: usize,
    pub start_column: usize,
    pub end_line_number: usize,
    pub end_column: usize,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Field {
    pub name: String,
    pub case_sensitive: bool,
    pub columntype: ColumnType,
    /// SQL text of the column's `DEFAULT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    #[serde(default)]
    pub unused: bool,
}

/// An SQL type; nested types carry their parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ColumnType {
    #[serde(rename = "type")]
    pub sql_type: SqlType,
    pub nullable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<i64>,
    /// Element type of an `ARRAY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub component: Option<Box<ColumnType>>,
    /// Fields of a `STRUCT` (SQL `ROW` or a user-defined type).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub fields: Option<Vec<Field>>,
    /// Key type of a `MAP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub key: Option<Box<ColumnType>>,
    /// Value type of a `MAP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub value: Option<Box<ColumnType>>,
}

/// The names of SQL types on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum SqlType {
    Boolean,
    TinyInt,
    SmallInt,
    Integer,
    BigInt,
    #[serde(rename = "UTINYINT")]
    UTinyInt,
    #[serde(rename = "USMALLINT")]
    USmallInt,
    UInteger,
    #[serde(rename = "UBIGINT")]
    UBigInt,
    Real,
    Double,
    Decimal,
    Char,
    Varchar,
    Binary,
    Varbinary,
    Time,
    Date,
    Timestamp,
    #[serde(rename = "INTERVAL_DAY_SECOND")]
    IntervalDaySecond,
    #[serde(rename = "INTERVAL_YEAR_MONTH")]
    IntervalYearMonth,
    Array,
    Struct,
    Map,
    Null,
    Uuid,
}
