//! How the requests of plugins connect: the table `[client]`, and the own ones of some plugins. A reload replaces them at once, without a
//! new trial of any plugin.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::{ClientSettings, Config};

/// The settings in effect.
#[derive(Debug, Default)]
pub(crate) struct ClientSlot {
    /// Behind a lock because a guest thread that hangs has it, too; it is held to look one up.
    clients: Mutex<Clients>,
}

/// The settings of all plugins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Clients {
    common: Arc<ClientSettings>,
    /// Those of the plugins that have their own, by name.
    own: BTreeMap<String, Arc<ClientSettings>>,
}

impl Clients {
    /// The settings of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self { common: Arc::clone(&config.client), own: config.plugin_clients.clone() }
    }
}

impl ClientSlot {
    /// The settings of a plugin.
    pub(crate) fn get(&self, plugin: &str) -> Arc<ClientSettings> {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(clients.own.get(plugin).unwrap_or(&clients.common))
    }

    pub(crate) fn set(&self, clients: Clients) {
        *self.clients.lock().unwrap_or_else(PoisonError::into_inner) = clients;
    }
}
