//! How the requests of plugins connect: the table `[client]`, which a reload replaces for all plugins at once, without a new trial of
//! any.

use std::sync::{Arc, Mutex, PoisonError};

use crate::config::ClientSettings;

/// The settings in effect.
#[derive(Debug, Default)]
pub(crate) struct ClientSlot {
    /// Behind a lock because a guest thread that hangs has it, too; it is held to copy the reference.
    settings: Mutex<Arc<ClientSettings>>,
}

impl ClientSlot {
    pub(crate) fn get(&self) -> Arc<ClientSettings> {
        Arc::clone(&self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, settings: &Arc<ClientSettings>) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(settings);
    }
}
