//! SQL text to circuit plans: parsing, planning, lowering, expressions, ad-hoc queries.
//!
//! [`compile`] turns a program into a [`Program`]: its tables, its views and the circuit that keeps
//! the views up to date. [`QueryEngine`] answers ad-hoc queries over snapshots of what the circuit
//! keeps. Start reading at `program.rs`, then `parser.rs`, `planner.rs` and `lower.rs`.

mod ad_hoc;
mod catalog;
mod column_type;
mod diagnostics;
mod explain;
mod expression;
mod lower;
mod parser;
mod planner;
mod program;

pub use ad_hoc::{DescribedRelation, QueryEngine, QueryError, QueryErrorKind, QueryResult};
pub use column_type::{relation_schema, sql_text};
pub use explain::{explain_dot, explain_svg, explain_text};
pub use parser::statement::ViewKind;
pub use program::{CompileOptions, Program, Table, View, compile};
