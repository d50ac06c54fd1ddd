//! The errors in a configuration, gathered while its values are read, and the forms of values. Knows no keys.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::piece::{Piece, Place, Places};
use super::problem::Problem;

/// The problems of all pieces, with their lines. A span is an offset in all texts together, as [`Places`] counts.
pub(super) struct ProblemList<'a> {
    places: Places<'a>,
    /// Each with the number of its piece.
    problems: Vec<(usize, Problem)>,
}

impl<'a> ProblemList<'a> {
    pub(super) fn new(pieces: &'a [Piece]) -> Self {
        Self { places: Places::new(pieces), problems: Vec::new() }
    }

    /// Adds a problem at a place in a piece.
    pub(super) fn add(&mut self, span: Range<usize>, key: &str, message: String) {
        let Place { piece, file, line } = self.places.find(span.start);
        self.problems
            .push((piece, Problem { file: file.to_path_buf(), line: Some(line), key: key.to_owned(), message }));
    }

    /// Adds the problem of a key that is given at another position, too.
    pub(super) fn add_twice(&mut self, span: Range<usize>, key: &str, other: usize) {
        let Place { file, line, .. } = self.places.find(other);
        self.add(span, key, format!("is given twice, also in {}:{line}; remove one of the two", file.display()));
    }

    /// Adds the problem of a thing of which there is another one, of which only one may be.
    pub(super) fn add_second(&mut self, span: Range<usize>, key: &str, what: &str, other: usize) {
        let Place { file, line, .. } = self.places.find(other);
        self.add(span, key, format!("{what} beside {}:{line}; remove one of the two", file.display()));
    }

    /// Adds a problem of a piece as a whole.
    pub(super) fn add_piece(&mut self, piece: usize, message: String) {
        let file = self.places.file(piece).to_path_buf();
        self.problems.push((piece, Problem { file, line: None, key: String::new(), message }));
    }

    /// Where the pieces' values are.
    pub(super) fn places(&self) -> &Places<'a> {
        &self.places
    }

    /// The problems in the order of the pieces and their lines.
    pub(super) fn in_order(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|(piece, problem)| (*piece, problem.line));
        self.problems.into_iter().map(|(_, problem)| problem).collect()
    }

    /// The number of problems so far.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    pub(super) fn unknown(&mut self, span: Range<usize>, key: &str, known: &str) {
        let choice = if known.contains(", ") { "one of " } else { "" };
        self.add(span, key, format!("unknown key; remove it, or use {choice}{known}"));
    }

    pub(super) fn table<'i>(&mut self, key: &str, value: Spanned<DeValue<'i>>) -> Option<DeTable<'i>> {
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(table),
            other => {
                self.add(span, key, format!("is {}; write a table, as in [{key}]", type_of(&other)));
                None
            }
        }
    }

    /// A value of a type that serde can parse; `form` is how it is written.
    pub(super) fn value<T: DeserializeOwned>(
        &mut self,
        key: &str,
        value: Spanned<DeValue<'_>>,
        form: &str,
    ) -> Option<T> {
        let (span, kind) = (value.span(), type_of(value.get_ref()));
        let wrong = |_| self.add(span, key, format!("is {kind}; write {form}"));
        T::deserialize(ValueDeserializer::from(value)).map_err(wrong).ok()
    }

    pub(super) fn switch(&mut self, key: &str, value: Spanned<DeValue<'_>>, default: bool) -> bool {
        self.value(key, value, "true or false").unwrap_or(default)
    }

    /// A text that `parse` accepts.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        value: Spanned<DeValue<'_>>,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let span = value.span();
        // A number gets the same error as an invalid text: it shows how to write the value.
        let text = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Float(number) => number.as_str().to_owned(),
            _ => self.value(key, value, "a text in quotes")?,
        };
        parse(&text).map_err(|message| self.add(span, key, message)).ok()
    }

    /// The texts of a list that `parse` accepts. The errors of `parse` are the end of a sentence that begins with the text.
    pub(super) fn parsed_list<T>(
        &mut self,
        key: &str,
        value: Spanned<DeValue<'_>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        // A list may have many lines: each text has its own span.
        let texts: Vec<Spanned<String>> =
            self.value(key, value, "a list of texts, as in [\"…\", \"…\"]").unwrap_or_default();
        let parsed = |text: Spanned<String>| {
            let wrong = |why| self.add(text.span(), key, format!("{:?} {why}", text.get_ref()));
            parse(text.get_ref()).map_err(wrong).ok()
        };
        texts.into_iter().filter_map(parsed).collect()
    }

    pub(super) fn json_object(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> String {
        let span = value.span();
        let table: toml::Table = self.value(key, value, "a table, as in { name = \"value\" }").unwrap_or_default();
        let json = json(toml::Value::Table(table));
        json.map_err(|message| self.add(span, key, message)).map_or_else(|()| "{}".to_owned(), |json| json.to_string())
    }
}

/// A line of TOML as a JSON object.
pub(super) fn line_as_json(text: &str) -> Option<serde_json::Value> {
    toml::from_str(text).ok().and_then(|table| json(toml::Value::Table(table)).ok())
}

/// The type of a value, with its article.
fn type_of(value: &DeValue<'_>) -> String {
    let name = value.type_str();
    let article = if name.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {name}")
}

/// TOML as JSON. A date becomes a text.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => serde_json::Number::from_f64(number)
            .ok_or_else(|| format!("contains {number}, which JSON cannot represent; write a finite number"))?
            .into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<_, _>>()?,
        toml::Value::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| Ok((key, json(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, String>>()?)
        }
    })
}
