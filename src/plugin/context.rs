//! A plugin as it is configured: all that an instance of it is made from besides its code, and what its instances share
//! over time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::grants::Grants;
use super::grants::network::Network;
use super::host::{Permits, PluginLog, ReportedDenials};
use super::recorder::Recorder;
use crate::config::limits::Limit;
use crate::config::{PluginConfig, is_plugin_name};

/// A plugin, whatever version of it serves.
#[derive(Clone)]
pub(super) struct PluginContext {
    pub(super) name: Arc<str>,
    pub(super) config: Arc<PluginConfig>,
    /// Whether the configuration has a table for it: then the operator expects it to run.
    pub(super) is_configured: bool,
    pub(super) grants: Arc<Grants>,
    /// Its allowance of log lines, which a restart does not renew.
    pub(super) log: Arc<PluginLog>,
    /// What the operator has been told that it lacks.
    pub(super) denials: Arc<ReportedDenials>,
    /// Whether it is only asked who it is: what it is denied then is not worth telling.
    pub(super) is_being_described: bool,
    /// Its permits for operations that may not come back.
    pub(super) permits: Arc<Permits>,
    /// Whoever watches it instead of the log, where it is tried out.
    pub(super) recorder: Option<Arc<Recorder>>,
}

impl PluginContext {
    pub(super) fn new(name: &str, config: Arc<PluginConfig>, grants: Grants) -> Self {
        let name: Arc<str> = name.into();
        Self {
            log: Arc::new(PluginLog::new(Arc::clone(&name), config.limits[Limit::LogLines])),
            name,
            config,
            is_configured: false,
            grants: Arc::new(grants),
            denials: Arc::default(),
            is_being_described: false,
            permits: Arc::default(),
            recorder: None,
        }
    }

    /// A plugin with the grants of its table, on the host with this root. Without a table it has the defaults.
    pub(super) fn on_host(name: &str, table: Option<Arc<PluginConfig>>, root: &Path) -> Self {
        let is_configured = table.is_some();
        let config = table.unwrap_or_default();
        let network = Network::new(&config.connect, &config.fetch);
        let grants = Grants::new(root, &config.read, &config.usage, network);
        Self { is_configured, ..Self::new(name, config, grants) }
    }

    /// The same plugin with nothing granted.
    pub(super) fn without_grants(&self) -> Self {
        Self { grants: Arc::new(Grants::none()), is_being_described: true, ..self.clone() }
    }

    /// The same plugin with nothing granted but what all plugins may.
    pub(super) fn with_default_grants(&self) -> Self {
        let grants = Grants::new(self.grants.root(), &[], &[], Network::default());
        Self { grants: Arc::new(grants), ..self.clone() }
    }
}

/// Which plugins a file makes: those that the configuration makes of it, otherwise the one of its name.
///
/// # Errors
///
/// Why it makes none: the end of a sentence that begins with the file.
pub(super) fn plugins_of(file: &str, config: &BTreeMap<String, Arc<PluginConfig>>) -> Result<Vec<String>, String> {
    let stem = file.strip_suffix(".wasm").unwrap_or(file);
    let is_of_file = |(name, plugin): &(&String, &Arc<PluginConfig>)| match &plugin.file {
        Some(named) => named == file,
        None => *name == stem,
    };
    let configured: Vec<String> = config.iter().filter(is_of_file).map(|(name, _)| name.clone()).collect();
    if !configured.is_empty() {
        return Ok(configured);
    }
    if let Some(other) = config.get(stem).and_then(|plugin| plugin.file.as_ref()) {
        return Err(format!("is not loaded: the configuration makes the plugin {stem} of {other}; rename the file"));
    }
    if !is_plugin_name(stem) {
        return Err("is not loaded: its name cannot name a plugin; use letters, digits, - and _".to_owned());
    }
    Ok(vec![stem.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_make_the_plugins_that_the_configuration_says() {
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
        assert!(plugins_of("a.wasm", &config).is_err_and(|why| why.contains("of shared.wasm")));
        assert!(plugins_of("ä.wasm", &config).is_err());
    }
}
