//! JSON from services and files: a [`Document`] is parsed once, and its [fields](Field) are found by their paths. An error names the
//! source and the path. For settings see [`Configuration`](crate::Configuration).
//!
//! ```
//! use gauged_plugin::json::Document;
//!
//! let body = br#"{"queue": {"name": "mail", "jobs": [{"age": 7}, {"age": 2.5}], "free.bytes": 18446744073709551615}}"#;
//! let status = Document::parse("http://localhost/status", body)?;
//! assert_eq!(status.at("queue.jobs[0].age").u64()?, 7);
//! assert_eq!(status.at(r#"queue["free.bytes"]"#).u64()?, u64::MAX);
//! let ages: Result<Vec<f64>, _> = status.at("queue.jobs").list()?.map(|job| job.at("age").f64()).collect();
//! assert_eq!(ages?, [7.0, 2.5]);
//!
//! let error = status.at("queue.jobs[1].age").u64().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "http://localhost/status: queue.jobs[1].age is a fraction; expected a whole number that is not negative"
//! );
//! assert!(status.at("queue.limit").if_present().is_none());
//! # Ok::<(), gauged_plugin::json::Error>(())
//! ```
//!
//! [`Skipped::keep`](crate::skipped::Skipped::keep) turns an error into a report and a missing metric, and `?` turns it into an
//! error of the tick, or into a service that is down because of its `body`. Paths with wildcards are [queries](Query).
//!
//! - Integers of 64 bits are exact. Other numbers are the nearest floats; one that is too large for a float is an error.
//! - Of a key that is there twice, the last value holds.
//! - A document is at most [`MAX_DEPTH`] deep and has at most [`MAX_VALUES`] values, so that none exceeds the memory of a plugin.

mod error;
mod path;
mod query;
pub(crate) mod reader;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use error::Error;
use path::{Step, steps};
pub use query::{Match, Query};
use reader::{Malformed, Reader, Token};

/// The deepest nesting of lists and tables. What services return is less than 20 deep; each level takes some of the stack.
pub const MAX_DEPTH: usize = 128;

/// The most values in a document: some 30 MB of memory in a plugin, of the 64 MiB that it has by default.
pub const MAX_VALUES: usize = 500_000;

/// A value of JSON. Texts without escapes are those of the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// An integer, zero or more.
    Natural(u64),
    /// A negative integer.
    Integer(i64),
    /// A number with a fraction or an exponent, or one that no integer of 64 bits holds.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// A list.
    List(Vec<Value<'a>>),
    /// A table, ordered by key. JSON calls it an object.
    Table(BTreeMap<Cow<'a, str>, Value<'a>>),
}

impl<'a> Value<'a> {
    fn read(reader: &mut Reader<'a>, depth: usize, left: &mut usize) -> Result<Self, Problem> {
        *left = left.checked_sub(1).ok_or(Problem::Values)?;
        let deeper = || depth.checked_sub(1).ok_or(Problem::Depth);
        Ok(match reader.token()? {
            Token::Null => Self::Null,
            Token::Boolean(value) => Self::Boolean(value),
            Token::Unsigned(value) => Self::Natural(value),
            Token::Signed(value) => Self::Integer(value),
            Token::Float(_, text) => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                Self::Number(number.ok_or(Malformed { at: reader.at() })?)
            }
            Token::Text(text) => Self::Text(text),
            Token::List => {
                let (depth, mut list) = (deeper()?, Vec::new());
                while reader.has_next(b']', list.is_empty())? {
                    list.push(Self::read(reader, depth, left)?);
                }
                reader.expect(b']')?;
                Self::List(list)
            }
            Token::Table => {
                let (depth, mut table) = (deeper()?, BTreeMap::new());
                while reader.has_next(b'}', table.is_empty())? {
                    let key = reader.string()?;
                    reader.expect(b':')?;
                    table.insert(key, Self::read(reader, depth, left)?);
                }
                reader.expect(b'}')?;
                Self::Table(table)
            }
        })
    }

    /// The value one step further.
    fn step(&self, step: &Step<'_>) -> Option<&Self> {
        match (self, step) {
            (Self::Table(table), Step::Key(key) | Step::Exact(key)) => table.get(*key),
            (Self::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        }
    }

    /// The type, as the end of a sentence.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "is null",
            Self::Boolean(_) => "is true or false",
            Self::Natural(_) => "is a whole number",
            Self::Integer(_) => "is a negative number",
            Self::Number(_) => "is a fraction",
            Self::Text(_) => "is text",
            Self::List(_) => "is a list",
            Self::Table(_) => "is a table",
        }
    }
}

/// Why a text is not a document.
enum Problem {
    Malformed(Malformed),
    Depth,
    Values,
}

impl From<Malformed> for Problem {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A parsed body or file, with its source for errors.
#[derive(Debug, Clone, PartialEq)]
pub struct Document<'a> {
    source: String,
    root: Value<'a>,
}

impl<'a> Document<'a> {
    /// Parses the body of a response, or the content of a file. `source` is its URL or path. A byte order mark is skipped.
    ///
    /// # Errors
    ///
    /// It is not JSON in UTF-8, or has more than [`MAX_DEPTH`] levels or [`MAX_VALUES`] values.
    pub fn parse(source: &str, body: &'a [u8]) -> Result<Self, Error> {
        let invalid = |message: String| Error::new(source, "", &message);
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let text = std::str::from_utf8(body);
        let text = text.map_err(|error| invalid(format!("is not UTF-8 at byte {}", error.valid_up_to())))?;
        if text.trim_ascii().is_empty() {
            return Err(invalid("is empty".to_owned()));
        }
        let (mut reader, mut left) = (Reader::new(text), MAX_VALUES);
        let root = Value::read(&mut reader, MAX_DEPTH, &mut left);
        let root = root.and_then(|root| reader.end().map(|()| root).map_err(Problem::from));
        let root = root.map_err(|problem| {
            invalid(match problem {
                Problem::Malformed(Malformed { at }) => format!("is not valid JSON at byte {at}"),
                Problem::Depth => format!("has more than {MAX_DEPTH} levels"),
                Problem::Values => format!("has more than {MAX_VALUES} values"),
            })
        })?;
        Ok(Self { source: source.to_owned(), root })
    }

