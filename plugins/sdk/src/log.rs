//! Messages to the operator, in the agent's log. More than about one a second is dropped.

use crate::bindings::gauged::plugin::log::Level;
use crate::host::log::log;

/// For the plugin's author: shown where a plugin is tried out, dropped where it serves.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// For what an operator wants to know once.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// Something is wrong, and the plugin copes.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// Something is wrong, and metrics are missing.
pub fn error(message: &str) {
    log(Level::Error, message);
}
