//! A grant, its line in the configuration, and the denial without it.

use std::fmt;

use crate::escape::printable;

/// The kind of a grant: its key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantKind {
    /// Reads a file or lists a directory.
    Read,
    /// Measures the usage of a file system.
    Usage,
    /// Connects to an address.
    Connect,
    /// Fetches from an HTTP server.
    Fetch,
}

/// A grant: access to one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The kind of access.
    pub kind: GrantKind,
    /// The path, address or origin, as the plugin wrote it.
    pub value: String,
}

impl Grant {
    pub(crate) fn new(kind: GrantKind, value: &str) -> Self {
        Self { kind, value: value.to_owned() }
    }
}

/// The line of configuration, which is also the error text for the plugin.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&grants_line(self.kind, std::slice::from_ref(&self.value)))
    }
}

/// Why an operation of a plugin was denied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denial {
    /// This grant is missing.
    Missing(Grant),
    /// No grant allows it; the reason.
    Final(String),
    /// No grant allows it, and the plugin could not know; the reason. It is not reported.
    Expected(String),
}

impl Denial {
    /// The missing grant.
    pub(crate) fn missing(&self) -> Option<&Grant> {
        match self {
            Self::Missing(grant) => Some(grant),
            Self::Final(_) | Self::Expected(_) => None,
        }
    }
}

/// The error text for the plugin, on one line.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(grant) => grant.fmt(f),
            Self::Final(why) | Self::Expected(why) => f.write_str(&printable(why)),
        }
    }
}

impl GrantKind {
    pub(crate) const ALL: [Self; 4] = [Self::Read, Self::Usage, Self::Connect, Self::Fetch];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Usage => "usage",
            Self::Connect => "connect",
            Self::Fetch => "fetch",
        }
    }
}

/// The line of configuration for grants of one kind.
pub(crate) fn grants_line(key: GrantKind, values: &[String]) -> String {
    // A JSON string is a TOML string.
    let values: Vec<String> =
        values.iter().map(|value| serde_json::Value::from(printable(value)).to_string()).collect();
    format!("{} = [{}]", key.name(), values.join(", "))
}
