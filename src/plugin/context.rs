//! The context of a plugin: its name, configuration and grants, and the accounts that its instances share over time. An
//! instance is made from a context and code.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use crate::config::{PluginConfig, is_plugin_name};
use crate::plugin::accounts::denials::ReportedDenials;
use crate::plugin::accounts::{Accounts, Admission, SharedAccounts};
use crate::plugin::client_slot::ClientSlot;
use crate::plugin::grants::Grants;
use crate::plugin::grants::network::Network;
use crate::plugin::offload::pool::OffloadPool;
use crate::plugin::recorder::Recorder;
use crate::plugin::scripted_host::ScriptedHost;

/// The configuration of all plugins without a table.
static WITHOUT_TABLE: LazyLock<Arc<PluginConfig>> = LazyLock::new(Arc::default);

/// A configured plugin, independent of its version.
#[derive(Clone)]
pub(crate) struct PluginContext {
    pub(crate) name: Arc<str>,
    pub(crate) config: Arc<PluginConfig>,
    /// Whether the configuration has a table for the plugin: then the operator expects it to run.
    pub(crate) is_configured: bool,
    pub(crate) grants: Arc<Grants>,
    /// The missing grants that were reported to the operator: with other grants, they are reported again.
    pub(crate) denials: Arc<ReportedDenials>,
    /// Whether the instance is only asked to describe itself: its denials are not reported.
    pub(crate) is_being_described: bool,
    /// Its interval, in ticks of the agent.
    pub(crate) every: u64,
    /// Its interval.
    pub(crate) step: Duration,
    /// The accounts, which later configurations of the plugin continue.
    pub(crate) accounts: Arc<Accounts>,
    /// How its requests connect.
    pub(crate) client: Arc<ClientSlot>,
    /// Receives messages and denials in place of the log, under the plugin harness.
    pub(crate) recorder: Option<Arc<Recorder>>,
    /// Plays the host under the plugin harness.
    pub(crate) script: Option<Arc<ScriptedHost>>,
}

impl PluginContext {
    /// A plugin by itself, called at each tick.
    #[cfg(test)]
    pub(crate) fn new(name: &str, config: Arc<PluginConfig>, grants: Grants, pool: &OffloadPool) -> Self {
        Self::with_grants(name, config, grants, &SharedAccounts::default(), pool)
    }

    fn with_grants(
        name: &str,
        config: Arc<PluginConfig>,
        grants: Grants,
        shared: &SharedAccounts,
        pool: &OffloadPool,
    ) -> Self {
        let name: Arc<str> = name.into();
        Self {
            accounts: Arc::new(Accounts::new(&name, &config.limits, shared, pool)),
            name,
            config,
            is_configured: false,
            grants: Arc::new(grants),
            denials: Arc::default(),
            is_being_described: false,
            every: 1,
            step: Duration::ZERO,
            client: Arc::clone(&shared.client),
            recorder: None,
            script: None,
        }
    }

    /// A plugin with the grants of its table, on the host below `root`, in an agent with this interval. Without a table it has
    /// the default grants.
    pub(crate) fn on_host(
        name: &str,
        table: Option<Arc<PluginConfig>>,
        root: &Path,
        interval: Duration,
        shared: &SharedAccounts,
        pool: &OffloadPool,
    ) -> Self {
        let is_configured = table.is_some();
        let config = table.unwrap_or_else(|| Arc::clone(&WITHOUT_TABLE));
        let network = Network::new(&config.connect, &config.fetch);
        let grants = Grants::new(root, &config.read, &config.usage, network);
        let mut plugin = Self { is_configured, ..Self::with_grants(name, config, grants, shared, pool) };
        plugin.set_interval(interval);
        plugin
    }

    /// Follows an interval of the agent.
    pub(crate) fn set_interval(&mut self, interval: Duration) {
        self.every = self.config.ticks(interval);
        self.step = interval.saturating_mul(u32::try_from(self.every).unwrap_or(u32::MAX));
    }

    /// The memory that its code may have.
    pub(crate) fn admission(&self) -> Admission {
        Admission { accounts: Arc::clone(&self.accounts), limit_bytes: self.config.memory_bytes }
    }

