//! DataFusion's settings, functions and parser options: the same for views and ad-hoc queries.
//!
//! Decisions:
//! - `1.5` is a DECIMAL, as in the SQL standard; `1.5e0` is a DOUBLE. Decimals are exact, so sums
//!   of prices come out as written.
//! - NULLs sort as if larger than every value: last in ascending, first in descending order.
//! - Strings are plain Utf8: string views would be a second type for the same thing.

use std::sync::{Arc, LazyLock};

use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::optimizer::Optimizer;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;

use crate::ad_hoc::overflow::CheckOverflow;
use crate::expression::arg_extreme::{arg_max, arg_min};
use crate::planner::optimize;
use crate::planner::single_value::SingleValue;

/// The state that plans views: building it takes milliseconds, so it is done once per process.
pub(crate) fn view_session() -> &'static SessionState {
    static SESSION: LazyLock<SessionState> = LazyLock::new(|| {
        let mut config = session_config();
        // Subqueries become joins, which the circuit has.
        config
            .options_mut()
            .optimizer
            .enable_physical_uncorrelated_scalar_subquery = false;
        // NULL keys match nothing: rows with them need not be kept.
        config.options_mut().optimizer.filter_null_join_keys = true;
        session_builder(config).build()
    });
    &SESSION
}

/// The state that runs ad-hoc queries.
pub(crate) fn ad_hoc_session() -> &'static SessionState {
    static SESSION: LazyLock<SessionState> = LazyLock::new(|| {
        let mut state = session_builder(session_config());
        let mut rules = optimize::with_mark_projection(Optimizer::new().rules);
        rules.push(Arc::new(CheckOverflow));
        // DataFusion 55.2 finds the columns of a filter by name when it pushes it below a physical join:
        // `r.c > l.c` became `r.c > r.c` (seen by a test in ad_hoc/tests.rs). The logical rule has done it before.
        let mut physical_rules = PhysicalOptimizer::new().rules;
        physical_rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
        state = state
            .with_optimizer_rules(rules)
            .with_physical_optimizer_rules(physical_rules);
        state.build()
    });
    &SESSION
}

/// The settings that views and ad-hoc queries share.
pub(crate) fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(false);
    let parser = &mut config.options_mut().sql_parser;
    parser.collect_spans = true;
    parser.parse_float_as_decimal = true;
    parser.map_string_types_to_utf8view = false;
    config
}

/// A state with all functions, ours included.
fn session_builder(config: SessionConfig) -> SessionStateBuilder {
    let mut aggregates = SessionStateDefaults::default_aggregate_functions();
    aggregates.extend([SingleValue::new().into(), arg_min(), arg_max()].map(Arc::new));
    SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_aggregate_functions(aggregates)
}
