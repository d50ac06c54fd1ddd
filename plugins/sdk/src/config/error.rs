//! Errors in settings, in the agent's own wording for its configuration.

use std::fmt;

use serde_core::de::{self, Expected, Unexpected};

/// An invalid setting.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Error {
    /// The key, dotted where nested; empty for the whole.
    pub(crate) key: String,
    pub(crate) message: String,
}

impl Error {
    pub(super) fn at(key: &str, message: String) -> Self {
        Self { key: key.to_owned(), message }
    }

    /// Prefixes the key of the enclosing value.
    pub(super) fn within(self, key: &str) -> Self {
        let separator = if self.key.is_empty() || self.key.starts_with('[') { "" } else { "." };
        Self { key: [key, separator, &self.key].concat(), message: self.message }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::at("", message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let quote = if matches!(found, Unexpected::Str(_)) { "\"" } else { "" };
        let found: &dyn fmt::Display = match &found {
            Unexpected::Bool(value) => value,
            Unexpected::Unsigned(value) => value,
            Unexpected::Signed(value) => value,
            Unexpected::Float(_) => &"a fraction",
            Unexpected::Str(value) => value,
            Unexpected::Unit => &"null",
            Unexpected::Seq => &"a list",
            Unexpected::Map => &"a table",
            _ => &"something else",
        };
        Self::at("", format!("is {quote}{found}{quote}; expected {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::at("", format!("has {length} elements; expected {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::at("", ["is \"", variant, "\"; use one of ", &expected.join(", ")].concat())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let message = match expected {
            [] => "unknown key; remove it".to_owned(),
            expected => ["unknown key; remove it, or use one of ", &expected.join(", ")].concat(),
        };
        Self::at(field, message)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(field, "is missing".to_owned())
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::at(field, "is set twice".to_owned())
    }
}
