//! The limits of a plugin besides time and linear memory: the key of each in the configuration, its default, and the
//! ceiling for its value.

use std::ops::Index;

/// A limit of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Modules in a result.
    Modules,
    /// Metrics in a result, over all modules.
    Metrics,
    /// Labels of a metric.
    Labels,
    /// Bytes of a label's value, and of a metric that is a text.
    Text,
    /// Bytes that a result, or a call of the host, passes from the guest.
    Result,
    /// Core instances.
    Instances,
    /// Linear memories.
    Memories,
    /// Tables.
    Tables,
    /// Elements of all tables.
    TableElements,
    /// Open handles to the host's resources.
    Handles,
    /// Log lines in a minute.
    LogLines,
}

/// The key, the default and the ceiling of a limit.
struct Bounds {
    limit: Limit,
    key: &'static str,
    default: u64,
    ceiling: u64,
}

impl Limit {
    /// All limits, in the order of the enumeration. The defaults suffice for a Python guest (33 to 64 core instances, 4
    /// tables with 5,674 elements, 1 memory) and for a host with a thousand disks. The ceilings bound a plugin's cost:
    /// memory for its state and results, and time to process a result.
    const ALL: [Bounds; 11] = [
        // Most plugins have one module, some a module for each service.
        Bounds { limit: Self::Modules, key: "modules", default: 100, ceiling: 1000 },
        // A metric costs the guest thread about a quarter of a microsecond: 25 ms at the ceiling. The default is twice the largest
        // exporter of a host.
        Bounds { limit: Self::Metrics, key: "metrics", default: 20_000, ceiling: 100_000 },
        // A metric with more labels is an event.
        Bounds { limit: Self::Labels, key: "labels", default: 16, ceiling: 64 },
        // The longest path.
        Bounds { limit: Self::Text, key: "text", default: 4096, ceiling: 64 << 10 },
        // Ten thousand metrics with names and four labels take 4 MiB.
        Bounds { limit: Self::Result, key: "result", default: 8 << 20, ceiling: 64 << 20 },
        Bounds { limit: Self::Instances, key: "instances", default: 64, ceiling: 1000 },
        Bounds { limit: Self::Memories, key: "memories", default: 2, ceiling: 64 },
        Bounds { limit: Self::Tables, key: "tables", default: 8, ceiling: 64 },
        // An element has 16 bytes.
        Bounds { limit: Self::TableElements, key: "table_elements", default: 20_000, ceiling: 1_000_000 },
        Bounds { limit: Self::Handles, key: "handles", default: 1000, ceiling: 10_000 },
        // By default a line a second; a third of the limit may come at once.
        Bounds { limit: Self::LogLines, key: "log_lines", default: 60, ceiling: 6000 },
    ];

    /// The limit with a key of the configuration.
    pub(super) fn by_key(key: &str) -> Option<Self> {
        Self::ALL.iter().find(|bounds| bounds.key == key).map(|bounds| bounds.limit)
    }

    /// All limits, with their keys and defaults.
    pub(super) fn all() -> impl Iterator<Item = (Self, &'static str, u64)> {
        Self::ALL.iter().map(|bounds| (bounds.limit, bounds.key, bounds.default))
    }

    /// The meaning, for documents.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Self::Modules => "modules in a result",
            Self::Metrics => "metrics in a result; at a time a plugin may have ten times as many different series",
            Self::Labels => "labels of a metric",
            Self::Text => "bytes of a label's value or a text",
            Self::Result => "bytes of a result, or of one call of the host",
            Self::Instances => "core instances",
            Self::Memories => "linear memories",
            Self::Tables => "tables",
            Self::TableElements => "elements of all tables",
            Self::Handles => "handles to resources of the host",
            Self::LogLines => "log lines a minute; a third may come at once",
        }
    }

    /// The largest value.
    pub(super) fn ceiling(self) -> u64 {
        Self::ALL[self as usize].ceiling
    }

    /// Whether the limit is a number of bytes.
    pub(super) fn is_size(self) -> bool {
        matches!(self, Self::Text | Self::Result)
    }
}

/// The limits of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

impl Limits {
    /// Sets a limit, at most to its ceiling.
    pub(crate) fn set(&mut self, limit: Limit, value: u64) {
        self.0[limit as usize] = value.min(limit.ceiling());
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self(Limit::ALL.map(|bounds| bounds.default))
    }
}

impl Index<Limit> for Limits {
    type Output = u64;

    fn index(&self, limit: Limit) -> &u64 {
        &self.0[limit as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_in_order_with_valid_defaults() {
        for (at, bounds) in Limit::ALL.iter().enumerate() {
            assert_eq!(bounds.limit as usize, at, "{}", bounds.key);
            assert!((1..=bounds.ceiling).contains(&bounds.default), "{}", bounds.key);
            assert_eq!(Limit::by_key(bounds.key), Some(bounds.limit));
        }
        let mut limits = Limits::default();
        limits.set(Limit::Labels, 1 << 40);
        assert_eq!(limits[Limit::Labels], 64);
        assert_eq!(Limit::by_key("ends"), None);
    }
}
