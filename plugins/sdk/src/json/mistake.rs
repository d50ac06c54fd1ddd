//! What is wrong with settings, in the words in which the agent speaks of its own.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

/// What does not fit, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The key, dotted where it is nested; empty for the whole.
    pub(crate) key: String,
    pub(crate) message: String,
}

impl Mistake {
    pub(super) fn at(key: &str, message: String) -> Self {
        Self { key: key.to_owned(), message }
    }

    /// The same, of a value that is itself the value of a key.
    pub(super) fn within(self, key: &str) -> Self {
        let separator = if self.key.is_empty() || self.key.starts_with('[') { "" } else { "." };
        Self { key: [key, separator, &self.key].concat(), message: self.message }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for Mistake {}

impl de::Error for Mistake {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::at("", message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Bool(value) => format!("{value}"),
            Unexpected::Unsigned(value) => format!("{value}"),
            Unexpected::Signed(value) => format!("{value}"),
            Unexpected::Float(_) => "a fraction".to_owned(),
            Unexpected::Str(value) => ["\"", value, "\""].concat(),
            Unexpected::Unit => "null".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "a table".to_owned(),
            _ => "something else".to_owned(),
        };
        Self::at("", format!("is {found}; expected {expected}"))
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
        Self::at(field, "is there twice".to_owned())
    }
}
