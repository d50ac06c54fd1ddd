//! The contexts of the plugins of a guest thread: each is made of the configuration and the host.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::PluginConfig;
use crate::escape::printable;
use crate::plugin::context::PluginContext;
use crate::plugin::guest_thread::setup::Setup;
use crate::plugin::offload::pool::OffloadPool;

/// Makes the contexts of plugins.
pub(super) struct Contexts {
    /// With the newest configuration.
    pub(super) setup: Arc<Setup>,
    root: PathBuf,
    pool: OffloadPool,
}

impl Contexts {
    pub(super) fn new(setup: &Arc<Setup>, root: PathBuf, pool: OffloadPool) -> Self {
        Self { setup: Arc::clone(setup), root, pool }
    }

    /// The context of a plugin that is new or whose table has changed, with the accounts that it has had so far. Reports
    /// sensitive settings of the table.
    pub(super) fn context(&self, name: &str, table: Option<&Arc<PluginConfig>>) -> PluginContext {
        let plugin = self.context_in(&self.setup, name, table);
        report_clear_texts(&plugin);
        plugin
    }

    /// The context of a plugin under a configuration that is not the newest, or has no new table for it.
    pub(super) fn context_in(&self, setup: &Setup, name: &str, table: Option<&Arc<PluginConfig>>) -> PluginContext {
        let Self { root, pool, .. } = self;
        let plugin = PluginContext::on_host(name, table.cloned(), root, setup.config.interval, &setup.shared, pool);
        setup.accounts.continue_in(plugin)
    }
}

/// Reports sensitive settings that are not read from files.
fn report_clear_texts(plugin: &PluginContext) {
    let keys = plugin.config.clear_texts();
    let Some(first) = keys.first() else { return };
    let (name, shown) = (&*plugin.name, printable(&keys.join(", ")));
    let remedy = format!(
        "write it to a file that only the agent's user can read, and under [plugins.{name}]: \
         secrets = {{ \"{}\" = \"/path/of/the/file\" }}",
        printable(first)
    );
    tracing::warn!(plugin = name, keys = shown, remedy, "plugin secret in clear text");
}
