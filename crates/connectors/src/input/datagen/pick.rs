//! Which of `n` things a row gets.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};

use super::config::{FieldPlan, Strategy};
use crate::error::ConfigError;

/// Picks numbers below a bound.
pub(super) struct Picker {
    method: Method,
    start: u64,
}

enum Method {
    /// In turn; of all of `u64` if none.
    InTurn(Option<u64>),
    Any(Option<u64>),
    Zipf(Zipf<f64>),
}

impl Picker {
    /// Picks by the plan's strategy among `count` things, at most 2^64.
    pub(super) fn new(plan: &FieldPlan, count: u128) -> Result<Self, ConfigError> {
        if count == 0 {
            return Err(ConfigError::new("`range` is empty"));
        }
        if count > 1 << 64 {
            return Err(ConfigError::new("`range` is too wide"));
        }
        let bound = u64::try_from(count).ok();
        let method = match plan.strategy {
            Strategy::Increment => Method::InTurn(bound),
            Strategy::Uniform => Method::Any(bound),
            Strategy::Zipf => Method::Zipf(
                Zipf::new(count as f64, plan.e)
                    .map_err(|error| ConfigError::new(format!("`e`: {error}")))?,
            ),
            Strategy::Words(_) => {
                return Err(ConfigError::new("strategies of words are for texts only"));
            }
        };
        Ok(Self { method, start: 0 })
    }

    /// Adds `start` to everything that is picked.
    pub(super) fn starting_at(self, start: u64) -> Self {
        Self { start, ..self }
    }

    pub(super) fn pick(&self, index: u64, rng: &mut ChaCha8Rng) -> u64 {
        let picked = match &self.method {
            Method::InTurn(Some(bound)) => index % bound,
            Method::InTurn(None) => index,
            Method::Any(Some(bound)) => rng.random_range(0..*bound),
            Method::Any(None) => rng.random(),
            Method::Zipf(zipf) => zipf.sample(rng) as u64 - 1,
        };
        self.start + picked
    }
}