    /// Records for `gauged plugin` by which default grant a path is used.
    pub(crate) fn record_default_grant(&self, path: &str) {
        if let Some(recorder) = &self.recorder
            && let Some(grant) = self.grants.default_grant(path)
        {
            recorder.record_default_grant(grant);
        }
    }

    /// The same plugin with nothing granted.
    pub(crate) fn without_grants(&self) -> Self {
        Self { grants: Arc::new(Grants::none()), is_being_described: true, ..self.clone() }
    }
}

/// The plugins that a file makes: those whose table names it, enabled or not, otherwise the plugin of the file's name.
///
/// # Errors
///
/// Why it makes none: the end of a sentence that begins with the file.
pub(crate) fn plugins_of(file: &str, config: &BTreeMap<String, Arc<PluginConfig>>) -> Result<Vec<String>, String> {
    let stem = file.strip_suffix(".wasm").unwrap_or(file);
    let is_made_of_file = |(name, plugin): &(&String, &Arc<PluginConfig>)| match &plugin.file {
        Some(named) => named == file,
        None => *name == stem,
    };
    let configured: Vec<String> = config.iter().filter(is_made_of_file).map(|(name, _)| name.clone()).collect();
    if !configured.is_empty() {
        return Ok(configured);
    }
    if let Some(other) = config.get(stem).and_then(|plugin| plugin.file.as_ref()) {
        return Err(format!("is not loaded: the configuration names {other} as the file of {stem}; rename the file"));
    }
    if !is_plugin_name(stem) {
        return Err("is not loaded: its name cannot name a plugin; use letters, digits, - and _".to_owned());
    }
    Ok(vec![stem.to_owned()])
}

/// Whether a plugin is to be loaded: it is unless its table has `enabled = false`.
pub(crate) fn is_enabled(plugin: &str, config: &BTreeMap<String, Arc<PluginConfig>>) -> bool {
    config.get(plugin).is_none_or(|table| table.enabled)
}

/// Whether none of a file's plugins is enabled.
pub(crate) fn is_unneeded(file: &str, config: &BTreeMap<String, Arc<PluginConfig>>) -> bool {
    plugins_of(file, config).is_ok_and(|names| !names.iter().any(|name| is_enabled(name, config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_unneeded_when_plugins_are_off() {
        let plugin = |file: Option<&str>, enabled| {
            Arc::new(PluginConfig { enabled, file: file.map(str::to_owned), ..PluginConfig::default() })
        };
        let config = BTreeMap::from([
            ("a".to_owned(), plugin(Some("shared.wasm"), false)),
            ("b".to_owned(), plugin(Some("shared.wasm"), true)),
            ("c".to_owned(), plugin(None, false)),
            ("d".to_owned(), plugin(Some("e.wasm"), false)),
        ]);
        assert!(!is_unneeded("shared.wasm", &config) && is_enabled("b", &config) && !is_enabled("a", &config));
        assert!(is_unneeded("c.wasm", &config) && is_unneeded("e.wasm", &config));
        assert_eq!(plugins_of("e.wasm", &config), Ok(vec!["d".to_owned()]), "it makes no plugin e");
        assert!(!is_unneeded("other.wasm", &config) && !is_unneeded("d.wasm", &config));
    }

    #[test]
    fn configuration_maps_files_to_plugins() {
        let plugin =
            |file: Option<&str>| Arc::new(PluginConfig { file: file.map(str::to_owned), ..PluginConfig::default() });
        let config = BTreeMap::from([
            ("a".to_owned(), plugin(Some("shared.wasm"))),
            ("b".to_owned(), plugin(Some("shared.wasm"))),
            ("c".to_owned(), plugin(None)),
        ]);
        assert_eq!(plugins_of("shared.wasm", &config), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(plugins_of("c.wasm", &config), Ok(vec!["c".to_owned()]));
        assert_eq!(plugins_of("other.wasm", &config), Ok(vec!["other".to_owned()]));
        assert!(plugins_of("a.wasm", &config).is_err_and(|why| why.contains("names shared.wasm as the file of a")));
        assert!(plugins_of("ä.wasm", &config).is_err());
    }
}
