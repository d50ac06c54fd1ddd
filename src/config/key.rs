//! A key of the configuration: type, bounds, default and meaning. `keys` is the table of all of them.

use std::fmt;
use std::time::Duration;

/// The form of a list of patterns over series.
pub(super) const PATTERNS: &str = "list of patterns, as in `network.*{device=\"veth*\"}`";

/// The table of a sink.
pub(super) const SINK_TABLE: &str = "sinks.NAME";

/// The table of a plugin.
pub(super) const PLUGIN_TABLE: &str = "plugins.NAME";

/// The table of a plugin's limits.
pub(super) const PLUGIN_LIMITS_TABLE: &str = "plugins.NAME.limits";

/// The table of how a plugin's requests connect.
pub(super) const PLUGIN_CLIENT_TABLE: &str = "plugins.NAME.client";

/// A key of the configuration.
#[cfg_attr(not(test), expect(dead_code, reason = "some fields are for the documents, which a test makes"))]
pub(super) struct Key {
    /// The table that it is in; empty for none.
    pub(super) table: &'static str,
    pub(super) name: &'static str,
    /// The values that it takes.
    pub(super) values: Values,
    pub(super) default: DefaultValue,
    /// The meaning, in the markup of docs/.
    pub(super) meaning: &'static str,
    pub(super) reload: Reload,
}

/// Whether a running agent can follow a change of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reload {
    /// It is applied.
    Applied,
    /// Its threads use the value that they were started with.
    Restart,
}

/// The values that a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    Duration(Duration, Duration),
    Size(u64, u64),
    Count(u64, u64),
    Switch,
    Words(&'static [&'static str]),
    Text(&'static str),
    List(&'static str),
    Table(&'static str),
}

/// The value that a key has when it is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    Duration(Duration),
    Size(u64),
    Count(u64),
    Switch(bool),
    Word(&'static str),
    EmptyList,
    EmptyTable,
    /// It depends on the host: how, and an example in TOML.
    Depends {
        how: &'static str,
        example: &'static str,
    },
}

impl Key {
    /// Whether it is in a table that has a name of its own: that of a sink or of a plugin.
    pub(super) fn is_of_named_table(&self) -> bool {
        self.table.contains("NAME")
    }

    /// The dotted name, with `NAME` for that of a plugin.
    pub(super) fn path(&self) -> String {
        if self.table.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.table, self.name) }
    }
}

/// A size as it is written: `64KiB`, or `1.5KiB` as bytes.
pub(super) fn written_size(bytes: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let fitting = units.iter().find(|(_, shift)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    fitting.map_or_else(|| format!("{bytes}B"), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// A duration as it is written: `1m30s`.
pub(super) fn written_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

/// The bounds, or the form.
impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duration(least, most) => write!(f, "`{}` to `{}`", written_duration(*least), written_duration(*most)),
            Self::Size(least, most) => write!(f, "`{}` to `{}`", written_size(*least), written_size(*most)),
            Self::Count(least, most) => write!(f, "{} to {}", grouped(*least), grouped(*most)),
            Self::Switch => f.write_str("`true`, `false`"),
            Self::Words(words) => write!(f, "`{}`", words.join("`, `")),
            Self::Text(form) | Self::List(form) | Self::Table(form) => f.write_str(form),
        }
    }
}

/// The value in TOML; none if it depends on the host.
impl DefaultValue {
    #[cfg(test)]
    pub(super) fn toml(self) -> Option<String> {
        Some(match self {
            Self::Duration(duration) => format!("\"{}\"", written_duration(duration)),
            Self::Size(bytes) => format!("\"{}\"", written_size(bytes)),
            Self::Count(count) => count.to_string(),
            Self::Switch(is_on) => is_on.to_string(),
            Self::Word(word) => format!("\"{word}\""),
            Self::EmptyList => "[]".to_owned(),
            Self::EmptyTable => "{}".to_owned(),
            Self::Depends { .. } => return None,
        })
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|group| str::from_utf8(group).unwrap_or_default()).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_they_are_read() {
        assert_eq!(
            [4096, 1536, 64 << 20, 1 << 40, 1, 0].map(written_size),
            ["4KiB", "1536B", "64MiB", "1TiB", "1B", "0B"]
        );
        assert_eq!(written_duration(Duration::from_millis(90_500)), "1m30s500ms");
        assert_eq!([1, 1000, 10_000_000].map(grouped), ["1", "1,000", "10,000,000"]);
        for size in [1, 4096, 1536, 64 << 20] {
            assert_eq!(written_size(size).parse::<bytesize::ByteSize>().map(|size| size.as_u64()), Ok(size));
        }
    }
}
