//! Errors in documents: each names its source and the path in it.

use std::fmt;

use crate::service::Failure;
use crate::skipped::{Cause, Skip};

/// A document that cannot be parsed, or a field that does not have the expected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The URL or path of the document.
    pub source: String,
    /// The path of the field; empty for the document as a whole.
    pub path: String,
    /// The cause, as the end of a sentence that begins with the path.
    pub message: String,
}

impl Error {
    pub(super) fn new(source: &str, path: &str, message: &str) -> Self {
        Self { source: source.to_owned(), path: path.to_owned(), message: message.to_owned() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, path, message } = self;
        if path.is_empty() { write!(f, "{source} {message}") } else { write!(f, "{source}: {path} {message}") }
    }
}

impl std::error::Error for Error {}

impl From<Error> for crate::Error {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A service whose body is not what is expected.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::down("body", error.to_string())
    }
}

impl Cause for Error {
    fn skip(&self) -> Skip {
        let separator = if self.path.is_empty() { "" } else { " " };
        Skip::malformed(&self.source, &self.path, [&*self.path, separator, &self.message].concat())
    }
}
