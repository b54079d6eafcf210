//! SQL text to circuit plans: parsing, planning, lowering, expressions, ad-hoc queries.
