//! Errors of the operating system, with names as codes: numbers differ by architecture.

use std::fmt;

use crate::{OsError, PermissionError};

/// ```
/// use gauged_plugin::OsError;
///
/// assert_eq!(OsError::new("EIO", "Input/output error").to_string(), "Input/output error (EIO)");
/// assert_eq!(OsError::new("", "ended early").to_string(), "ended early");
/// ```
impl OsError {
    /// An error with its name as in errno(3), and its text.
    #[must_use]
    pub fn new(code: &str, text: impl Into<String>) -> Self {
        Self { code: code.to_owned(), text: text.into() }
    }
}

impl fmt::Display for OsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.code.is_empty() { Ok(()) } else { write!(f, " ({})", self.code) }
    }
}

/// ```
/// use gauged_plugin::PermissionError;
///
/// let refused = PermissionError::new("EACCES", "Permission denied", "run the agent as root");
/// assert_eq!(refused.to_string(), "Permission denied (EACCES); run the agent as root");
/// ```
impl PermissionError {
    /// An error with its name as in errno(3), its text, and the remedy for the operator.
    #[must_use]
    pub fn new(code: &str, text: &str, remedy: &str) -> Self {
        Self { code: code.to_owned(), text: text.to_owned(), remedy: remedy.to_owned() }
    }
}

impl fmt::Display for PermissionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}); {}", self.text, self.code, self.remedy)
    }
}
