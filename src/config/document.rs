//! The pieces of the configuration as one document. Tables are merged; any other key may be in one piece only.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::piece::{KeyPlaces, Piece, Places};
use super::problem_list::ProblemList;

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
                    merge_table(&mut document, table.into_inner(), start, "", problems);
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
        let full_key = if table_key.is_empty() { key.to_string() } else { format!("{table_key}.{key}") };
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

/// Where each key of a document is.
pub(super) fn key_places(document: &DeTable<'_>, places: &Places<'_>) -> KeyPlaces {
    let mut found = KeyPlaces::new();
    add_table(&mut found, document, "", places);
    found
}

fn add_table(found: &mut KeyPlaces, table: &DeTable<'_>, table_key: &str, places: &Places<'_>) {
    for (name, value) in table {
        let name_text = name.get_ref();
        let key = if table_key.is_empty() { name_text.to_string() } else { format!("{table_key}.{name_text}") };
        add_value(found, value.get_ref(), key, name.span(), places);
    }
}

fn add_value(found: &mut KeyPlaces, value: &DeValue<'_>, key: String, span: Range<usize>, places: &Places<'_>) {
    match value {
        DeValue::Table(table) => add_table(found, table, &key, places),
        DeValue::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                add_value(found, item.get_ref(), format!("{key}[{index}]"), item.span(), places);
            }
        }
        _ => {}
    }
    found.insert(key, places.find(span.start));
}
