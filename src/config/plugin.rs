//! The table `[plugins.NAME]`, validated: how one plugin is run, and what it is granted.

use std::time::Duration;

use super::limits::Limits;
use crate::address::{ConnectGrant, Origin};
use crate::hostpath::Pattern;

/// The default time limit of one call: long for a collector that reads kernel files (microseconds), enough for a local
/// service.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest time limit: a shorter time is not measured exactly enough to be a limit.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The longest time limit of one call.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// The default limit of all linear memories of a plugin together: a Python guest starts with 16 MiB, a Rust one with 1.
pub(super) const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// The smallest memory limit: with less, no guest with a heap starts.
pub(super) const MIN_MEMORY_BYTES: u64 = 64 << 10;

/// The largest memory limit: a collector that needs more is another program.
pub(super) const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// How one plugin is run.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// The name of its file in the plugins directory; none for `<name>.wasm`.
    pub file: Option<String>,
    /// The plugin is due at every so many ticks of the agent.
    pub every: u64,
    /// The time limit of one call.
    pub timeout: Duration,
    /// The limit of all its linear memories together.
    pub memory_bytes: u64,
    /// Its other limits.
    pub limits: Limits,
    /// Granted paths to read and list, beyond those that every plugin may read.
    pub read: Vec<Pattern>,
    /// Granted paths whose file system's usage may be read, beyond those that every plugin may read.
    pub usage: Vec<Pattern>,
    /// Granted addresses to connect to.
    pub connect: Vec<ConnectGrant>,
    /// Granted origins for HTTP requests.
    pub fetch: Vec<Origin>,
    /// Its own settings, a JSON object.
    pub config: String,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            file: None,
            every: 1,
            timeout: DEFAULT_TIMEOUT,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            limits: Limits::default(),
            read: Vec::new(),
            usage: Vec::new(),
            connect: Vec::new(),
            fetch: Vec::new(),
            config: "{}".to_owned(),
        }
    }
}

/// Whether a text can name a plugin: as the name of a module, with `-` besides.
#[must_use]
pub fn is_plugin_name(text: &str) -> bool {
    crate::sample::is_name(&text.replace('-', "_"))
}
