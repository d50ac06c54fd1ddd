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

    /// The context of a plugin with its table, if it has one, and the accounts that it has had so far.
    pub(super) fn context(&self, name: &str, table: Option<&Arc<PluginConfig>>) -> PluginContext {
        self.context_in(&self.setup, name, table)
    }

    /// The same under another configuration.
    pub(super) fn context_in(&self, setup: &Setup, name: &str, table: Option<&Arc<PluginConfig>>) -> PluginContext {
        let Self { root, pool, .. } = self;
        let plugin = PluginContext::on_host(name, table.cloned(), root, setup.config.interval, &setup.shared, pool);
        report_clear_texts(&plugin);
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
