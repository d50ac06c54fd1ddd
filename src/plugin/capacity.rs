//! How many plugins this host has room for: the mappings and descriptors that each takes, compared with the kernel's limits, and
//! the memory of all together.

mod host_memory;

use std::path::Path;

use rustix::process::{Resource, getrlimit};

use crate::procfs::leading_number;

/// How many mappings a plugin takes: eight to ten, and more while a new version is tried.
const MAPPINGS: u64 = 12;

/// How many mappings Linux allows a process by default (`vm.max_map_count`).
const DEFAULT_MAPPINGS: u64 = 65_530;

/// How many descriptors the agent needs beside one per plugin: its own, and those of connections (256), requests (128),
/// offloaded operations (128) and files being loaded.
const OTHER_DESCRIPTORS: u64 = 600;

/// The most plugins, whatever the host allows: only tests have more.
const MAX_PLUGINS: usize = 100_000;

/// The memory that plugins may hold together without a setting, as a share of the host's: the rest is for what the host is for.
const MEMORY_SHARE: u64 = 2;

/// The memory that all plugins may hold together without a setting. Unlimited where the host does not tell how much it has.
pub(crate) fn default_memory_bytes() -> u64 {
    host_memory::total_bytes(Path::new("/")).map_or(u64::MAX, |bytes| bytes / MEMORY_SHARE)
}

/// How many plugins there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) plugins: usize,
    /// How the operator makes room for more.
    pub(crate) remedy: &'static str,
}

impl Capacity {
    pub(crate) fn on_host() -> Self {
        let mappings = std::fs::read("/proc/sys/vm/max_map_count").ok().and_then(|text| leading_number(&text));
        let descriptors = getrlimit(Resource::Nofile).current;
        Self::new(mappings.unwrap_or(DEFAULT_MAPPINGS), descriptors.unwrap_or(u64::MAX))
    }

    fn new(mappings: u64, descriptors: u64) -> Self {
        let by_mappings = (mappings / MAPPINGS, "raise vm.max_map_count and start the agent again");
        let by_descriptors = (
            descriptors.saturating_sub(OTHER_DESCRIPTORS),
            "raise the agent's limit of open files (LimitNOFILE, minfds) and start it again",
        );
        let (plugins, remedy) = by_mappings.min(by_descriptors);
        Self { plugins: usize::try_from(plugins).unwrap_or(usize::MAX).clamp(1, MAX_PLUGINS), remedy }
    }

    /// Reports that there is no room for a plugin.
    pub(crate) fn log_exceeded(self, plugin: &str) {
        let (loaded, remedy) = (self.plugins, format!("remove some, or {}", self.remedy));
        tracing::error!(plugin, loaded, remedy, "too many plugins");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scarcer_resource_limits_the_plugins() {
        let capacity = Capacity::new(DEFAULT_MAPPINGS, 1 << 20);
        assert_eq!((capacity.plugins, capacity.remedy.contains("vm.max_map_count")), (5460, true));
        let capacity = Capacity::new(1 << 20, 1024);
        assert_eq!((capacity.plugins, capacity.remedy.contains("LimitNOFILE")), (424, true));
        assert_eq!(Capacity::new(0, 0).plugins, 1);
        assert_eq!(Capacity::new(u64::MAX, u64::MAX).plugins, MAX_PLUGINS);
    }
}
