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

    /// The kind with this name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Usage => "usage",
            Self::Connect => "connect",
            Self::Fetch => "fetch",
        }
    }
}

/// A capability that this agent does not have: the plugin was made for a later one, or its author has misspelt it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownCapability {
    /// The kind and the target as the plugin wrote them, each on one line, without its secrets.
    pub(crate) kind: String,
    pub(crate) target: String,
}

/// In the form of a grant.
impl fmt::Display for UnknownCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&line(&self.kind, std::slice::from_ref(&self.target)))
    }
}

impl UnknownCapability {
    /// The action for the operator.
    pub(crate) const REMEDY: &str = "update the agent, or fix the plugin";

    /// The end of a sentence that begins with it.
    pub(crate) fn reason() -> String {
        format!("is nothing that this agent has: it knows {}", GrantKind::ALL.map(GrantKind::name).join(", "))
    }
}

/// The line of configuration for grants of one kind.
pub(crate) fn grants_line(kind: GrantKind, values: &[String]) -> String {
    line(kind.name(), values)
}

fn line(key: &str, values: &[String]) -> String {
    // A JSON string is a TOML string.
    let values: Vec<String> =
        values.iter().map(|value| serde_json::Value::from(printable(value)).to_string()).collect();
    format!("{key} = [{}]", values.join(", "))
}
