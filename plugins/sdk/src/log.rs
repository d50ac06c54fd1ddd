//! Messages to the operator, in the agent's log; more than about one per second are dropped. Prefer a metric to a message,
//! and a returned [`Error`](crate::Error) to a logged one: the agent reports both. The macros [`error!`](crate::error),
//! [`warn!`](crate::warn), [`info!`](crate::info) and [`debug!`](crate::debug) take a format and its arguments.
//!
//! ```
//! use gauged_plugin::{log, testing::Host};
//!
//! let (mut host, version) = (Host::new(), "5.0");
//! host.run(|| {
//!     log::warn!("the server has version {version} and does not report its memory");
//!     log::info("measuring without it");
//! });
//! assert_eq!(
//!     host.messages(),
//!     ["WARN the server has version 5.0 and does not report its memory", "INFO measuring without it"]
//! );
//! ```

use std::borrow::Cow;
use std::fmt::Arguments;

#[doc(hidden)]
pub use crate::bindings::gauged::plugin::log::Level;
use crate::host::log::log;
pub use crate::{debug, error, info, warn};

/// For the plugin's author: shown by `gauged plugin test`, dropped by a running agent.
#[doc(alias = "trace")]
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

/// A warning that is logged once, although its cause is there at each tick.
///
/// ```
/// use gauged_plugin::{log, testing::Host};
///
/// let (mut host, mut warning) = (Host::new(), log::Once::default());
/// host.run(|| {
///     for mounts in [501, 502] {
///         warning.warn(format_args!("there are {mounts} mounts, of which 500 are measured"));
///     }
/// });
/// assert_eq!(host.messages(), ["WARN there are 501 mounts, of which 500 are measured"]);
/// ```
#[derive(Debug, Default)]
pub struct Once {
    has_logged: bool,
}

impl Once {
    /// Logs the message, unless there was one before.
    pub fn warn(&mut self, message: Arguments<'_>) {
        if !std::mem::replace(&mut self.has_logged, true) {
            format(Level::Warn, message);
        }
    }
}

/// Logs a formatted message.
#[doc(hidden)]
pub fn format(level: Level, message: Arguments<'_>) {
    log(level, &message.as_str().map_or_else(|| Cow::Owned(message.to_string()), Cow::Borrowed));
}

/// Logs for the plugin's author: shown by `gauged plugin test`, dropped by a running agent.
///
/// ```
/// # gauged_plugin::testing::Host::new().run(|| {
/// let (path, lines) = ("/proc/stat", 12);
/// gauged_plugin::debug!("{path} has {lines} lines");
/// # });
/// ```
#[doc(alias("trace", "println"))]
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => {
        $crate::log::format($crate::log::Level::Debug, ::core::format_args!($($message)+))
    };
}

/// Logs an event that an operator wants to know once.
///
/// ```
/// # gauged_plugin::testing::Host::new().run(|| {
/// gauged_plugin::info!("found {} disks", 3);
/// # });
/// ```
#[doc(alias = "println")]
#[macro_export]
macro_rules! info {
    ($($message:tt)+) => {
        $crate::log::format($crate::log::Level::Info, ::core::format_args!($($message)+))
    };
}

/// Logs a problem that costs no metrics.
///
/// ```
/// # gauged_plugin::testing::Host::new().run(|| {
/// gauged_plugin::warn!("the server uses the deprecated format {}", 2);
/// # });
/// ```
#[macro_export]
macro_rules! warn {
    ($($message:tt)+) => {
        $crate::log::format($crate::log::Level::Warn, ::core::format_args!($($message)+))
    };
}

/// Logs a problem that costs metrics. An error of the whole tick is returned instead, and a part that is left out is
/// [`skipped`](crate::skipped).
///
/// ```
/// # gauged_plugin::testing::Host::new().run(|| {
/// gauged_plugin::error!("table {} is full", "sessions");
/// # });
/// ```
#[doc(alias = "eprintln")]
#[macro_export]
macro_rules! error {
    ($($message:tt)+) => {
        $crate::log::format($crate::log::Level::Error, ::core::format_args!($($message)+))
    };
}

#[cfg(test)]
mod tests {
    use crate::testing::Host;

    #[test]
    fn macros_log_formatted_messages() {
        let mut host = Host::new();
        host.run(|| {
            let name = "db";
            crate::debug!("plain {{}}");
            crate::info!("{name} is up");
            crate::warn!("{} of {total} pages", 3, total = 7);
            super::error!("{name:?}",);
        });
        assert_eq!(host.messages(), ["DEBUG plain {}", "INFO db is up", "WARN 3 of 7 pages", "ERROR \"db\""]);
    }
}
