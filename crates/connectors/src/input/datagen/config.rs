//! Plans of made-up rows, as written in the connector's configuration.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::words;
use crate::error::ConfigError;

/// `transport.config`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatagenConfig {
    /// One after another.
    #[serde(default = "one_plan")]
    pub(super) plan: Vec<Plan>,
    /// The rows do not depend on it.
    #[serde(default = "one")]
    workers: u64,
    /// 0 unless given: a program makes the same rows each time.
    pub(super) seed: Option<u64>,
    transaction_size: Option<u64>,
}

impl DatagenConfig {
    /// Checks what does not depend on the table.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if self.workers == 0 {
            return Err(ConfigError::new("`workers` must be at least 1"));
        }
        if self.transaction_size.is_some() {
            return Err(ConfigError::new(
                "`transaction_size` is not supported yet; remove it",
            ));
        }
        for plan in &self.plan {
            if plan.rate.is_some_and(|rate| rate.is_nan() || rate <= 0.0) {
                return Err(ConfigError::new(
                    "`rate` must be more than 0 rows per second",
                ));
            }
        }
        Ok(())
    }
}

/// A sequence of rows.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// Rows; without end if not given.
    pub(super) limit: Option<u64>,
    /// Rows per second; as fast as possible if not given.
    pub(super) rate: Option<f64>,
    /// The rows do not depend on it.
    #[serde(default, rename = "worker_chunk_size")]
    _worker_chunk_size: Option<u64>,
    /// By column name; columns that are not there use the default strategy.
    #[serde(default)]
    pub(super) fields: BTreeMap<String, FieldPlan>,
}

/// How the values of a column are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FieldPlan {
    pub(super) strategy: Strategy,
    /// From the first on, below the second; of lengths for texts, bytes, arrays and maps.
    pub(super) range: Option<(Value, Value)>,
    /// Multiplies numbers and times.
    pub(super) scale: f64,
    /// To choose from instead of making up.
    pub(super) values: Option<Vec<Value>>,
    pub(super) null_percentage: Option<u8>,
    /// Exponent of the zipf strategy.
    pub(super) e: f64,
    /// Of a ROW.
    pub(super) fields: BTreeMap<String, FieldPlan>,
    /// Of a MAP.
    pub(super) key: Option<Box<FieldPlan>>,
    /// Of a MAP or an ARRAY.
    pub(super) value: Option<Box<FieldPlan>>,
}

impl Default for FieldPlan {
    fn default() -> Self {
        Self {
            strategy: Strategy::Increment,
            range: None,
            scale: 1.0,
            values: None,
            null_percentage: None,
            e: 1.0,
            fields: BTreeMap::new(),
            key: None,
            value: None,
        }
    }
}

/// Which value of its range (or list) a row gets.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub(super) enum Strategy {
    /// One after another, again from the start at the end.
    Increment,
    /// Any, all equally often.
    Uniform,
    /// The first most often, the n-th 1/nᵉ times as often.
    Zipf,
    /// Words of a kind; only for texts.
    Words(words::WordKind),
}

impl TryFrom<String> for Strategy {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        match name.as_str() {
            "increment" => Ok(Self::Increment),
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => words::find(&name).map(Self::Words).ok_or_else(|| {
                let words = words::names().join("`, `");
                format!(
                    "unknown strategy `{name}`; known are `increment`, `uniform`, `zipf`, and for texts `{words}`"
                )
            }),
        }
    }
}

fn one_plan() -> Vec<Plan> {
    vec![Plan::default()]
}

fn one() -> u64 {
    1
}
