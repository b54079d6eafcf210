//! Identifiers in paths follow SQL: unquoted ones match whatever their case, `"Quoted"` ones exactly.

use highwater_types::relation::Relation;

/// An identifier of a path, already percent-decoded.
pub(crate) struct Identifier {
    name: String,
}

impl Identifier {
    pub(crate) fn parse(text: &str) -> Self {
        let inner = text
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'));
        Self {
            name: match inner {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => text.to_lowercase(),
            },
        }
    }

    pub(crate) fn matches(&self, relation: &Relation) -> bool {
        relation.name == self.name
    }
}

/// What to say if no relation is called `text`: what is there, and what was probably meant.
pub(crate) fn unknown<'a>(
    kind: &str,
    text: &str,
    relations: impl Iterator<Item = &'a Relation>,
) -> String {
    let relations: Vec<&Relation> = relations.collect();
    let same = relations
        .iter()
        .find(|relation| relation.name.to_lowercase() == text.trim_matches('"').to_lowercase());
    if let Some(same) = same {
        return format!(
            "there is no {kind} `{text}`; did you mean `{}`? Names that were quoted in the program need their quotes (%22) here",
            quoted(same)
        );
    }
    let distance = |relation: &&&Relation| edit_distance(&relation.name, &text.to_lowercase());
    let limit = 1 + text.chars().count() / 4;
    let close = relations
        .iter()
        .min_by_key(distance)
        .filter(|relation| distance(relation) <= limit);
    match close {
        Some(close) => format!(
            "there is no {kind} `{text}`; did you mean `{}`?",
            quoted(close)
        ),
        None => format!(
            "there is no {kind} `{text}`; there are {}",
            list(&relations)
        ),
    }
}

fn list(relations: &[&Relation]) -> String {
    if relations.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<String> = relations
        .iter()
        .map(|relation| format!("`{}`", quoted(relation)))
        .collect();
    names.join(", ")
}

/// The name as a path must write it.
fn quoted(relation: &Relation) -> String {
    if relation.name == relation.name.to_lowercase() {
        relation.name.clone()
    } else {
        format!("\"{}\"", relation.name.replace('"', "\"\""))
    }
}

/// Insertions, deletions and substitutions between two words.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, left) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &right) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str) -> Relation {
        Relation {
            name: name.to_owned(),
            case_sensitive: name != name.to_lowercase(),
            fields: Vec::new(),
            materialized: false,
            primary_key: None,
            properties: Default::default(),
        }
    }

    #[test]
    fn unquoted_names_ignore_case_and_quoted_ones_do_not() {
        let matches = |text: &str, name: &str| Identifier::parse(text).matches(&relation(name));
        assert!(matches("T1", "t1"));
        assert!(matches("ΔΘ", "δθ"));
        assert!(!matches("V1", "V1"));
        assert!(matches("\"V1\"", "V1"));
        assert!(!matches("\"T1\"", "t1"));
        assert!(matches("\"a\"\"b\"", "a\"b"));
        assert!(matches("a/b", "a/b"));
    }

    #[test]
    fn unknown_names_come_with_a_remedy() {
        let relations = [relation("flights"), relation("Airports")];
        let check = |text: &str, expected: &str| {
            assert_eq!(unknown("table", text, relations.iter()), expected);
        };
        check(
            "flight",
            "there is no table `flight`; did you mean `flights`?",
        );
        check(
            "airports",
            "there is no table `airports`; did you mean `\"Airports\"`? Names that were quoted in the program need their quotes (%22) here",
        );
        check(
            "x",
            "there is no table `x`; there are `flights`, `\"Airports\"`",
        );
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("abc", "abc"), 0);
    }
}
