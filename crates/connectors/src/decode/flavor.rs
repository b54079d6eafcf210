//! JSON flavours: how producers write the types that JSON does not have.

use crate::error::ConfigError;

/// The unit of a time written as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntegerTime {
    Milliseconds,
    Microseconds,
}

/// How a text column of bytes is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BinaryText {
    /// Not at all: bytes are an array of integers, or hexadecimal digits behind `0x` or `\x`.
    Hexadecimal,
    Base64,
}

/// The encodings of one kind of producer, beside those of the default flavour, which all accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flavor {
    pub(crate) name: &'static str,
    /// TIMESTAMP as an integer since 1970.
    pub(crate) timestamp: Option<IntegerTime>,
    /// TIME as an integer since midnight.
    pub(crate) time: Option<IntegerTime>,
    /// DATE as days since 1970.
    pub(crate) date_days: bool,
    /// BOOLEAN as 0 or 1.
    pub(crate) boolean_integer: bool,
    pub(crate) binary: BinaryText,
}

/// Also the flavour of CSV.
pub(crate) const DEFAULT: Flavor = Flavor {
    name: "default",
    timestamp: None,
    time: None,
    date_days: false,
    boolean_integer: false,
    binary: BinaryText::Hexadecimal,
};

const DEBEZIUM_POSTGRES: Flavor = Flavor {
    name: "debezium_postgres",
    timestamp: Some(IntegerTime::Microseconds),
    time: Some(IntegerTime::Microseconds),
    date_days: true,
    boolean_integer: false,
    binary: BinaryText::Base64,
};

const FLAVORS: &[Flavor] = &[
    DEFAULT,
    Flavor {
        name: "pandas",
        timestamp: Some(IntegerTime::Milliseconds),
        ..DEFAULT
    },
    DEBEZIUM_POSTGRES,
    Flavor {
        name: "debezium_mysql",
        timestamp: Some(IntegerTime::Milliseconds),
        boolean_integer: true,
        ..DEBEZIUM_POSTGRES
    },
];

/// Finds a flavour by name.
pub(crate) fn find(name: &str) -> Result<Flavor, ConfigError> {
    let known = || FLAVORS.iter().map(|flavor| format!("`{}`", flavor.name));
    FLAVORS
        .iter()
        .find(|flavor| flavor.name == name)
        .copied()
        .ok_or_else(|| {
            let known = known().collect::<Vec<_>>().join(", ");
            ConfigError::new(format!("unknown `json_flavor` `{name}`; known are {known}"))
        })
}
