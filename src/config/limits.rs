//! How much of everything one plugin may have besides time and linear memory: what each limit is called in the
//! configuration, what holds where nothing is said, and the ceiling that no configuration exceeds.

use std::ops::Index;

/// Something of which a plugin may have only so much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Modules in one result.
    Modules,
    /// Metrics in one result, over all modules.
    Metrics,
    /// Labels on one metric.
    Labels,
    /// Bytes of a label's value, or of a metric that is a text.
    Text,
    /// Bytes that one result or one call of the host brings out of the guest.
    Result,
    /// Core instances.
    Instances,
    /// Linear memories.
    Memories,
    /// Tables.
    Tables,
    /// Elements of all tables together.
    TableElements,
    /// Handles to the host's resources at a time.
    Handles,
    /// Lines that it writes into the log in a minute.
    LogLines,
}

/// What there is to know about a limit.
struct Bounds {
    limit: Limit,
    key: &'static str,
    default: u64,
    most: u64,
}

impl Limit {
    /// In the order of the enumeration. The defaults leave room for a Python guest (33 to 64 core instances, 4 tables with
    /// 5,674 elements, 1 memory) and a host with a thousand disks; the ceilings bound what a plugin can cost the agent:
    /// memory for what it holds and returns, time for taking that in.
    const ALL: [Bounds; 11] = [
        // A plugin has one, or a few: one a service.
        Bounds { limit: Self::Modules, key: "modules", default: 100, most: 1000 },
        // Taking in a metric costs about a quarter of a microsecond on the main thread, so 25 ms at the ceiling.
        Bounds { limit: Self::Metrics, key: "metrics", default: 10_000, most: 100_000 },
        // More is an event, not a metric.
        Bounds { limit: Self::Labels, key: "labels", default: 16, most: 64 },
        // A path.
        Bounds { limit: Self::Text, key: "text", default: 4096, most: 64 << 10 },
        // A thousand metrics with their names and labels take 200 KiB.
        Bounds { limit: Self::Result, key: "result", default: 4 << 20, most: 64 << 20 },
        Bounds { limit: Self::Instances, key: "instances", default: 64, most: 1000 },
        Bounds { limit: Self::Memories, key: "memories", default: 2, most: 64 },
        Bounds { limit: Self::Tables, key: "tables", default: 8, most: 64 },
        // At 16 bytes each.
        Bounds { limit: Self::TableElements, key: "table_elements", default: 20_000, most: 1_000_000 },
        Bounds { limit: Self::Handles, key: "handles", default: 1000, most: 10_000 },
        // One a second in the long run; a third of them may come at once.
        Bounds { limit: Self::LogLines, key: "log_lines", default: 60, most: 6000 },
    ];

    /// The limit that is called so in the configuration.
    #[must_use]
    pub fn by_name(key: &str) -> Option<Self> {
        Self::ALL.iter().find(|bounds| bounds.key == key).map(|bounds| bounds.limit)
    }

    /// What limits are called, for who has to choose one.
    #[must_use]
    pub fn keys() -> String {
        Self::ALL.map(|bounds| bounds.key).join(", ")
    }

    /// What it may not be raised beyond.
    #[must_use]
    pub fn most(self) -> u64 {
        Self::ALL[self as usize].most
    }

    /// Whether it counts bytes.
    #[must_use]
    pub fn is_size(self) -> bool {
        matches!(self, Self::Text | Self::Result)
    }
}

/// The limits of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits([u64; Limit::ALL.len()]);

impl Limits {
    /// Changes one, within its ceiling.
    pub fn set(&mut self, limit: Limit, value: u64) {
        self.0[limit as usize] = value.min(limit.most());
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
    fn each_is_in_its_place_and_within_its_ceiling() {
        for (at, bounds) in Limit::ALL.iter().enumerate() {
            assert_eq!(bounds.limit as usize, at, "{}", bounds.key);
            assert!((1..=bounds.most).contains(&bounds.default), "{}", bounds.key);
            assert_eq!(Limit::by_name(bounds.key), Some(bounds.limit));
        }
        let mut limits = Limits::default();
        limits.set(Limit::Labels, 1 << 40);
        assert_eq!(limits[Limit::Labels], 64);
        assert_eq!(Limit::by_name("ends"), None);
    }
}
