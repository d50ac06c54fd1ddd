//! Messages to the operator, in the agent's log. More than about one a second is dropped. What can be measured is better
//! measured, and what ends a call is better returned as its [`Error`](crate::Error): both are reported anyway.
//!
//! ```
//! use gauged_plugin::{log, testing::Host};
//!
//! let mut host = Host::new();
//! host.run(|| log::warn("the server is older than 6.0 and does not tell its memory"));
//! assert_eq!(host.messages(), ["WARN the server is older than 6.0 and does not tell its memory"]);
//! ```

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
