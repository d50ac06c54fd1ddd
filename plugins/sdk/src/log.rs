//! Messages to the operator, in the agent's log; more than about one per second are dropped. Prefer a metric to a message,
//! and a returned [`Error`](crate::Error) to a logged one: the agent reports both.
//!
//! ```
//! use gauged_plugin::{log, testing::Host};
//!
//! let mut host = Host::new();
//! host.run(|| log::warn("the server is older than 6.0 and does not report its memory"));
//! assert_eq!(host.messages(), ["WARN the server is older than 6.0 and does not report its memory"]);
//! ```

use crate::bindings::gauged::plugin::log::Level;
use crate::host::log::log;

/// For the plugin's author: shown by `gauged plugin test`, dropped by a running agent.
pub fn debug(message: &str) {
    log(Level::Debug, message);
}

/// An event that an operator wants to know once.
pub fn info(message: &str) {
    log(Level::Info, message);
}

/// A problem that costs no metrics.
pub fn warn(message: &str) {
    log(Level::Warn, message);
}

/// A problem that costs metrics.
pub fn error(message: &str) {
    log(Level::Error, message);
}
