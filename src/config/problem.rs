//! An error in the configuration, with its place and the remedy.

use std::fmt;
use std::path::PathBuf;

use crate::escape::printable;

/// An error in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The configuration file, or `environment`.
    pub file: PathBuf,
    /// The line in the file, from 1; none if the error has no place in it.
    pub line: Option<usize>,
    /// The dotted key or the variable; empty if there is none.
    pub key: String,
    /// The error and the remedy.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", printable(&self.file.display().to_string()))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", printable(&self.key))?;
        }
        write!(f, ": {}", printable(&self.message))
    }
}
