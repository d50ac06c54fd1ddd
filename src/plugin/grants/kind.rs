//! The kinds of grants, and their lines in the configuration.

use crate::escape::printable;

/// The kind of a grant: its key in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GrantKind {
    Read,
    Usage,
    Connect,
    Fetch,
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

/// The line of configuration for a grant: the error text for the plugin.
pub(crate) fn grant_line(key: GrantKind, value: &str) -> String {
    grants_line(key, &[value.to_owned()])
}

/// The line of configuration for grants of one kind.
pub(crate) fn grants_line(key: GrantKind, values: &[String]) -> String {
    // A JSON string is a TOML string.
    let values: Vec<String> =
        values.iter().map(|value| serde_json::Value::from(printable(value)).to_string()).collect();
    format!("{} = [{}]", key.name(), values.join(", "))
}
