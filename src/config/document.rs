//! The pieces of the configuration as one document. Tables are merged; any other key may be in one piece only. The length of keys
//! is bounded: errors, and whatever else has a text for each key, would grow with the square of the file.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::piece::Piece;
use super::problem_list::ProblemList;

/// The longest key, with the tables that it is in: three times the longest name of a plugin, and more.
const MAX_KEY_BYTES: usize = 512;

/// How much of the name of a key that is too long is shown.
const SHOWN_CHARACTERS: usize = 32;

/// The parser's message about a key that is given twice in one piece.
const DUPLICATE_KEY: &str = "duplicate key";

/// Merges the pieces into one document. Returns whether it is complete: no piece is left out because it cannot be read or is
/// not TOML.
pub(super) fn merge<'a>(pieces: &'a [Piece], problems: &mut ProblemList<'_>) -> (DeTable<'a>, bool) {
    let (mut document, mut is_complete, mut start) = (DeTable::new(), true, 0);
    for (number, piece) in pieces.iter().enumerate() {
        match &piece.text {
            Ok(text) => {
                let (table, errors) = DeTable::parse_recoverable(text);
                is_complete &= errors.is_empty();
                if errors.is_empty() {
                    let mut table = table.into_inner();
                    remove_long_keys(&mut table, start, "", problems);
                    merge_table(&mut document, table, start, "", problems);
                }
                for error in errors {
                    match error.span() {
                        Some(span) if error.message() == DUPLICATE_KEY => {
                            let key = text.get(span.clone()).unwrap_or_default();
                            let message = "is given twice in this file; remove one of the two".to_owned();
                            problems.add(moved(&span, start), key, message);
                        }
                        Some(span) => {
                            problems.add(moved(&span, start), "", format!("not TOML: {}", error.message()));
                        }
                        None => problems.add_piece(number, format!("not TOML: {}", error.message())),
                    }
                }
            }
            Err(why) => {
                is_complete = false;
                problems.add_piece(number, why.clone());
            }
        }
        start += piece.len() + 1;
    }
    (document, is_complete)
}

/// Merges a table whose positions are to be moved.
fn merge_table<'a>(
    into: &mut DeTable<'a>,
    from: DeTable<'a>,
    by: usize,
    table_key: &str,
    problems: &mut ProblemList<'_>,
) {
    for (key, value) in from {
        let (span, key) = (moved(&key.span(), by), key.into_inner());
        let Some((first, earlier)) = into.get_key_value(&*key) else {
            into.insert(Spanned::new(span, key), moved_value(value, by));
            continue;
        };
        let full_key = dotted(table_key, &key);
        if let (DeValue::Table(_), DeValue::Table(_)) = (value.get_ref(), earlier.get_ref()) {
            if let (DeValue::Table(table), Some(DeValue::Table(into))) =
                (value.into_inner(), into.get_mut(&*key).map(Spanned::get_mut))
            {
                merge_table(into, table, by, &full_key, problems);
            }
        } else {
            problems.add_twice(span, &full_key, first.span().start);
        }
    }
}

/// Removes the keys that are too long, each with an error at its place, which is to be moved.
fn remove_long_keys(table: &mut DeTable<'_>, by: usize, table_key: &str, problems: &mut ProblemList<'_>) {
    let separator = usize::from(!table_key.is_empty());
    let is_long = |name: &str| table_key.len() + separator + name.len() > MAX_KEY_BYTES;
    let long: Vec<_> = table.keys().filter(|key| is_long(key.get_ref())).cloned().collect();
    for key in long {
        table.remove(&**key.get_ref());
        let shown: String = key.get_ref().chars().take(SHOWN_CHARACTERS).collect();
        let message = format!("is longer than {MAX_KEY_BYTES} bytes, with the tables that it is in; use shorter names");
        problems.add(moved(&key.span(), by), &format!("{}…", dotted(table_key, &shown)), message);
    }
    for (key, value) in table.iter_mut() {
        if matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            remove_long_keys_in(value.get_mut(), by, &dotted(table_key, key.get_ref()), problems);
        }
    }
}

fn remove_long_keys_in(value: &mut DeValue<'_>, by: usize, key: &str, problems: &mut ProblemList<'_>) {
    match value {
        DeValue::Table(table) => remove_long_keys(table, by, key, problems),
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                remove_long_keys_in(item.get_mut(), by, key, problems);
            }
        }
        _ => {}
    }
}

/// The full name of a key of a table.
fn dotted(table_key: &str, name: &str) -> String {
    if table_key.is_empty() { name.to_owned() } else { format!("{table_key}.{name}") }
}

fn moved(span: &Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}

fn moved_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    if by == 0 {
        return value;
    }
    let span = moved(&value.span(), by);
    let value = match value.into_inner() {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| moved_value(item, by)).collect()),
        DeValue::Table(table) => {
            let entries = table
                .into_iter()
                .map(|(key, value)| (Spanned::new(moved(&key.span(), by), key.into_inner()), moved_value(value, by)));
            DeValue::Table(entries.collect())
        }
        other => other,
    };
    Spanned::new(span, value)
}
