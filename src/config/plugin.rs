//! The table `[plugins.NAME]`, validated: limits, grants and settings of one plugin.

use std::collections::BTreeMap;
use std::time::Duration;

use super::limits::Limits;
use super::secret::Secret;
use super::sensitive::SensitiveForms;
use crate::address::ConnectGrant;
use crate::address::fetch_grant::FetchGrant;
use crate::hostpath::Pattern;

/// The default time limit of a call. Collectors that read kernel files take microseconds; a query of a local service fits.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest time limit: shorter times are not measured exactly enough.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_millis(10);

/// The longest time limit of a call.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// The default limit of all linear memories of a plugin together: a Python guest starts with 16 MiB, a Rust guest with 1.
pub(super) const DEFAULT_MEMORY_BYTES: u64 = 64 << 20;

/// The smallest memory limit: below it no guest with a heap starts.
pub(super) const MIN_MEMORY_BYTES: u64 = 64 << 10;

/// The largest memory limit: a collector that needs more should be a program of its own.
pub(super) const MAX_MEMORY_BYTES: u64 = 1 << 30;

/// The configuration of one plugin.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginConfig {
    /// Whether the agent loads it.
    pub enabled: bool,
    /// The name of its file in the plugins directory; none means `<name>.wasm`.
    pub file: Option<String>,
    /// Its interval, a multiple of the agent's; none means the agent's.
    pub interval: Option<Duration>,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The limit of all its linear memories together.
    pub memory_bytes: u64,
    /// The other limits.
    pub limits: Limits,
    /// Granted paths to read and list, besides the default grants.
    pub read: Vec<Pattern>,
    /// Granted paths whose file system's usage may be read.
    pub usage: Vec<Pattern>,
    /// Granted addresses to connect to.
    pub connect: Vec<ConnectGrant>,
    /// Granted origins and unix sockets for HTTP requests.
    pub fetch: Vec<FetchGrant>,
    /// The settings that the plugin receives, a JSON object.
    pub config: String,
    /// The secrets that are added to the settings, by their paths in them.
    pub secrets: BTreeMap<String, PluginSecret>,
    /// The sensitive texts of `config`, to be hidden in the plugin's texts.
    pub(crate) sensitive_forms: SensitiveForms,
}

/// A value of `secrets`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginSecret {
    /// The file or credential, as the configuration names it.
    pub(super) file: String,
    /// The secret, or why it was not read: the end of a sentence that begins with the key. That is an error of the
    /// configuration unless the plugin is not enabled.
    pub(super) content: Result<Secret, String>,
}

impl Default for PluginConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            file: None,
            interval: None,
            timeout: DEFAULT_TIMEOUT,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            limits: Limits::default(),
            read: Vec::new(),
            usage: Vec::new(),
            connect: Vec::new(),
            fetch: Vec::new(),
            config: "{}".to_owned(),
            secrets: BTreeMap::new(),
            sensitive_forms: SensitiveForms::default(),
        }
    }
}

impl PluginConfig {
    /// Its interval, in ticks of an agent with this interval: at least one.
    pub(crate) fn ticks(&self, agent: Duration) -> u64 {
        let own = self.interval.unwrap_or(agent).as_millis();
        own.checked_div(agent.as_millis()).and_then(|ticks| u64::try_from(ticks).ok()).map_or(1, |ticks| ticks.max(1))
    }
}

/// Whether a text is a valid name of a plugin: the rules for modules, and `-` is allowed.
pub(crate) fn is_plugin_name(text: &str) -> bool {
    crate::sample::is_name(&text.replace('-', "_"))
}