    /// The URL or path.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Field<'_> {
        Field { source: &self.source, path: String::new(), found: Ok(&self.root) }
    }

    /// The field at a path: keys with points between them, and the numbers of elements in brackets. A key with a point or a bracket is
    /// written in brackets and quotes: `nodes["a.b"].jobs[0]`. To a field that is not there, the getters return an error.
    #[must_use]
    pub fn at(&self, path: &str) -> Field<'_> {
        self.root().at(path)
    }
}

/// A place in a document, with a value or without one.
#[derive(Debug, Clone, PartialEq)]
pub struct Field<'d> {
    source: &'d str,
    path: String,
    /// The value, or why there is none.
    found: Result<&'d Value<'d>, &'static str>,
}

impl<'d> Field<'d> {
    /// The field at a path below this one; as [`Document::at`].
    #[must_use]
    pub fn at(&self, path: &str) -> Self {
        let separator = if self.path.is_empty() || path.is_empty() || path.starts_with('[') { "" } else { "." };
        let found = match steps(path) {
            Some(steps) => self.found.and_then(|value| {
                let last = steps.iter().try_fold(value, |value, step| value.step(step));
                last.ok_or("is missing")
            }),
            None => Err("is not a path"),
        };
        Self { source: self.source, path: [&self.path, separator, path].concat(), found }
    }

    /// The path from the outermost value.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The field, unless it is missing or null.
    #[must_use]
    pub fn if_present(self) -> Option<Self> {
        matches!(self.found, Ok(value) if *value != Value::Null).then_some(self)
    }

    /// The value, of any type.
    ///
    /// # Errors
    ///
    /// It is missing.
    pub fn value(&self) -> Result<&'d Value<'d>, Error> {
        self.found.map_err(|message| Error::new(self.source, &self.path, message))
    }

    /// An error of this field, which has the source and the path. The message completes a sentence: `is not a version`.
    #[must_use]
    pub fn error(&self, message: &str) -> Error {
        Error::new(self.source, &self.path, message)
    }

    /// The value as another type, or an error that names the expected one.
    fn get<T>(&self, expected: &str, get: impl FnOnce(&'d Value<'d>) -> Option<T>) -> Result<T, Error> {
        let value = self.value()?;
        get(value).ok_or_else(|| self.error(&[value.type_name(), "; expected ", expected].concat()))
    }

    /// A whole number that is not negative, also if it is written as `5.0` or `1e3`.
    ///
    /// # Errors
    ///
    /// It is missing, or another value.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "within the range, and without a fraction"
    )]
    pub fn u64(&self) -> Result<u64, Error> {
        self.get("a whole number that is not negative", |value| match *value {
            Value::Natural(number) => Some(number),
            Value::Number(number) if number >= 0.0 && is_whole(number) => Some(number as u64),
            _ => None,
        })
    }

    /// A whole number.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    #[allow(clippy::cast_possible_truncation, reason = "within the range, and without a fraction")]
    pub fn i64(&self) -> Result<i64, Error> {
        self.get("a whole number", |value| match *value {
            Value::Natural(number) => i64::try_from(number).ok(),
            Value::Integer(number) => Some(number),
            Value::Number(number) if is_whole(number) => Some(number as i64),
            _ => None,
        })
    }

    /// A number of any kind.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    #[allow(clippy::cast_precision_loss, reason = "a float is what was asked for")]
    pub fn f64(&self) -> Result<f64, Error> {
        self.get("a number", |value| match *value {
            Value::Natural(number) => Some(number as f64),
            Value::Integer(number) => Some(number as f64),
            Value::Number(number) => Some(number),
            _ => None,
        })
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    pub fn bool(&self) -> Result<bool, Error> {
        self.get("true or false", |value| match *value {
            Value::Boolean(value) => Some(value),
            _ => None,
        })
    }

    /// A text.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    pub fn text(&self) -> Result<&'d str, Error> {
        self.get("text", |value| match value {
            Value::Text(text) => Some(&**text),
            _ => None,
        })
    }

    /// The elements of a list.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    pub fn list(&self) -> Result<impl ExactSizeIterator<Item = Self> + use<'_, 'd>, Error> {
        let list = self.get("a list", |value| match value {
            Value::List(list) => Some(list),
            _ => None,
        })?;
        Ok(list.iter().enumerate().map(|(index, value)| {
            let path = format!("{}[{index}]", self.path);
            Self { source: self.source, path, found: Ok(value) }
        }))
    }

    /// The keys and values of a table, ordered by key.
    ///
    /// # Errors
    ///
    /// As [`u64`](Self::u64).
    pub fn table(&self) -> Result<impl ExactSizeIterator<Item = (&'d str, Self)> + use<'_, 'd>, Error> {
        let table = self.get("a table", |value| match value {
            Value::Table(table) => Some(table),
            _ => None,
        })?;
        Ok(table.iter().map(|(key, value)| {
            let path = path::child(&self.path, key);
            (&**key, Self { source: self.source, path, found: Ok(value) })
        }))
    }
}

/// Whether a float is an integer that it holds exactly.
fn is_whole(number: f64) -> bool {
    number.abs() < 9_007_199_254_740_992.0 && number.fract() == 0.0
}

#[cfg(test)]
mod tests;
