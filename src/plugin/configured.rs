//! A plugin as it is configured: all that an instance of it is made from besides its code, and what its instances share
//! over time.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::grants::Grants;
use super::host::{Denials, Log};
use crate::config::PluginConfig;
use crate::config::limits::Limit;

/// How many operations of one plugin may wait for a file system or for a name to be resolved at a time. One that the kernel does not give back keeps
/// its place, so that a plugin that keeps asking a dead mount holds up no thread more.
const PLACES: usize = 2;

/// A plugin, whatever version of it serves.
#[derive(Clone)]
pub(super) struct Plugin {
    pub(super) name: Arc<str>,
    pub(super) config: Arc<PluginConfig>,
    pub(super) grants: Arc<Grants>,
    /// Its allowance of log lines, which a restart does not renew.
    pub(super) log: Arc<Log>,
    /// What the operator has been told that it lacks.
    pub(super) denials: Arc<Denials>,
    /// Whether it is only asked who it is: what it is denied then is not worth telling.
    pub(super) is_being_described: bool,
    /// Its places for operations that may not come back.
    pub(super) places: Arc<Semaphore>,
}

impl Plugin {
    pub(super) fn new(name: &str, config: Arc<PluginConfig>, grants: Grants) -> Self {
        let name: Arc<str> = name.into();
        Self {
            log: Arc::new(Log::new(Arc::clone(&name), config.limits[Limit::LogLines])),
            name,
            config,
            grants: Arc::new(grants),
            denials: Arc::default(),
            is_being_described: false,
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }

    /// The same plugin with nothing granted.
    pub(super) fn without_grants(&self) -> Self {
        Self { grants: Arc::new(Grants::none()), is_being_described: true, ..self.clone() }
    }

    /// How many of its operations have not come back, if it is not in a call.
    pub(super) fn stuck(&self) -> usize {
        PLACES - self.places.available_permits()
    }
}
