//! Which SQL is accepted: sqlparser's generic dialect without the clauses of other systems that
//! the planner would drop in silence, plus `MAP<K, V>` and friends.

use std::any::TypeId;

use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::dialect::{Dialect, GenericDialect};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

/// The dialect of programs and of ad-hoc queries.
#[derive(Debug, Default)]
pub(crate) struct HighwaterDialect;

/// Methods that answer `true`.
macro_rules! accepts {
    ($($method:ident),* $(,)?) => {
        $(fn $method(&self) -> bool {
            true
        })*
    };
}

impl Dialect for HighwaterDialect {
    /// Where the parser asks for a dialect by type, we are the generic one.
    fn dialect(&self) -> TypeId {
        TypeId::of::<GenericDialect>()
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '"' || character == '`'
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_' || character == '$'
    }

    /// sqlparser takes all that follows `IS DISTINCT FROM`, also `… AND c`, for its right side.
    fn parse_infix(
        &self,
        parser: &mut Parser,
        left: &Expr,
        precedence: u8,
    ) -> Option<Result<Expr, ParserError>> {
        const DISTINCT: [Keyword; 3] = [Keyword::IS, Keyword::DISTINCT, Keyword::FROM];
        const NOT_DISTINCT: [Keyword; 4] =
            [Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM];
        let node: fn(Box<Expr>, Box<Expr>) -> Expr = if parser.parse_keywords(&DISTINCT) {
            Expr::IsDistinctFrom
        } else if parser.parse_keywords(&NOT_DISTINCT) {
            Expr::IsNotDistinctFrom
        } else {
            return None;
        };
        let right = parser.parse_subexpr(precedence);
        Some(right.map(|right| node(Box::new(left.clone()), Box::new(right))))
    }

    accepts!(
        allow_extract_custom,
        allow_extract_single_quotes,
        support_map_literal_syntax,
        supports_array_typedef_with_brackets,
        supports_bitwise_shift_operators,
        supports_comma_separated_trim,
        supports_extract_comma_syntax,
        supports_filter_during_aggregation,
        supports_group_by_expr,
        supports_interval_options,
        supports_left_associative_joins_without_parens,
        supports_limit_comma,
        supports_map_literal_with_angle_brackets,
        supports_nested_comments,
        supports_parens_around_table_factor,
        supports_select_wildcard_except,
        supports_select_wildcard_exclude,
        supports_select_wildcard_rename,
        supports_select_wildcard_replace,
        supports_string_escape_constant,
        supports_unicode_string_literal,
        supports_values_as_table_factor,
        supports_window_clause_named_window_reference,
        supports_window_function_null_treatment_arg,
    );
}
